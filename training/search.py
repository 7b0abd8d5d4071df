"""The search for parameters: trials that are measured on folds, and remembered, so that a killed search goes on.

Every trial is a function of its number and of the trials before it: the sampler is seeded anew for each, and a trial is
written down when it is finished, in one line of Optuna's journal. So a search that was killed, or asked for more trials
later, ends where an uninterrupted one does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import sklearn
import xgboost
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from features.store.lock import exclusive
from model import numeric
from model.estimators import Boosted, Linear
from settings import HoldfastError
from training import fit
from training.folds import MOST, Judge
from training.progress import Step
from training.split import Split
from usecases import UseCase

VERSION = 1
"""Raised when the same trial would be sampled or measured in another way: no earlier search is gone on with then."""
SEED, RANDOM = 0, 10
"""Trial n is sampled with seed SEED + n; the first RANDOM ones without looking at those before."""
NOISE = 1.0
"""How many standard errors the best trial must gain to replace the defaults (the 1 SE rule of Breiman et al., 1984).
With less the best of many is the luckiest; what asking for more would cost was measured: docs/adr/0022-search.md."""
WORST = 25
"""Per cent of the trials so far: who is among them after a fold is not measured on the others."""
Range = FloatDistribution | IntDistribution
SPACE: dict[str, dict[str, Range]] = {
    Boosted.algorithm: {
        "max_depth": IntDistribution(2, 7),
        "eta": FloatDistribution(0.02, 0.2, log=True),
        "min_child_weight": FloatDistribution(1.0, 200.0, log=True),
        "subsample": FloatDistribution(0.5, 1.0),
        "colsample_bytree": FloatDistribution(0.3, 1.0),
        "reg_lambda": FloatDistribution(0.1, 100.0, log=True),
        "reg_alpha": FloatDistribution(0.0, 10.0),
        "gamma": FloatDistribution(0.0, 5.0),
    },
    Linear.algorithm: {"C": FloatDistribution(1e-4, 100.0, log=True)},
}
"""What is searched, by XGBoost's names: how deep trees are (interactions of so many inputs), how fast they learn (at
.02 the 2,000 rounds still suffice), how many examples a leaf needs (weighted by p(1 - p)), which share of examples and
columns a tree sees, and what leaves and splits cost. The number of trees is no parameter: they stop by themselves."""
START: fit.Parameters = {"reg_alpha": 0.0, "gamma": 0.0}
"""XGBoost's own values of what the defaults leave to it."""


class SearchError(HoldfastError, ValueError):
    """A search cannot be made or gone on with; the message says why and what to do."""


@dataclass(frozen=True)
class Found:
    """What to fit with, and how that was found.

    Attributes:
        summary: for the manifest; the same for the same data, however often the search was interrupted.
        line: for people. resumed: how many trials an earlier search had left.
    """

    parameters: fit.Parameters
    summary: dict[str, Any]
    line: str
    resumed: int


def search(
    usecase: UseCase,
    parts: Split,
    trials: int,
    directory: Path,
    progress: Step = lambda *_: None,
    *,
    algorithm: str = Boosted.algorithm,
) -> Found:
    """`trials` trials, the first of which are the defaults; those that an earlier search left in `directory` count.

    The best one is chosen if it beats the defaults by more than NOISE standard errors of the difference, and else they.

    Raises:
        SearchError: if `trials` is less than 1, or what an earlier search left cannot be read.
        LabelError: if there is nothing to measure on.
        StoreError: if another process is at the same search.
    """
    if trials < 1:
        raise SearchError(f"{trials} trials: at least one is needed, which are the defaults")
    judge = Judge(usecase, parts, algorithm)
    name = _name(usecase, parts, algorithm)
    with _quiet(), _study(directory / f"{name}.journal", name) as study:
        left = study.get_trials()[:trials]
        live = optuna.create_study(pruner=optuna.pruners.PercentilePruner(100 - WORST))
        live.add_trials(left)
        for number in range(len(left), trials):
            progress("search", number, trials)
            study.add_trial(_try(algorithm, live, number, judge))
        progress("search", trials, trials)
        return _told(algorithm, live.get_trials(), judge, len(left))


def _try(algorithm: str, live: optuna.Study, number: int, judge: Judge) -> FrozenTrial:
    """The trial of that number. What is told fold by fold is the mean distance from the defaults so far: folds differ
    by more than trials do."""
    space = SPACE[algorithm]
    live.sampler = optuna.samplers.TPESampler(seed=SEED + number, n_startup_trials=RANDOM, constant_liar=False)
    if number == 0:
        live.enqueue_trial({name: {**START, **fit.DEFAULTS[algorithm]}[name] for name in space})
    trial = live.ask(dict(space))
    parameters, told = _parameters(algorithm, trial), []
    default = live.get_trials(deepcopy=False)[0].user_attrs.get("folds")
    for fold in range(len(judge.folds)):
        told.append(float(judge.losses(parameters, fold).mean()))
        trial.set_user_attr("folds", told)
        trial.report(float(np.mean(told) - np.mean((default or told)[: fold + 1])), fold)
        if fold + 1 < len(judge.folds) and trial.should_prune():
            return live.tell(trial, state=TrialState.PRUNED)
    return live.tell(trial, float(np.mean(told)))


