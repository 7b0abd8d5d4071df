"""values.schema.json: what helm refuses before it renders anything.

Keys, types, defaults and sentences are those of values.yaml; `RULES` says what a type alone does not. Values that are
right each by itself and wrong together are the templates' to refuse.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from deploy.helm import forms
from deploy.helm.forms import Schema, choice, refused, whole
from deploy.helm.values import Key, keys
from settings import PREFIX, Settings

ELSEWHERE = {
    "home": "a volume of the pod",
    "usecase": "usecase",
    "model": "model.tag",
    "events_url": "stores.events",
    "online_url": "stores.online",
    "registry_url": "stores.registry",
    "predictions_url": "stores.predictions",
    "monitor_url": "stores.monitor",
    "archive_url": "stores.archive",
    "models": "what the jobs image has in it",
    "image": "image",
    "track": "canary",
    "api_keys": "secrets.apiKeys",
    "id_hmac_key": "secrets.idHmacKey",
    "tls_cert": "secrets.tls",
    "tls_key": "secrets.tls",
    "host": "all of the pod's addresses",
    "grpc_port": "3001",
    "metrics_port": "3002",
    "drain_s": "serving.drainSeconds",
}
"""Settings that the chart sets itself, and from what."""

POSTGRESQL = "postgres(ql)?://[^ ]+"
_POSTGRESQL = "postgresql://USER@HOST:PORT/DATABASE"
_OWN = ("name", "instance", "version", "part-of", "managed-by", "component")
OWN_LABELS = (*(f"app.kubernetes.io/{name}" for name in _OWN), "helm.sh/chart", "holdfast/track")

_ENV = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {
        "name": forms.text("[A-Za-z_][A-Za-z0-9_]*", "a variable's name: letters, digits and _"),
        "value": {"type": "string"},
        "valueFrom": {"type": "object"},
    },
}


def schema() -> Schema:
    """The whole of it."""
    top = _object([key for key in keys() if key.depth == 0])
    top["properties"]["global"] = {"type": "object", "description": "What a chart around this one shares; not read."}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Values of Holdfast's chart"} | top


def rule(path: str) -> Schema:
    """What `RULES` says of a key, the last word winning; empty where they say nothing."""
    found: Schema = {}
    for where, says in RULES.items():
        if fnmatchcase(path, where):
            found = says
    return found


def _object(below: list[Key]) -> Schema:
    needed = (key.path.rpartition(".")[2] for key in below if key.default not in ("", [], {}))
    return forms.record({key.path.rpartition(".")[2]: _key(key) for key in below}, *needed)


def _key(key: Key) -> Schema:
    said: Schema = {"description": key.said} if key.said else {}
    given = rule(key.path)
    if isinstance(key.default, dict) and key.default and "type" not in given:
        return said | _object([other for other in keys() if other.path.rpartition(".")[0] == key.path]) | given
    return said | {"default": key.default} | (given or {"type": _TYPES[type(key.default)]})


_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}
"""Types of values that no rule is needed for; a list, or a map that is empty by default, needs one."""


def _settings() -> Schema:
    """Those that are nobody else's, as settings.py describes them."""
    properties: Schema = {}
    for name, described in Settings.model_json_schema()["properties"].items():
        if name in ELSEWHERE:
            properties[name] = refused(f"left out here, where the chart sets it: from {ELSEWHERE[name]}")
            continue
        single = next((each for each in described.get("anyOf", ()) if each.get("type") != "null"), described)
        properties[name] = {
            word: single.get(word, described.get(word))
            for word in ("description", "type", "enum", "minimum", "maximum", "items")
            if word in single or word in described
        }
        if (single["type"], single.get("maximum")) == ("number", 1):
            properties[name] |= forms.SHARE
    return forms.record(properties)


def _variables() -> Schema:
    """Environment variables beside those of the chart."""
    settings = [PREFIX + name.upper() for name in ELSEWHERE]
    taken = [*settings, *(f"{name}_FILE" for name in settings), "OMP_NUM_THREADS", "BENTOML_HOME"]
    return forms.listed(
        _ENV
        | {
            "allOf": [
                _barred("another variable: the chart sets this one itself, from its other values", *taken),
                _barred("left out: with it BentoML would not start a killed worker again", "BENTOML_CONTAINERIZED"),
            ]
        }
    )


def _barred(words: str, *names: str) -> Schema:
    named = {"properties": {"name": {"enum": list(names)}}, "required": ["name"]}
    return {"if": named, "then": {"properties": {"name": refused(words)}}}


