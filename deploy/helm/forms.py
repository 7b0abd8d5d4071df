"""What single values of the chart look like, each with the words that helm prints where one does not.

helm tells a pattern as it is written, which few can read, but a constant in plain words: so a value of the wrong form
is told to be the sentence that says what it should be.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def told(words: str, *, unless: Schema, then: Schema | None = None) -> Schema:
    """A refusal in words of what does not fit the schema; what fits is held against the next one, if any."""
    return {"if": {"not": unless}, "then": {"const": words}} | ({} if then is None else {"else": then})


def text(regex: str, words: str) -> Schema:
    """A string of that form, told in these words."""
    return {"type": "string", **told(words, unless={"pattern": f"^({regex})$"})}


def refused(words: str) -> Schema:
    """A key that people look for here, and where it is instead."""
    return {"const": words}


def choice(*among: str) -> Schema:
    """One of these words."""
    return {"type": "string", "enum": list(among)}


def whole(least: int, most: int | None = None) -> Schema:
    """A whole number."""
    return {"type": "integer", "minimum": least} | ({} if most is None else {"maximum": most})


def number(least: int, most: int | None = None, *, below: str = "[0-9]+") -> Schema:
    """A number, or one in quotes: helm's `--set` makes a string of what has a point.

    Args:
        least, most: its bounds; below: a pattern of the digits before the point, of what is in them and is not `most`.
    """
    if most is None:
        bounds, words, highest = {"minimum": least}, f"a number from {least} on", ""
    else:
        bounds, words = {"minimum": least, "maximum": most}, f"a number from {least} to {most}"
        highest = f"|{most}([.]0+)?"
    fits = {"pattern": f"^(({below})([.][0-9]+)?{highest})$"}
    return {"type": ["number", "string"], **bounds, **told(words, unless=fits)}


def record(properties: dict[str, Schema], *required: str) -> Schema:
    """An object with these keys and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        **({"required": list(required)} if required else {}),
    }


def listed(item: Schema) -> Schema:
    """A list of such."""
    return {"type": "array", "items": item}


def either(one: str, other: str, words: str) -> Schema:
    """An object whose two keys are not both given; told at the first."""
    given = {"not": {"enum": ["", {}]}}
    both = {"properties": {one: given, other: given}, "required": [one, other]}
    return {"if": both, "then": {"properties": {one: {"const": words}}}}


_NAME = "[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"
_LABEL = "[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_SHA256 = "sha256:[0-9a-f]{64}"
_HOST = r"(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
_REPOSITORY = "([a-zA-Z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*"


def _field(value: str) -> str:
    step = rf"(\*|({value})(-({value}))?)(/[0-9]+)?"
    return f"{step}(,{step})*"


_MONTH = "0?[1-9]|1[0-2]|[A-Za-z]{3}"
_WEEKDAY = "[0-7]|[A-Za-z]{3}"
_CRON = " +".join(map(_field, ("[0-5]?[0-9]", "[01]?[0-9]|2[0-3]", "0?[1-9]|[12][0-9]|3[01]", _MONTH, _WEEKDAY)))

NAME = text(_NAME, "the name of an object: lower case letters, digits, - and .")
MAYBE_NAME = text(f"|{_NAME}", "the name of an object: lower case letters, digits, - and .; or empty")
DIGEST = text(f"|{_SHA256}", "sha256: and 64 hexadecimal digits, as a registry prints an image's digest; or empty")
HEX = text("|[0-9a-f]{64}", "64 hexadecimal digits without sha256: before them; or empty")
REPOSITORY = text(
    f"|{_REPOSITORY}", "REGISTRY/NAME without a tag, which goes into `tag`, or a digest, which goes into `digest`"
)
TAG = {
    "type": "string",
    **told(
        "a tag that stays what it is, or a `digest`: what latest means changes under a running release",
        unless={"not": {"const": "latest"}},
        then=told(
            "a tag: letters, digits, _ . and -, at most 128",
            unless={"pattern": "^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$"},
        ),
    ),
}
_MODEL = "NAME:VERSION, as cdnow:20261101-1a2b3c4d; neither an alias nor latest, which may be another model tomorrow"
MODEL = {
    "type": "string",
    **told(_MODEL, unless={"pattern": "^([a-z0-9_.-]+:[a-z0-9_.-]+)?$", "not": {"pattern": ":latest$"}}),
}
CRON = text(
    f"{_CRON}|@(yearly|annually|monthly|weekly|daily|midnight|hourly)",
    "minute, hour, day, month and weekday in UTC, as 20 * * * * for twenty past each hour",
)
CPU = {
    "type": ["string", "number"],
    **told("processors, as 500m or 2", unless={"pattern": "^([0-9]+m|[0-9]+([.][0-9]+)?)$"}),
}
BYTES = {
    "type": ["string", "number"],
    **told("bytes, as 512Mi or 2Gi", unless={"pattern": "^[0-9]+([.][0-9]+)?([kMGT]|[KMGT]i)?$"}),
}
RESOURCES = record({"cpu": CPU, "memory": BYTES, "ephemeral-storage": BYTES}, "cpu", "memory", "ephemeral-storage")
KEY = {
    **record({"name": NAME, "key": text("[-._a-zA-Z0-9]+", "a key of the Secret: letters, digits, - _ and .")}),
    "dependentRequired": {"name": ["key"], "key": ["name"]},
}
WORDS = {"type": "object", "additionalProperties": {"type": "string"}}
HOST = text(_HOST, "a host name, without https:// or a path")
MAYBE_HOST = text(f"|{_HOST}", "a host name, without https:// or a path")
SHARE = number(0, 1, below="0")
WEB = text("|https?://[^/ ]+[^ ]*", "http://... or https://...")


