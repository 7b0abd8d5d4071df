"""Commands over the prediction log: what was answered, to whom, from what, and what became of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.console import Json, Out, table
from cli.data import UseCaseOption
from cli.export import document, export
from cli.workspace import Workspace
from features import clock
from model.predictions import Prediction
from model.predictions.outcome import Settled
from model.predictions.pseudonym import Pseudonyms
from model.predictions.reading import Log, open_log
from settings import PREFIX, HoldfastError

predictions = typer.Typer(help="The log of what was answered.", no_args_is_help=True)

AsJson = Annotated[bool, Json]
FORMS = (".parquet", ".jsonl")


@predictions.command("show")
def show_command(
    name: Annotated[str, typer.Argument(metavar="ID", help="A prediction id, or a request's.")],
    usecase: UseCaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Everything that an answer was made of: inputs, aggregates, features, score, model, times; and its outcome."""
    out, (log, workspace) = Out(as_json), _log(usecase)
    found = list(log.settled(look_up(log, Pseudonyms(workspace.settings.id_hmac_key), name)))
    for one in found:
        told = document(one)
        plain = {field: value for field, value in told.items() if not isinstance(value, dict)}
        nested = {
            f"{field[:-1]} {inner}": value
            for field in ("attributes", "aggregates", "features")
            for inner, value in told[field].items()
        }
        rows = [[field, _shown(value)] for field, value in {**plain, **nested}.items()]
        out.say(table(rows, ["", ""]).strip("\n") + "\n")
    out.result({"predictions": [document(one) for one in found]})


@predictions.command("list")
def list_command(
    usecase: UseCaseOption = None,
    limit: Annotated[int, typer.Option(min=1, help="So many.")] = 20,
    key: Annotated[str | None, typer.Option("--key", help="Of one key only, the plain one.")] = None,
    as_json: AsJson = False,
) -> None:
    """The last answers, newest first."""
    out, (log, workspace) = Out(as_json), _log(usecase)
    pseudonyms = Pseudonyms(workspace.settings.id_hmac_key)
    found = log.newest(limit, key)
    if key is not None and pseudonyms.mark:  # and those from before keys were hashed
        found += log.newest(limit, pseudonyms(key))
        found = sorted(found, key=lambda one: one.answered_at, reverse=True)[:limit]
    if key is not None and not found and (why := _otherwise(log, pseudonyms)):
        raise HoldfastError(f"no answer to {workspace.usecase.key} {key!r} is found{why}")
    rows = [
        [
            clock.rfc3339(one.answered_at),
            one.prediction_id,
            one.key,
            repr(one.probability),
            one.decision,
            one.model,
            "" if one.known else "unknown",
            "degraded" if one.degraded else "",
        ]
        for one in found
    ]
    header = ["answered at", "prediction", workspace.usecase.key, "probability", "decision", "model", "", ""]
    none = "nothing was answered yet" if key is None else f"no answer to {workspace.usecase.key} {key!r} is in the log"
    out.say(table(rows, header) if rows else f"{workspace.usecase.name}: {none}")
    out.result({"predictions": [document(one) for one in found]})


@predictions.command("export")
def export_command(
    file: Annotated[Path, typer.Option("--out", help="FILE.parquet or FILE.jsonl.")],
    usecase: UseCaseOption = None,
    start: Annotated[str | None, typer.Option("--from", help="Answered at or after this time (RFC 3339).")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Answered before this time (RFC 3339).")] = None,
    outcomes: Annotated[bool, typer.Option("--outcomes", help="With the outcome of each, as it is known now.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the answers of a time to one file; in Parquet, a column per attribute, aggregate and feature."""
    out, (log, _) = Out(as_json), _log(usecase)
    if file.suffix not in FORMS:
        raise HoldfastError(f"--out {file}: the name ends with {' or '.join(FORMS)}")
    limits = [None if text is None else clock.parse(text) for text in (start, end)]
    found = log.between(*limits)
    rows = export(log.settled(found), file, Settled) if outcomes else export(found, file)
    out.proved("export", f"{rows:,} predictions in {file}")
    out.result({"rows": rows, "file": str(file)})


@predictions.command("outcomes")
def outcomes_command(
    usecase: UseCaseOption = None,
    limit: Annotated[int, typer.Option(min=1, help="So many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """The last outcomes that clients told, newest first."""
    out, (log, workspace) = Out(as_json), _log(usecase)
    found = log.latest(limit)
    rows = [
        [
            clock.rfc3339(one.received_at),
            one.prediction_id or f"{one.key} at {clock.rfc3339(one.at or 0)}",
            "yes" if one.outcome else "no",
            clock.rfc3339(one.observed_at),
            one.outcome_id,
            one.client,
        ]
        for one in found
    ]
    header = ["received at", "prediction", "outcome", "observed at", "id", ""]
    out.say(table(rows, header) if rows else f"{workspace.usecase.name}: no outcome was told yet")
    out.result({"outcomes": [document(one) for one in found]})


def log_of(workspace: Workspace) -> Log:
    """Where its answers are."""
    return open_log(workspace.settings.predictions_url, workspace.home, workspace.usecase.name)


def look_up(log: Log, pseudonyms: Pseudonyms, name: str) -> list[Prediction]:
    """The prediction with that id, or those of the request with that id, ours or the client's.

    Raises:
        HoldfastError: if there is none.
    """
    found = log.find(name) or log.find(pseudonyms(name))
    if not found:
        raise HoldfastError(
            f"no prediction and no request {name!r} is in the log; an answer is in it at once where the log is in "
            f"files, and after about a second where it is in PostgreSQL{_otherwise(log, pseudonyms)}"
        )
    return found


def _log(usecase: str | None) -> tuple[Log, Workspace]:
    workspace = Workspace.open(usecase)
    return log_of(workspace), workspace


def _otherwise(log: Log, pseudonyms: Pseudonyms) -> str:
    """Why what a client or a user calls something is not found: the newest answers are hashed with another secret."""
    hashed = next((one.hashed for one in log.newest(1)), "")
    if hashed in ("", pseudonyms.mark):
        return ""
    own = f"has the mark {pseudonyms.mark}" if pseudonyms.mark else "is not set"
    return (
        f"; keys and clients' request ids are hashed there with a secret of the mark {hashed}, and "
        f"{PREFIX}ID_HMAC_KEY {own}"
    )


def _shown(value: Any) -> str:
    return "" if value is None else str(value)