_POD_LABELS = forms.labels(*OWN_LABELS)
RULES: dict[str, Schema] = {
    "fullnameOverride": forms.text(
        "|([a-z]([a-z0-9-]*-)?)?holdfast(-?[a-z0-9-]*[a-z0-9])?",
        "lower case letters, digits and -, with the word holdfast in it, by which the alert rules find jobs",
    )
    | {"maxLength": 40},
    "usecase": forms.text("[a-z][a-z0-9_]*", "the name of a module in usecases/: lower case letters, digits and _"),
    "*repository": forms.REPOSITORY,
    "*mage.tag": forms.TAG,
    "*mage.digest": forms.DIGEST,
    "*.pullPolicy": choice("Always", "IfNotPresent", "Never"),
    "imagePullSecrets": forms.listed(forms.record({"name": forms.NAME}, "name")),
    "model.source": choice("image", "archive"),
    "*model.tag": forms.MODEL,
    "*model.digest": forms.HEX,
    "*.fingerprint": forms.HEX,
    "stores.*": forms.either("url", "secret", "empty, as `secret` is given: one of the two says where the store is"),
    "stores.*.url": forms.url(_POSTGRESQL, POSTGRESQL),
    "stores.online.url": forms.url(
        f"redis://HOST:PORT/DB, rediss://... or {_POSTGRESQL}", "rediss?://[^ ]+", POSTGRESQL
    ),
    "stores.predictions.url": forms.url(f"{_POSTGRESQL}, or none:", "none:", POSTGRESQL),
    "stores.archive.url": forms.url(
        "s3://BUCKET/PREFIX or gs://..., or file:///archive with a `claim`",
        "(s3|gs)://[^ ]+",
        "file:///archive(/[^ ]*)?",
    ),
    "*.secret": forms.KEY,
    "stores.archive.claim": forms.MAYBE_NAME,
    "stores.archive.credentials": forms.MAYBE_NAME,
    "settings": _settings(),
    "secrets.*": forms.KEY,
    "secrets.tls": forms.MAYBE_NAME,
    "*eplicas": whole(1),
    "*.kind": choice("hpa", "keda"),
    "*.targetPercent": whole(1, 1_000),
    "*.target": whole(1),
    "*.metric": forms.text("[a-z_][a-zA-Z0-9_:]*", "the name of a metric"),
    "*Seconds": whole(1),
    "serving.preStopSeconds": whole(0, 600),
    "serving.drainSeconds": forms.number(0, 600, below="[0-5]?[0-9]{1,2}"),
    "serving.autoscaling.scaleDownSeconds": whole(0, 3_600),
    "serving.nodeLossSeconds": whole(0, 3_600),
    "*.prometheus": forms.WEB,
    "*esources": forms.record({"requests": forms.RESOURCES, "limits": forms.RESOURCES}, "requests", "limits"),
    "serving.service.type": choice("ClusterIP", "NodePort", "LoadBalancer"),
    "*.port": whole(1, 65_535),
    "*nnotations": forms.WORDS,
    "*.maxUnavailable": forms.AMOUNT,
    "*.maxSurge": forms.SURGE,
    "serving.podLabels": _POD_LABELS,
    "*.nodeSelector": forms.WORDS,
    "*.tolerations": forms.TOLERATIONS,
    "*.affinity": forms.AFFINITY,
    "*.priorityClassName": forms.MAYBE_NAME,
    "*.extraEnv": _variables(),
    "canary.weight": whole(0, 100),
    "*.freshHours": forms.number(0),
    "canary.judge.seconds": whole(1),
    "canary.judge.minimum": whole(1),
    "canary.judge.insufficient": choice("fail", "pass"),
    "canary.judge.errors": forms.SHARE,
    "canary.judge.latency": forms.number(1, below="[1-9][0-9]*"),
    "canary.judge.scores": forms.SHARE,
    "ingress.className": forms.MAYBE_NAME,
    "ingress.host": forms.MAYBE_HOST,
    "ingress.tlsSecret": forms.MAYBE_NAME,
    "gateway.parentRefs": forms.PARENTS,
    "gateway.*ostnames": forms.listed(forms.HOST),
    "*.schedule": forms.CRON,
    "jobs.ingest": forms.either("url", "secret", "empty, as `secret` is given: one of the two says where it is"),
    "jobs.ingest.table": choice("events", "records", ""),
    "jobs.ingest.url": forms.url(_POSTGRESQL, POSTGRESQL),
    "jobs.materialize.also": forms.ALSO,
    "jobs.retrain.cooldownHours": forms.number(0),
    "jobs.score": forms.either("to", "secret", "empty, as `secret` is given: one of the two says where scores go"),
    "jobs.score.to": forms.url(
        f"{_POSTGRESQL}/TABLE, or /archive/DIRECTORY with stores.archive.claim", POSTGRESQL, "/archive/[^ ]+"
    ),
    "monitor.enabled": {
        "type": ["boolean", "string"],
        **forms.told("auto, true or false", unless={"enum": ["auto", True, False]}),
    },
    "monitor.every": whole(1),
    "monitor.skewShare": forms.SHARE,
    "metrics.*.labels": forms.labels(*OWN_LABELS),
    "metrics.rules.runbookUrl": forms.WEB,
    "networkPolicy.clients": forms.PEERS,
    "networkPolicy.observers": forms.PEERS,
    "networkPolicy.egress": forms.EGRESS,
    "serviceAccount.name": forms.MAYBE_NAME,
    "podSecurityContext": forms.POD_SECURITY,
    "commonLabels": forms.labels(*OWN_LABELS),
}
"""By a key's path, where `*` stands for any part of it; of several the last one counts."""