def _told(algorithm: str, trials: list[FrozenTrial], judge: Judge, resumed: int) -> Found:
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    default, best = trials[0], min(complete, key=lambda trial: (trial.values, trial.number))
    gain, error = judge.better(_parameters(algorithm, best), fit.DEFAULTS[algorithm]) if best.number else (0.0, 0.0)
    chosen = best if gain > NOISE * error else default
    space = SPACE[algorithm]
    summary = {
        "version": VERSION,
        "objective": "log loss, calibrated; mean over folds",
        "folds": [
            {"measured": fold.about, "fitted": len(fold.fitted), "examples": sum(map(len, fold.halves))}
            for fold in judge.folds
        ],
        "seed": SEED,
        "space": {name: _range(one) for name, one in space.items()},
        "trials": [
            {
                "state": trial.state.name.lower(),
                "folds": [round(value, 6) for value in trial.user_attrs["folds"]],
                "parameters": {name: _parameters(algorithm, trial)[name] for name in space},
            }
            for trial in trials
        ],
        "completed": len(complete),
        "pruned": len(trials) - len(complete),
        "default": _value(default),
        "best": {"number": best.number, **_value(best)},
        "gain": {"value": round(gain, 6), "error": round(error, 6)},
        "rule": f"the best trial where it gains more than {NOISE:g} standard error(s), else the defaults",
        "chosen": chosen.number,
    }
    parameters = _parameters(algorithm, chosen) if chosen.number else dict(fit.DEFAULTS[algorithm])
    return Found(parameters, summary, _line(summary, resumed), resumed)


def _parameters(algorithm: str, trial: FrozenTrial | optuna.Trial) -> fit.Parameters:
    """What a fit is given: numbers that four digits tell."""
    own = {name: float(f"{v:.4g}") if isinstance(v, float) else v for name, v in trial.params.items()}
    return {**fit.DEFAULTS[algorithm], **own}


def _range(of: Range) -> list[float | str]:
    return [of.low, of.high, *(["log"] if of.log else [])]


def _value(trial: FrozenTrial) -> dict[str, Any]:
    """The mean over folds, and its standard error from how much they differ: None where there is one fold."""
    told = trial.user_attrs["folds"]
    error = float(np.std(told, ddof=1) / np.sqrt(len(told))) if len(told) > 1 else None
    return {"value": round(float(np.mean(told)), 6), "error": None if error is None else round(error, 6)}


def _line(summary: dict[str, Any], resumed: int) -> str:
    count, gain, chosen = len(summary["trials"]), summary["gain"], summary["chosen"]
    found = f", {resumed} found from before" if resumed else ""
    few = " (the data allows no more)" if len(summary["folds"]) < MOST else ""
    if chosen:
        outcome = f"trial {chosen}"
    else:
        outcome = "the defaults" + (", as that may be luck" if summary["best"]["number"] else "")
    return (
        f"search: {count} trials ({summary['pruned']} pruned{found}), log loss {summary['best']['value']:.4f} by "
        f"{len(summary['folds'])} fold(s){few} against {summary['default']['value']:.4f} with the defaults: a gain of "
        f"{gain['value']:.4f} ± {gain['error']:.4f}; chosen: {outcome}"
    )


def _name(usecase: UseCase, parts: Split, algorithm: str) -> str:
    """Of a study: everything that decides what a trial is and how it is measured."""
    made_of = [
        *(VERSION, algorithm, parts.train.content, usecase.features.fingerprint, repr(usecase.label)),
        *(fit.DEFAULTS[algorithm], fit.ROUNDS, fit.PATIENCE, numeric.baseline()),
        [library.__version__ for library in (np, optuna, sklearn, xgboost)],
    ]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]


class _Held(JournalFileOpenLock):
    """The journal's own lock, which a kill would leave behind: nothing to do, as the study's is held."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None


@contextmanager
def _study(path: Path, name: str) -> Iterator[optuna.Study]:
    """The finished trials of a study, which this process alone adds to meanwhile."""
    with exclusive(path.with_suffix(".lock"), f"search {name}"):
        if path.exists():
            written = path.read_bytes()
            whole = written[: written.rfind(b"\n") + 1]  # a kill may leave half a line
            if whole != written:
                with path.open("r+b") as file:
                    file.truncate(len(whole))
        try:
            storage = JournalStorage(JournalFileBackend(str(path), lock_obj=_Held(str(path))))
        except (KeyError, ValueError) as error:
            raise SearchError(f"{path} cannot be read ({error!r}): remove it, and the search starts anew") from None
        yield optuna.create_study(study_name=name, storage=storage, load_if_exists=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """No line of Optuna's for every trial; its warnings are told."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
