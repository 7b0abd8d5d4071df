"""Commands that bring outcomes: what became of those whom predictions were about."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Annotated

import typer

from cli.console import Json, Out, many
from cli.data import UseCaseOption
from cli.deriving import derive
from cli.predictions import log_of
from cli.telling import Refusal, bring
from cli.workspace import Workspace
from features import clock
from model.predictions.pseudonym import Pseudonyms
from settings import HoldfastError

outcomes = typer.Typer(help="What became of those whom predictions were about.", no_args_is_help=True)

AsJson = Annotated[bool, Json]
_SHOWN = 5


@outcomes.command("ingest")
def ingest_command(
    file: Annotated[Path, typer.Argument(help="FILE.csv, FILE.jsonl or FILE.parquet.")],
    usecase: UseCaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Bring the outcomes of a file into the prediction log, as /v1/feedback does; again, it changes nothing.

    Columns: prediction_id, or the use case's key and `at`; outcome (true/false, yes/no, 1/0), observed_at (RFC 3339)
    and, if wanted, outcome_id. Rows that are not accepted go to FILE.rejects.jsonl, with their numbers and reasons.
    """
    out, workspace = Out(as_json), Workspace.open(usecase)
    rejects = file.with_name(f"{file.name}.rejects.jsonl")
    with _rejects(rejects) as kept:

        def refuse(one: Refusal) -> None:
            kept.write(json.dumps(asdict(one)) + "\n")

        pseudonyms = Pseudonyms(workspace.settings.id_hmac_key)
        brought = bring(
            workspace.usecase, log_of(workspace), pseudonyms, file, refuse, now=clock.now(workspace.settings.now)
        )
    beside = f"; see {rejects}" if brought.refused else ""
    out.proved(
        "outcomes",
        f"{file.name}: {brought.read:,} rows = {brought.new:,} new + {brought.known:,} known + "
        f"{brought.refused:,} refused{beside}",
    )
    for reason, rows in list(brought.reasons.items())[:_SHOWN]:
        out.say(f"             {rows:,} x {reason}")
    if brought.ahead:
        out.proved(
            "WARNING",
            f"{many(brought.ahead, 'row')} with an observed_at of more than a day from now: brought all the same, but "
            "look whether it is right",
        )
    out.result({**asdict(brought), "rejects": str(rejects) if brought.refused else None})
    if brought.read and brought.read == brought.refused:
        raise HoldfastError(f"no row of {file} was accepted; {rejects} says why")


@outcomes.command("derive")
def derive_command(
    usecase: UseCaseOption = None,
    since: Annotated[str | None, typer.Option("--from", help="Answered at or after this time (RFC 3339).")] = None,
    as_json: AsJson = False,
) -> None:
    """Bring outcomes from the events themselves, where the label is that none comes; again, it changes nothing.

    Every logged prediction whose horizon is over gets the label that training would give it.
    """
    out, workspace = Out(as_json), Workspace.open(usecase)
    derived = derive(
        workspace.usecase,
        workspace.events,
        log_of(workspace),
        Pseudonyms(workspace.settings.id_hmac_key),
        clock.now(),
        as_of=workspace.now,
        since=None if since is None else clock.parse(since),
    )
    out.proved(
        "outcomes",
        f"{derived.read:,} predictions = {derived.new:,} new + {derived.known:,} known + "
        f"{derived.undecided:,} undecided + {derived.strangers:,} of strangers; "
        f"events tell of the time until {derived.upto}",
    )
    out.result(asdict(derived))


@contextmanager
def _rejects(path: Path) -> Iterator[IO[str]]:
    """The file that refused rows go to, whole or not at all; where none is refused there is none."""
    made = path.with_name(f"{path.name}.new")
    try:
        with made.open("w", encoding="utf-8") as kept:
            yield kept
            written = kept.tell()
        if written:
            made.replace(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise HoldfastError(f"{path}: refused rows cannot be kept there: {error.strerror}") from error
    finally:
        made.unlink(missing_ok=True)
