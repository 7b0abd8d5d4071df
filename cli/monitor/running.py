"""`holdfast monitor run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.console import Out, many
from cli.monitor.app import AsJson, Name, SkewShare, ledger_of, monitor
from cli.workspace import Workspace
from features.clock import rfc3339
from monitoring.ledger import Closed

RETRAIN = 10
"""What the command ends with where a new model is asked for."""


@monitor.command("run")
def run_command(
    usecase: Name = None,
    verdict: Annotated[
        Path | None,
        typer.Option(help="Where a request for a new model is written; default: HOME/USECASE/monitor/retrain.json."),
    ] = None,
    skew_share: SkewShare = None,
    as_json: AsJson = False,
) -> None:
    """One pass: count what is new in the prediction log, close windows, judge them, ask for a new model if it is due.

    Exit code 0: done, be there alarms or not; 10: done, and a new model is asked for, once per request, in the file
    that `holdfast retrain --verdict` takes; 1: an error. Whenever it is killed, the next pass goes on.
    Beside `holdfast monitor serve` on the same ledger that one takes the request, and this ends with 0: take one.
    """
    from cli.monitor.alarms import Alarms  # late, with scipy
    from cli.monitor.once import once
    from monitoring.passes import asking

    out, workspace = Out(as_json), Workspace.open(usecase)
    ledger = ledger_of(workspace)
    alarms = Alarms(out)
    try:
        done = once(workspace, ledger, verdict, alarms.tell, skew_share=skew_share)
    finally:
        alarms.end()
    passed = done.passed
    counts = {label: more for (name, label), more in passed.counts.items() if name == "records"}
    said = [f"{many(counts.get('counted', 0), 'answer')} counted"]
    said += [f"{counts[label]:,} {words}" for label, words in _WORDS.items() if counts.get(label)]
    said.append(f"{many(len(passed.closed), 'window')} closed, {len(passed.alarms):,} with an alarm")
    out.proved("records", "; ".join(said))
    for line in passed.trouble:
        out.proved("NOT READ", line)
    for model, (often, why) in passed.unknown.items():
        out.proved("NOT COUNTED", f"{many(often, 'answer')} of {model}, which has no profile here: {why}")
        out.say("             nor will they be: once it is back, only answers are counted that no pass has read yet")
    if done.request is not None:
        first, last = done.request["windows"]
        which = f"{done.request['model']}, windows {first} to {last}"
        out.proved(
            "retrain", f"is asked for: {which}; holdfast retrain {workspace.usecase.name} --verdict {done.verdict}"
        )
    out.result(
        {
            "usecase": workspace.usecase.name,
            "records": counts,
            "windows": [_told(one) for one in passed.closed],
            "unknown": {model: {"answers": often, "why": why} for model, (often, why) in passed.unknown.items()},
            "trouble": passed.trouble,
            "seconds": round(passed.seconds, 3),
            "retrain": None if done.request is None else {**done.request, "file": str(done.verdict)},
        }
    )
    if done.request is not None:
        asking.told(ledger, done.request)
        raise typer.Exit(RETRAIN)


_WORDS = {
    "late": "of them late",
    "duplicate": "left out as duplicates",
    "unknown_model": "left out, of models without a profile here",
}


def _told(one: Closed) -> dict[str, Any]:
    return {
        "model": one.model,
        "number": one.number,
        "start": rfc3339(one.start),
        "end": rfc3339(one.end),
        "rows": one.rows,
        "labelled": one.labelled,
        "late": one.late,
        "reference": one.reference,
        "alarm": one.alarm,
        "findings": one.verdict["findings"],
    }
