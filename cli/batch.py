"""The command that scores everyone."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from batch.files import Directory
from batch.plan import ask
from batch.postgres import Postgres
from batch.run import begun
from batch.run import score as run
from batch.score import Scoring
from batch.sink import Sink
from cli.addresses import address
from cli.console import Json, Master, Out, Wide
from cli.modelling import Name
from cli.workspace import Engine, Workspace
from features import clock
from model.explanation import MOST
from model.registry import CHAMPION
from settings import HoldfastError


def score(
    usecase: Name,
    out_directory: Annotated[
        Path | None, typer.Option("--out", help="Directory of Parquet files; each run gets its own below it.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="Or a table: postgresql://USER@HOST/DATABASE/TABLE, or @FILE that holds such an address.",
            metavar="URL",
        ),
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="A time (RFC 3339); default: now. Snapped to the cadence.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="NAME:VERSION or NAME@ALIAS; default: the champion.")
    ] = None,
    rows_per_part: Annotated[int, typer.Option(min=1, help="Rows computed and committed at a time.")] = 100_000,
    explain: Annotated[
        int,
        typer.Option(min=0, max=MOST, help="Beside each score its K largest contributions, and what the others add."),
    ] = 0,
    failure_budget: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of rows that may lack a score; they are kept apart."),
    ] = 0.0,
    engine: Annotated[Engine, Wide] = None,
    master: Annotated[str | None, Master] = None,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Score everyone known at a time; the same command again takes up what was interrupted."""
    out, workspace = Out(as_json), Workspace.open(usecase, engine=engine, master=master)
    sink = _sink(out_directory, to and address(to), workspace.usecase.key)
    tag = workspace.registry.resolve(model or f"{usecase}@{CHAMPION}")
    scoring = Scoring.of(usecase, workspace.models.path(tag), workspace.settings.usecases)
    loaded = scoring.load()
    for step, line in workspace.prepare():
        out.proved(step, line)
    t = workspace.as_of if as_of is None else _snapped(workspace, as_of, out)
    asked = ask(usecase, workspace.events, t, loaded.manifest, rows_per_part, explain)
    asked = asked if as_of is not None else begun(sink, asked, workspace.usecase.cadence)
    out.proved("model", loaded.proof)
    with out.progress() as progress:
        outcome = run(
            workspace.usecase,
            workspace.events,
            sink,
            asked,
            scoring,
            budget=failure_budget,
            progress=lambda done, parts: progress("parts scored", done, parts),
        )
    resumed = f", {outcome.resumed:,} of them already there" if outcome.resumed else ""
    out.proved(
        "score",
        f"{outcome.rows:,} keys known at {asked.as_of} = {outcome.scored:,} scored + {outcome.quarantined:,} in "
        f"quarantine, in {outcome.parts:,} part(s){resumed}",
    )
    out.say(f"             {outcome.where}")
    run_fields = asked.model_dump()
    out.result({"run_id": asked.id, **run_fields, **{k: v for k, v in asdict(outcome).items() if k != "run"}})


def _sink(directory: Path | None, to: str | None, key: str) -> Sink:
    if (directory is None) == (to is None):
        raise HoldfastError(
            "where do the scores go? Say either --out DIR or --to postgresql://USER@HOST/DATABASE/TABLE"
        )
    return Postgres.at(to, key) if to is not None else Directory(directory or Path())


def _snapped(workspace: Workspace, as_of: str, out: Out) -> int:
    """That time, snapped to the cadence where there is something to materialize, as training and serving do."""
    given, now = clock.parse(as_of), workspace.now
    if given > now:
        raise HoldfastError(
            f"--as-of {as_of} lies after now, {clock.rfc3339(now)}: what will count then is not known yet"
        )
    t = clock.floor(given, workspace.usecase.cadence) if workspace.usecase.features.events else given
    if t != given:
        out.say(f"as of {clock.rfc3339(t)}: {as_of} snapped to the cadence of {workspace.usecase.name}")
    return t
