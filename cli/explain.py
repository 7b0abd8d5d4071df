"""`holdfast explain`: why a key has its score, at any time, from what was known then."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Annotated, Any

import numpy as np
import typer

from cli.console import Json, Out, table
from cli.data import UseCaseOption
from cli.workspace import Workspace
from features import clock
from features.contract import Kind, array, columns
from features.featureset import FeatureSet
from features.store.base import NoRecord, Spine
from model import gate
from model.explanation import MOST, TOP
from model.golden import Inputs
from serving.decode import Decoder
from serving.errors import NotAccepted
from serving.schema import Schema
from settings import HoldfastError


def explain(
    key: Annotated[str, typer.Argument(help="Whose score.")],
    usecase: UseCaseOption = None,
    at: Annotated[str | None, typer.Option("--at", help="When (RFC 3339); default: now.")] = None,
    model: Annotated[str | None, typer.Option(help="NAME:VERSION or NAME@ALIAS; default: the champion.")] = None,
    top: Annotated[int, typer.Option(min=1, max=MOST, help="Most contributions.")] = TOP,
    attributes: Annotated[
        str | None, typer.Option(help="JSON, as a request has them; default: the record known then.")
    ] = None,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Score one key as the service would have at that time, and say what each of its inputs adds to the score."""
    out, workspace = Out(as_json), Workspace.open(usecase)
    own, t = workspace.usecase, workspace.now if at is None else clock.parse(at)
    tag = workspace.registry.resolve(model or f"{own.name}@champion")
    if tag.split(":")[0] != own.name:
        raise HoldfastError(f"{tag} is no model of the use case {own.name}: say --usecase {tag.split(':')[0]}")
    scorer = gate.load(workspace.models.path(tag), own.features, enforce=workspace.settings.gate == "enforce").scorer
    cadenced = own.features.events is not None and workspace.settings.online_read == "materialized"
    as_of = clock.floor(t, own.cadence) if cadenced else t
    found = workspace.events.aggregate(Spine.at([key], as_of))
    inputs = Inputs(found.aggregates, _attributes(workspace, key, t, attributes), np.array([t], dtype=np.int64))
    try:
        scores = inputs.score(scorer)
        (why,) = scorer.explain(scores).top(top)
    except (ArithmeticError, ValueError) as error:
        raise HoldfastError(f"{own.key} {key!r} cannot be scored at {clock.rfc3339(t)}: {error}") from error
    answer = {
        own.key: key,
        "probability": scores.probability[0].item(),
        "decision": scorer.label(bool(scores.positive[0])),
        "threshold": scorer.decision.threshold,
        "model": tag,
        "fingerprint": own.features.fingerprint,
        "as_of": clock.rfc3339(as_of),
        "request_time": clock.rfc3339(t),
        "known": bool(found.known[0]),
        "explanation": why,
    }
    _tell(out, own.features, answer, f"{own.key} {key}")
    out.result(answer)


def _attributes(workspace: Workspace, key: str, t: int, given: str | None) -> dict[str, np.ndarray[Any, Any]]:
    """What a request would say of the key: as it is given, or as its newest record known at t says it.

    Raises:
        HoldfastError: if the contract refuses what is given, or there is no such record.
    """
    usecase = workspace.usecase
    fields = usecase.features.fields
    if given is not None:
        try:
            row = {usecase.key: key, "attributes": json.loads(given)}
            asked = Decoder(Schema(usecase), 1).single(row)
        except ValueError as error:
            raise HoldfastError(f"--attributes is no JSON: {error}") from None
        except NotAccepted as error:
            told = "; ".join(f"{one['field']}: {one['problem']}" for one in error.problems)
            raise HoldfastError(f"{error.detail}: {told}") from None
        return {name: array(fields[name], values) for name, values in zip(fields, asked.columns, strict=True)}
    if not fields:
        return {}
    try:
        records = workspace.events.records(Spine.at([key], t))
    except NoRecord as error:
        raise HoldfastError(f"{error}; or say what is known of it: --attributes JSON") from None
    return {name: records[name] for name in fields}


def _tell(out: Out, features: FeatureSet, answer: dict[str, Any], who: str) -> None:
    why, kinds = answer["explanation"], _kinds(features)
    at = answer["request_time"] + ("" if answer["as_of"] == answer["request_time"] else f" (events {answer['as_of']})")
    out.say(f"{who} at {at}, {answer['model']}{'' if answer['known'] else '; known: false, no event of it is known'}")
    out.say(f"probability {answer['probability']!r}: {answer['decision']} (threshold {answer['threshold']!r})\n")
    told = [
        [one["feature"], _readable(kinds.get(one["feature"]), one["value"]), f"{one['contribution']:+.6f}"]
        for one in why["contributions"]
    ]
    rest = len(features.inputs) - len(told)
    sums = [["base", "", f"{why['base']:+.6f}"], *told, [f"rest, {rest} more", "", f"{why['rest']:+.6f}"]]
    out.say(table([*sums, ["margin", "the sum", f"{why['margin']:+.6f}"]], ["input", "value", "adds"]))


def _kinds(features: FeatureSet) -> dict[str, Kind]:
    """What the inputs are that a contract tells of, by name."""
    kinds = {name: column.kind for name, column in features.fields.items()}
    events = {column.name: column.kind for column in columns(features.events)} if features.events else {}
    summed = [one for one in features.aggregates if one.column is not None and one.function != "count_distinct"]
    return kinds | {one.name: events[one.column] for one in summed if one.column is not None}


def _readable(kind: Kind | None, value: Any) -> str:
    """For people: money with its cents, a time as RFC 3339."""
    if value is None:
        return "missing"
    if kind == "money":
        return str(Decimal(value).scaleb(-2))
    if kind == "time":
        return clock.rfc3339(value)
    return str(value).lower() if isinstance(value, bool) else f"{value:.6g}" if isinstance(value, float) else str(value)
