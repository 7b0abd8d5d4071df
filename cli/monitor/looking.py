"""`holdfast monitor show`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.console import Out, many, table
from cli.monitor.app import AsJson, Model, Name, ledger_of, monitor
from cli.workspace import Workspace
from features.clock import rfc3339
from monitoring.ledger import Closed
from settings import redacted


@monitor.command("show")
def show_command(
    usecase: Name = None,
    model: Model = None,
    limit: Annotated[int, typer.Option(min=1, help="So many windows of each model.")] = 28,
    as_json: AsJson = False,
) -> None:
    """The last windows of each model with their verdicts, oldest first."""
    out, workspace = Out(as_json), Workspace.open(usecase)
    ledger, url = ledger_of(workspace), workspace.settings.monitor_url
    models = ledger.models() if model is None else [model]
    said: dict[str, Any] = {}
    for tag in models:
        windows, opened = ledger.closed(tag, limit), ledger.opened(tag)
        header = ["window", "from", "to", "answers", "late", "outcomes", "held against", "verdict"]
        out.say(f"{tag}: {many(opened.rows if opened else 0, 'answer')} in the open window")
        if windows:
            out.say(table([_row(one) for one in windows], header))
        said[tag] = {
            "open": opened.rows if opened else 0,
            "windows": [{"number": one.number, "end": rfc3339(one.end), **one.verdict} for one in windows],
        }
    if not models:
        where = ledger.where if url is None else redacted(url)
        out.say(f"{workspace.usecase.name}: nothing was counted yet in {where}: run `holdfast monitor run`")
    out.result({"models": said, "counters": {f"{name} {label}": n for (name, label), n in ledger.counters().items()}})


def _row(one: Closed) -> list[str]:
    findings = one.verdict["findings"]
    first = findings[0] if findings else None
    verdict = "quiet"
    if first is not None:
        verdict = f"ALARM {first['column']}: {first['test']}, {many(len(findings), 'finding')}"
    against = (one.reference, verdict)
    if one.reference == "settling":
        against = ("nothing yet", "settling")
    numbers = [f"{number:,}" for number in (one.rows, one.late, one.labelled)]
    times = [rfc3339(one.start), rfc3339(one.end)]
    return [str(one.number), *times, *numbers, *against]
