"""`holdfast retrain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.console import Json, Master, Out, Wide
from cli.workspace import Engine, Workspace
from features import clock
from settings import HoldfastError


def retrain(
    usecase: Annotated[str, typer.Argument(help="The use case: cdnow, telco or your own.")],
    trials: Annotated[int, typer.Option(min=0, help="Search the parameters with so many trials; 0: defaults.")] = 0,
    promote: Annotated[
        bool, typer.Option("--promote", help="Let it go live at once, if the gate lets it pass.")
    ] = False,
    cooldown: Annotated[float, typer.Option(min=0, help="Hours since the last decision on a model.")] = 0.0,
    verdict: Annotated[Path | None, typer.Option(help="Only if the verdict in this file (JSON) alarms.")] = None,
    when_asked: Annotated[
        bool, typer.Option("--when-asked", help="Only if monitoring asks for a new model in its ledger; --scheduled.")
    ] = False,
    push: Annotated[
        bool, typer.Option("--push", help="Push the model to HOLDFAST_ARCHIVE_URL before an alias is its.")
    ] = False,
    scheduled: Annotated[
        bool, typer.Option("--scheduled", help="Nobody reads the exit code: 0 also where refused or busy.")
    ] = False,
    algorithm: Annotated[
        Literal["xgboost", "logistic"] | None, typer.Option(help="Which of the two; default: the champion's.")
    ] = None,
    engine: Annotated[Engine, Wide] = None,
    master: Annotated[str | None, Master] = None,
    why: Annotated[str, typer.Option("--why", help="The reason, for the journal.")] = "",
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Train on everything known now and ask the gate; the model becomes USECASE@candidate, or goes live.

    One at a time. Exit code 0: promoted, candidate, unchanged, cooling or quiet (no alarm); 3: refused by the gate;
    4: another one is at it; 1: an error. Nothing goes live but what passed.
    """
    from cli.monitor.app import ledger_of  # late, with scipy and scikit-learn
    from cli.retrain import Request, Verdict, quiet
    from cli.retrain import retrain as retrain_module
    from monitoring.passes.asking import unanswered

    if when_asked and verdict is not None:
        raise HoldfastError("--when-asked and --verdict are two ways to be asked: take one of them")
    out, workspace = Out(as_json), Workspace.open(usecase, engine=engine, master=master)
    archive = workspace.settings.archive_url if push else None
    if push and archive is None:
        raise HoldfastError("--push: where to? Set HOLDFAST_ARCHIVE_URL: a directory, s3://BUCKET/PREFIX")
    read = None if verdict is None else Verdict.read(verdict)
    asked = Request(algorithm, trials, promote, round(cooldown * clock.HOUR), read, why, archive)
    ledger = ledger_of(workspace) if when_asked else None
    if ledger is not None and unanswered(ledger) is None:
        found = quiet(usecase, ledger)
    else:
        for step, line in workspace.prepare():
            out.proved(step, line)
        with out.progress() as progress:
            found = retrain_module(workspace, asked, progress, ledger)
    for line in found.trained.proof if found.trained else []:
        out.proved("train", line)
    if found.pushed is not None:
        out.proved("push", f"{found.pushed.reference}, {'stored' if found.pushed.stored else 'already there'}")
    judged = found.promotion.judged if found.promotion else None
    for check in judged.checks if judged else []:
        out.proved("passed" if check["passed"] else "NOT PASSED", check["said"])
    out.proved(found.outcome, found.said)
    if found.outcome == "candidate":
        out.say(f"             next: holdfast models promote {usecase}@candidate")
    out.result(found.result())
    raise typer.Exit(0 if scheduled or when_asked else found.code)
