"""Commands that train, evaluate and compare paths."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from cli import parity as parity_module
from cli import skew as skew_module
from cli.console import Json, Master, Out, Wide, table
from cli.engines import check
from cli.run import run as run_module
from cli.workspace import Engine, Workspace
from features import clock
from training.card import TITLES
from training.dataset import build, label_times
from training.progress import Step

AsJson = Annotated[bool, Json]
Name = Annotated[str, typer.Argument(help="The use case: cdnow, telco or your own.")]


def train(
    usecase: Name,
    algorithm: Annotated[Literal["xgboost", "logistic"], typer.Option(help="Which of the two to store.")] = "xgboost",
    trials: Annotated[
        int | None, typer.Option(min=1, help="Search the parameters with so many trials; default: no search.")
    ] = None,
    engine: Annotated[Engine, Wide] = None,
    master: Annotated[str | None, Master] = None,
    as_json: AsJson = False,
) -> None:
    """Train a model on everything known now, measure it on held-out data, and store it.

    With `--trials N`, parameters are searched for on folds that leave the held-out data out; the first trial is the
    defaults, and they stay where no trial beats them by more than noise. A search that was interrupted, or is asked for
    more trials, goes on.

    With `--engine spark`, executors compute the training set and fit the trees together.
    """
    from training.train import train as train_module

    out, workspace = _prepared(usecase, as_json, engine, master)
    parent = workspace.registry.alias(usecase)
    with out.progress() as progress:
        trained = train_module(
            workspace.usecase,
            workspace.events,
            as_of=workspace.now,
            cache=workspace.cache,
            algorithm=algorithm,
            parent=parent,
            trees=workspace.trees(),
            trials=trials or 0,
            progress=progress,
        )
    for line in trained.proof:
        out.proved("train", line)
    out.say(f"             next: holdfast models promote {trained.manifest.tag}")
    out.result({"stored": trained.stored, "manifest": trained.manifest.model_dump()})


def evaluate(usecase: Name, as_json: AsJson = False) -> None:
    """Cross-validate at one label time, beside the logistic baseline."""
    from training.evaluate import FOLDS, REPEATS  # late, with scikit-learn
    from training.evaluate import evaluate as cross_validate

    out, workspace = _prepared(usecase, as_json)
    own = workspace.usecase
    t = clock.parse(own.label_time) if own.label_time else label_times(own, workspace.events, workspace.now)[-1]
    dataset, _ = build(own, workspace.events, [t], workspace.now, workspace.cache)
    with out.progress() as progress:
        measured = cross_validate(own, dataset, progress)
    shares = f"{dataset.label.mean():.1%} positive"
    out.say(f"{usecase}: {len(dataset):,} examples at {clock.rfc3339(t)}, {shares}, {REPEATS} x {FOLDS}-fold\n")
    rows = [[title, *(f"{measured[name][key]:.4f}" for name in ("model", "logistic"))] for key, title in TITLES.items()]
    out.say(table(rows, ["", "model", "logistic"]))
    out.result(measured)


def parity(
    usecase: Name,
    engines: Annotated[
        list[str] | None,
        typer.Option("--with", help="Also duckdb, spark, postgresql://..., redis://...; repeatable.", metavar="ENGINE"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score every customer by every path; exit 1 at the first differing bit.

    The stores that the settings name are among the paths. Servers named by --with hold a copy of the events meanwhile.
    """
    asked = [check(engine) for engine in engines or []]
    out, workspace = _prepared(usecase, as_json)
    with out.progress() as progress:
        tag = _model(out, workspace, progress)
        result = parity_module.parity(workspace, tag, progress, engines=_engines(workspace, asked))
    rows = [[path, f"{numbers:,}"] for path, numbers in result.paths.items()]
    out.say(table(rows, ["path", "numbers"]))
    out.proved("parity", result.line)
    out.result({**asdict(result), "differing_bits": 0})


def demo_skew(as_json: AsJson = False) -> None:
    """The story with numbers: one feature, written a second time by the backend."""
    out, workspace = _prepared("cdnow", as_json)
    with out.progress() as progress:
        told = skew_module.skew(workspace, _model(out, workspace, progress), progress)
    count = told.customers
    out.say(f"\n{count:,} customers scored by {told.model}, through the shared avg_spend and the backend's own:\n")
    rows = [
        [v.definition, *(f"{n:,} ({n / count:.2%})" for n in (v.feature, v.score, v.decision))] for v in told.variants
    ]
    out.say(table(rows, ["the backend's avg_spend", "feature differs", "score differs", "decision differs"]))
    out.say("\nthrough Holdfast's own paths:")
    out.proved("parity", told.proof)
    out.result(asdict(told))


def demo_drift(
    keep: Annotated[bool, typer.Option("--keep", help="Leave server and monitor up, to look at the page.")] = False,
    as_json: AsJson = False,
) -> None:
    """The story with numbers: other customers, then other outcomes; and what a monitor makes of them by itself."""
    from cli.demo_drift import drift  # late, with scipy

    out, workspace = _prepared("telco", as_json)
    with out.progress(lines=False) as progress:
        tag = _model(out, workspace, progress)
    out.result(drift(workspace, tag, out, keep=keep))


def run(
    port: Annotated[
        int, typer.Option(min=1, max=65_533, help="HTTP port; gRPC and metrics have the two behind it.")
    ] = 3000,
    stay: Annotated[bool, typer.Option(help="Serve until Ctrl-C; or else stop after the first answer.")] = True,
    as_json: AsJson = False,
) -> None:
    """From nothing to an answered request: data, ingest, train, promote, materialize, serve."""
    out = Out(as_json)
    out.result(run_module(Workspace.open(), out, port, stay=stay))


def _engines(workspace: Workspace, asked: list[str]) -> list[str]:
    """Those asked for, and the online store of the settings where it is a server."""
    own = workspace.settings.online_url
    return asked if own is None or own.startswith("sqlite:") or own in asked else [own, *asked]


def _prepared(usecase: str, as_json: bool, engine: Engine = None, master: str | None = None) -> tuple[Out, Workspace]:
    out, workspace = Out(as_json), Workspace.open(usecase, engine=engine, master=master)
    for step, line in workspace.prepare(sample=True):
        out.proved(step, line)
    return out, workspace


def _model(out: Out, workspace: Workspace, progress: Step) -> str:
    tag, proof = workspace.model(progress)
    for line in proof:
        out.proved("train", line)
    return tag
