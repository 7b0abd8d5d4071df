"""Kinds that are no part of Kubernetes, as far as the chart uses them: every field that it may set, and no others.

No package publishes their schemas strictly. These follow the custom resource definitions of the Prometheus operator
(monitoring.coreos.com/v1), of KEDA 2 (keda.sh/v1alpha1) and of the Gateway API 1 (its standard channel).
"""

from __future__ import annotations

from typing import Any

from deploy.helm.forms import Schema, choice, listed, record, whole

_TEXT: Schema = {"type": "string", "minLength": 1}
_NAME: Schema = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
_WORDS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
_DURATION: Schema = {
    "type": "string",
    "pattern": "^(0|([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$",
}
_SELECTOR = record({"matchLabels": _WORDS}, "matchLabels")
_PORT = whole(1, 65_535)

_TLS = record({"insecureSkipVerify": {"type": "boolean"}, "serverName": _TEXT})
_ENDPOINT: dict[str, Schema] = {
    "port": _TEXT,
    "path": {"type": "string", "pattern": "^/"},
    "scheme": choice("http", "https"),
    "interval": _DURATION,
    "scrapeTimeout": _DURATION,
    "honorLabels": {"type": "boolean"},
    "tlsConfig": _TLS,
    "relabelings": {"type": "array"},
    "metricRelabelings": {"type": "array"},
}
_SERVICE_MONITOR = record(
    {
        "selector": _SELECTOR,
        "endpoints": listed(record(_ENDPOINT, "port")) | {"minItems": 1},
        "jobLabel": _TEXT,
        "targetLabels": listed(_TEXT),
        "podTargetLabels": listed(_TEXT),
        "namespaceSelector": record({"matchNames": listed(_NAME)}),
    },
    "selector",
    "endpoints",
)
_RULE: dict[str, Schema] = {
    "expr": _TEXT,
    "record": _TEXT,
    "alert": _TEXT,
    "for": _DURATION,
    "keep_firing_for": _DURATION,
}
_GROUP = record(
    {
        "name": _TEXT,
        "interval": _DURATION,
        "rules": listed(
            record(_RULE | {"labels": _WORDS, "annotations": _WORDS}, "expr")
            | {"oneOf": [{"required": ["record"]}, {"required": ["alert"]}]}
        ),
    },
    "name",
    "rules",
)

_POLICY = record(
    {"type": choice("Pods", "Percent"), "value": whole(1), "periodSeconds": whole(1, 1_800)},
    "type",
    "value",
    "periodSeconds",
)
_BEHAVIOUR = record(
    {
        "policies": listed(_POLICY) | {"minItems": 1},
        "selectPolicy": choice("Max", "Min", "Disabled"),
        "stabilizationWindowSeconds": whole(0, 3_600),
    }
)
_TRIGGER: dict[str, Schema] = {
    "type": choice("prometheus", "cpu"),
    "name": _TEXT,
    "metricType": choice("AverageValue", "Value", "Utilization"),
    "metadata": _WORDS,
}
_SCALED = record(
    {
        "scaleTargetRef": record({"apiVersion": _TEXT, "kind": _TEXT, "name": _NAME}, "name"),
        "minReplicaCount": whole(0),
        "maxReplicaCount": whole(1),
        "pollingInterval": whole(1),
        "cooldownPeriod": whole(0),
        "fallback": record({"failureThreshold": whole(1), "replicas": whole(0)}, "failureThreshold", "replicas"),
        "triggers": listed(record(_TRIGGER, "type", "metadata")) | {"minItems": 1},
        "advanced": record(
            {
                "restoreToOriginalReplicaCount": {"type": "boolean"},
                "horizontalPodAutoscalerConfig": record(
                    {"name": _NAME, "behavior": record({"scaleUp": _BEHAVIOUR, "scaleDown": _BEHAVIOUR})}
                ),
            }
        ),
    },
    "scaleTargetRef",
    "triggers",
)

_PARENT: dict[str, Schema] = {
    "group": _TEXT,
    "kind": _TEXT,
    "name": _TEXT,
    "namespace": _NAME,
    "sectionName": _TEXT,
    "port": _PORT,
}
_BACKEND: dict[str, Schema] = {
    "group": {"const": ""},
    "kind": {"const": "Service"},
    "name": _NAME,
    "port": _PORT,
    "weight": whole(0, 1_000_000),
}
_PATH = record({"type": choice("Exact", "PathPrefix"), "value": {"type": "string", "pattern": "^/"}}, "type", "value")
_METHOD = record({"type": choice("Exact"), "service": _TEXT, "method": _TEXT})


def _route(match: Schema, **more: Schema) -> Schema:
    rule = {"matches": listed(match), "backendRefs": listed(record(_BACKEND, "name", "port")), **more}
    return record(
        {
            "parentRefs": listed(record(_PARENT, "name")) | {"minItems": 1},
            "hostnames": listed(_TEXT),
            "rules": listed(record(rule, "backendRefs")) | {"minItems": 1, "maxItems": 16},
        }
    )


def _kind(api: str, kind: str, spec: Schema) -> tuple[tuple[str, str], dict[str, Any]]:
    metadata = record({"name": _NAME, "labels": _WORDS, "annotations": _WORDS}, "name", "labels")
    every: dict[str, Schema] = {
        "apiVersion": {"const": api},
        "kind": {"const": kind},
        "metadata": metadata,
        "spec": spec,
    }
    return (api, kind), record(every, *every)


SCHEMAS = dict(
    [
        _kind("monitoring.coreos.com/v1", "ServiceMonitor", _SERVICE_MONITOR),
        _kind("monitoring.coreos.com/v1", "PrometheusRule", record({"groups": listed(_GROUP)}, "groups")),
        _kind("keda.sh/v1alpha1", "ScaledObject", _SCALED),
        _kind(
            "gateway.networking.k8s.io/v1",
            "HTTPRoute",
            _route(record({"path": _PATH}), timeouts=record({"request": _DURATION, "backendRequest": _DURATION})),
        ),
        _kind("gateway.networking.k8s.io/v1", "GRPCRoute", _route(record({"method": _METHOD}))),
    ]
)
"""By API version and kind."""
