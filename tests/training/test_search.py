"""The search: the same outcome however it got there, never worse than the defaults by the folds, honest about luck."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from features.store.base import StoreError
from model import store
from tests.model.toys import AS_OF, Toy, plan, plan_toy
from tests.training.conftest import Ready
from training import fit
from training.dataset import build, label_times
from training.folds import Judge
from training.search import SPACE, Found, SearchError, search
from training.split import Split, split
from training.train import train

TRIALS = 16
CHILD = """
import sys
from pathlib import Path
from tests.training.test_search import parts_of, searched
from tests.model.toys import plan_toy
searched(parts_of(plan_toy(Path(sys.argv[2]))), Path(sys.argv[1]))
"""


def parts_of(toy: Toy) -> Split:
    """The parts of a toy's training set."""
    times = label_times(toy.usecase, toy.store, toy.as_of)
    return split(toy.usecase, build(toy.usecase, toy.store, times, toy.as_of, toy.cache)[0])


def searched(parts: Split, directory: Path, trials: int = TRIALS, **more: Any) -> Found:
    """A search of `plan`."""
    return search(plan(), parts, trials, directory / "search", **more)


@pytest.fixture(scope="module")
def parts(plan_ready: Ready) -> Split:
    """Of members."""
    return split(plan(), plan_ready.dataset)


@pytest.fixture(scope="module")
def whole(parts: Split, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Found]:
    """A search that nothing interrupted, and where."""
    home = tmp_path_factory.mktemp("whole")
    return home, searched(parts, home)


def same(one: Found, other: Found) -> None:
    """Both ended alike."""
    assert one.parameters == other.parameters
    assert json.dumps(one.summary) == json.dumps(other.summary)


def test_the_same_data_give_the_same_study(parts: Split, whole: tuple[Path, Found], tmp_path: Path) -> None:
    again = searched(parts, tmp_path)
    same(again, whole[1])
    assert again.resumed == 0
    numbers = [trial["parameters"] for trial in again.summary["trials"]]
    assert len({json.dumps(one) for one in numbers}) == TRIALS  # each its own
    assert str(tmp_path) not in json.dumps(again.summary)


def test_the_first_trial_is_the_defaults(parts: Split, whole: tuple[Path, Found]) -> None:
    summary, judge = whole[1].summary, Judge(plan(), parts, "xgboost")
    first = summary["trials"][0]
    assert {**first["parameters"], **fit.PARAMETERS} == {**fit.PARAMETERS, "reg_alpha": 0.0, "gamma": 0.0}
    assert first["folds"] == [round(float(judge.losses(fit.PARAMETERS, number).mean()), 6) for number in range(4)]
    assert summary["default"]["value"] == pytest.approx(np.mean(first["folds"]), abs=1e-6)
    assert summary["best"]["value"] <= summary["default"]["value"]


def test_the_summary_tells_what_each_trial_was_and_came_to(parts: Split, whole: tuple[Path, Found]) -> None:
    summary, judge = whole[1].summary, Judge(plan(), parts, "xgboost")
    assert (summary["completed"], summary["pruned"]) == (
        *(sum(trial["state"] == state for trial in summary["trials"]) for state in ("complete", "pruned")),
    )
    assert summary["completed"] + summary["pruned"] == TRIALS
    for trial in summary["trials"][1::5]:
        parameters = {**fit.PARAMETERS, **trial["parameters"]}
        told = [round(float(judge.losses(parameters, number).mean()), 6) for number in range(len(trial["folds"]))]
        assert told == trial["folds"]  # with the numbers as they are written down
        for name, own in SPACE["xgboost"].items():
            assert own.low <= trial["parameters"][name] <= own.high
    best = min((t for t in summary["trials"] if t["state"] == "complete"), key=lambda t: float(np.mean(t["folds"])))
    assert summary["trials"][summary["best"]["number"]] == best


def test_trials_that_fall_behind_are_not_measured_to_the_end(whole: tuple[Path, Found]) -> None:
    trials = whole[1].summary["trials"]
    pruned = [trial for trial in trials if trial["state"] == "pruned"]
    assert pruned
    for trial in pruned:
        assert len(trial["folds"]) < 4
    assert all(len(trial["folds"]) == 4 for trial in trials if trial not in pruned)
    first = [trial["folds"][0] for trial in trials]
    assert np.mean([trial["folds"][0] for trial in pruned]) > np.median(first)


def test_more_trials_later_are_as_if_asked_for_at_once(parts: Split, whole: tuple[Path, Found], tmp_path: Path) -> None:
    few = searched(parts, tmp_path, 6)
    more = searched(parts, tmp_path)
    same(more, whole[1])
    assert more.resumed == 6
    assert "6 found from before" in more.line
    same(searched(parts, tmp_path, 6), few)  # and fewer, too
    assert searched(parts, tmp_path, 1).parameters == fit.PARAMETERS


def test_killed_at_random_moments_and_run_again_it_ends_the_same(whole: tuple[Path, Found], tmp_path: Path) -> None:
    moments, hit = random.Random(5), 0  # noqa: S311  # no secret
    for number in range(3):
        before = finished(tmp_path)
        words = [sys.executable, "-c", CHILD, str(tmp_path), str(tmp_path / str(number))]
        child = subprocess.Popen(words, cwd=Path(__file__).parents[2])
        while finished(tmp_path) == before and not ended(child, 0.01):
            continue
        if not ended(child, moments.uniform(0, 0.3)):
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            hit += 1
    assert hit >= 2
    left = finished(tmp_path)
    done = searched(parts_of(plan_toy(tmp_path / "toy")), tmp_path)
    same(done, whole[1])
    assert done.resumed == left > 0