def amount(words: str, percent: str) -> Schema:
    """A number above 0, or a percentage of that form."""
    fits = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": f"^({percent})%$"}]}
    return {"type": ["integer", "string"], **told(words, unless=fits)}


AMOUNT = amount("a number, or a percentage, above 0: with 0 no node could be drained", "100|[1-9][0-9]?")
SURGE = amount("a number, or a percentage, above 0: with 0 no rollout would begin", "[1-9][0-9]{0,2}")


def labels(*own: str) -> Schema:
    """Labels of one's own; never those that the chart tells objects apart by."""
    words = "another label: the chart sets this one itself"
    value = text(f"|{_LABEL}", "letters, digits, - _ and ., at most 63")
    return {"type": "object", "additionalProperties": value, "properties": {name: refused(words) for name in own}}


def url(words: str, *forms: str) -> Schema:
    """An address of one of these forms and without a password, or nothing."""
    remedy = "an address without a password: put the whole of it into a Secret, and name that one in `secret`"
    secret = {"not": {"pattern": "://[^/@]*:[^/@]+@|[?&]password="}}
    known = told(words, unless={"pattern": f"^({'|'.join(('', *forms))})$"})
    return {"type": "string", **told(remedy, unless=secret, then=known)}


_SELECTOR = record({"matchLabels": WORDS, "matchExpressions": {"type": "array"}})
_IPS = record({"cidr": {"type": "string"}, "except": listed({"type": "string"})}, "cidr")
PEERS = listed(
    {**record({"podSelector": _SELECTOR, "namespaceSelector": _SELECTOR, "ipBlock": _IPS}), "minProperties": 1}
)
_PORT = record(
    {"protocol": choice("TCP", "UDP", "SCTP"), "port": {"type": ["integer", "string"]}, "endPort": whole(1, 65_535)}
)
EGRESS = listed(record({"to": PEERS, "ports": listed(_PORT)}))
PARENTS = listed(
    record(
        {"name": NAME, "namespace": NAME, "sectionName": NAME, "port": whole(1, 65_535)}
        | {"group": {"type": "string"}, "kind": {"type": "string"}},
        "name",
    )
)
TOLERATIONS = listed(
    record(
        {name: {"type": "string"} for name in ("key", "value")}
        | {"operator": choice("Exists", "Equal"), "effect": choice("NoSchedule", "PreferNoSchedule", "NoExecute")}
        | {"tolerationSeconds": whole(0)}
    )
)
AFFINITY = record({name: {"type": "object"} for name in ("nodeAffinity", "podAffinity", "podAntiAffinity")})
ALSO = listed(
    record(
        {
            "name": text("[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", "at most 12 lower case letters, digits and -"),
            "image": text(f"{_REPOSITORY}@{_SHA256}", "REPOSITORY@sha256:HEX of a jobs image"),
            "fingerprint": HEX,
        },
        "name",
        "image",
    )
)
POD_SECURITY = record(
    {
        "runAsNonRoot": told("true: nothing here needs root", unless={"const": True}),
        "runAsUser": whole(1),
        "runAsGroup": whole(1),
        "fsGroup": whole(1),
        "fsGroupChangePolicy": choice("Always", "OnRootMismatch"),
        "supplementalGroups": listed(whole(1)),
        "seccompProfile": record(
            {"type": choice("RuntimeDefault", "Localhost"), "localhostProfile": {"type": "string"}}, "type"
        ),
        "seLinuxOptions": record({"level": {"type": "string"}, "type": {"type": "string"}}),
    },
    "runAsNonRoot",
    "seccompProfile",
)