def finished(directory: Path) -> int:
    """How many trials the search there has written whole."""
    written = b"".join(path.read_bytes() for path in (directory / "search").glob("*.journal"))
    return written.rpartition(b"\n")[0].count(b'"op_code":4,')


def ended(child: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether it has, within that time."""
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


@pytest.mark.parametrize("kept", [0, 1, 40, -1, -40])
def test_half_a_line_is_a_trial_that_never_was(
    parts: Split, whole: tuple[Path, Found], tmp_path: Path, kept: int
) -> None:
    (journal,) = (whole[0] / "search").glob("*.journal")
    lines = journal.read_bytes().splitlines(keepends=True)
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / journal.name).write_bytes(b"".join(lines[:9]) + lines[9][:kept])
    done = searched(parts, tmp_path)
    same(done, whole[1])
    assert done.resumed == 8


def test_what_cannot_be_read_is_named(parts: Split, whole: tuple[Path, Found], tmp_path: Path) -> None:
    (journal,) = (whole[0] / "search").glob("*.journal")
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / journal.name).write_bytes(b"nothing\n" + journal.read_bytes())
    with pytest.raises(SearchError, match=f"{journal.name} cannot be read .* remove it"):
        searched(parts, tmp_path)


def test_a_second_search_of_the_same_is_refused(parts: Split, tmp_path: Path) -> None:
    refused = []

    def meanwhile(_: str, done: int, __: int) -> None:
        if done == 1:
            with pytest.raises(StoreError, match=f"search .*: process {os.getpid()} is doing it") as caught:
                searched(parts, tmp_path, 2)
            refused.append(caught)
            assert searched(parts, tmp_path, 1, algorithm="logistic").parameters["C"] == fit.PENALTY  # another one

    searched(parts, tmp_path, 2, progress=meanwhile)
    assert len(refused) == 1


@pytest.mark.parametrize("trials", [0, -1])
def test_no_trial_is_no_search(parts: Split, tmp_path: Path, trials: int) -> None:
    with pytest.raises(SearchError, match=f"{trials} trials: at least one"):
        searched(parts, tmp_path, trials)
    assert not (tmp_path / "search").exists()


def test_defaults_that_learn_nothing_are_replaced(
    pulse_ready: Ready, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usecase = pulse_ready.toy.usecase
    monkeypatch.setitem(fit.PARAMETERS, "min_child_weight", 200)  # more than there are examples
    found = search(usecase, split(usecase, pulse_ready.dataset), 12, tmp_path)
    assert found.summary["gain"]["value"] > found.summary["gain"]["error"]
    assert found.summary["chosen"] == found.summary["best"]["number"] > 0
    assert found.parameters["min_child_weight"] < 100
    assert "3 fold(s) (the data allows no more)" in found.line
    assert f"chosen: trial {found.summary['chosen']}" in found.line


def test_what_may_be_luck_does_not_replace_the_defaults(parts: Split, tmp_path: Path) -> None:
    found = searched(parts, tmp_path, algorithm="logistic")
    assert found.summary["best"]["number"] > 0  # some trial looks better all the same
    assert 0 < found.summary["gain"]["value"] < found.summary["gain"]["error"]
    assert found.summary["chosen"] == 0
    assert found.parameters == fit.DEFAULTS["logistic"]
    assert "chosen: the defaults, as that may be luck" in found.line


def test_of_the_logistic_regression_its_penalty_is_searched(parts: Split, tmp_path: Path) -> None:
    found = searched(parts, tmp_path, 5, algorithm="logistic")
    assert set(found.parameters) == {"C", "penalty"}
    assert [set(trial["parameters"]) for trial in found.summary["trials"]] == [{"C"}] * 5
    assert found.summary["trials"][0]["parameters"]["C"] == fit.PENALTY


def test_it_tells_its_progress_and_nothing_else(
    parts: Split, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    steps: list[tuple[str, int, int]] = []
    before = optuna.logging.get_verbosity()
    searched(parts, tmp_path, 3, progress=lambda *step: steps.append(step))
    assert steps == [("search", done, 3) for done in range(4)]
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before


def test_a_model_is_fitted_with_what_was_found_and_tells_how(tmp_path: Path, pulse_ready: Ready) -> None:
    toy, parts = pulse_ready.toy, split(pulse_ready.toy.usecase, pulse_ready.dataset)
    first, again = (
        train(toy.usecase, toy.store, as_of=AS_OF, cache=tmp_path / home / "training", trials=3)
        for home in ("one", "two")
    )
    assert again.manifest.tag == first.manifest.tag
    assert not again.stored
    assert len([line for line in first.proof if line.startswith("search: 3 trials")]) == 1
    told = first.manifest.search
    assert told is not None
    assert told["chosen"] > 0
    chosen = told["trials"][told["chosen"]]["parameters"]
    assert {name: first.manifest.parameters[name] for name in chosen} == chosen
    fitted, valid = ((toy.usecase.features.matrix(part.features), part.label) for part in (parts.train, parts.valid))
    model = fit.scorer("xgboost", toy.usecase, fitted, valid, parameters={**fit.PARAMETERS, **chosen}).model
    model.write(tmp_path)
    assert (tmp_path / model.file).read_bytes() == (store.path(first.manifest.tag) / model.file).read_bytes()
    with pytest.raises(SearchError):
        train(toy.usecase, toy.store, as_of=AS_OF, cache=toy.cache, trials=-1)
