"""The promotion gate: what it lets pass, what it refuses, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model import store
from model.numeric import Floats
from tests.model.toys import AS_OF, Toy, copy_of, edit_json, plan_toy, pulse, recency_weeks, reseal, visits
from tests.model.toys import ingest_visits as ingested
from training.comparison import Examples
from training.fit import Labels
from training.promotion import Judged, judge, measured, slowdown
from usecases import Floors


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """`plan`."""
    return plan_toy(tmp_path_factory.mktemp("plan"), members=2_000)


@pytest.fixture(scope="module")
def model(members: Toy) -> Path:
    """A model of it."""
    return store.path(members.train().manifest.tag)


def judged(toy: Toy, candidate: Path, champion: Path | None, **floors: float) -> Judged:
    """What the gate says, with other floors."""
    usecase = replace(toy.usecase, floors=Floors(**floors))
    return judge(usecase, toy.store, candidate, champion, as_of=toy.as_of, cache=toy.cache)


def failed(found: Judged) -> list[str]:
    """Which checks did not pass."""
    return [check["check"] for check in found.checks if not check["passed"]]


def customers(n: int, seed: int = 0) -> tuple[Labels, Floats]:
    """n labels drawn from their log-odds."""
    random = np.random.default_rng(seed)
    margin = random.normal(-1, 1.5, n)
    return random.random(n) < sigmoid(margin), margin


def sigmoid(margin: Floats) -> Floats:
    """1 / (1 + e^-m)."""
    return np.asarray(1 / (1 + np.exp(-margin)))


def test_the_first_model_has_only_floors_to_reach(members: Toy, model: Path) -> None:
    found = judged(members, model, None)
    assert found.passed
    assert found.champion is None
    assert [check["check"] for check in found.checks] == ["loads", "roc_auc", "log_loss", "ece"]
    assert "golden rows agree" in found.proof


def test_equal_models_are_promotable(members: Toy, model: Path) -> None:
    found = judged(members, model, model)
    assert found.passed
    by_name = {check["check"]: check for check in found.checks}
    assert by_name["champion"]["value"] == 0
    assert by_name["skill"]["value"] == 0
    assert set(by_name) == {"loads", "roc_auc", "log_loss", "ece", "champion", "skill", "cost"}


@pytest.mark.parametrize(("floor", "check"), [({"roc_auc": 0.99}, "roc_auc"), ({"ece": 1e-9}, "ece")])
def test_each_floor_is_held_and_the_refusal_has_both_numbers(
    members: Toy, model: Path, floor: dict[str, float], check: str
) -> None:
    found = judged(members, model, None, **floor)
    assert failed(found) == [check]
    (reason,) = found.reasons
    assert f"{next(iter(floor.values())):g}" in reason
    wrong = next(one for one in found.checks if one["check"] == check)
    assert wrong["limit"] == next(iter(floor.values()))
    assert isinstance(wrong["value"], float)


def test_a_refusal_tells_every_reason(members: Toy, model: Path, tmp_path: Path) -> None:
    broken = copy_of(model, tmp_path)
    edit_json(broken / "calibration.json", lambda c: c.update(slope=-c["slope"], offset=5.0))
    damaged = _resealed(broken, members)
    found = judged(members, damaged, model, roc_auc=0.7)
    assert failed(found) == ["roc_auc", "log_loss", "ece", "champion", "skill"]
    assert len(found.reasons) == 5


def _resealed(directory: Path, toy: Toy) -> Path:
    """A damaged model that loads: its golden rows are its own."""
    from model import golden
    from model.artefact import read_golden, read_manifest, read_scorer, write_json

    scorer = read_scorer(directory, read_manifest(directory), toy.usecase.features)
    inputs = golden.restore(read_golden(directory), toy.usecase.features)
    write_json(directory / "golden.json", golden.record(inputs, inputs.score(scorer)))
    reseal(directory)
    return directory


def test_a_model_that_does_not_load_is_refused_and_nothing_else_is_asked(
    members: Toy, model: Path, tmp_path: Path
) -> None:
    broken = copy_of(model, tmp_path)
    (broken / "decision.json").write_text("{}")
    found = judged(members, broken, model)
    assert failed(found) == ["loads"]
    assert "decision.json" in found.reasons[0]
    other = replace(members.usecase, features=replace(members.usecase.features, rows=(), inputs=("months", "region")))
    found = judge(other, members.store, model, None, as_of=AS_OF, cache=members.cache)
    assert failed(found) == ["loads"]
    assert "fingerprint" in found.reasons[0]


def test_without_common_examples_the_reason_is_said(tmp_path: Path) -> None:
    usecase = pulse()
    events = ingested(usecase, tmp_path, visits(1))
    first = Toy(usecase, events, tmp_path / "training")
    second = Toy(pulse(recency=recency_weeks), events, tmp_path / "training", AS_OF)
    champion = store.path(first.train().manifest.tag)
    found = judged(second, store.path(second.train().manifest.tag), champion)
    assert "champion" not in failed(found)  # the same label time: as it answered then
    assert "(as pulse:" in found.proof


def damages(n: int, damage: Callable[[Floats, np.random.Generator], Floats], times: int = 30) -> int:
    """How many of so many damaged candidates are refused, on n examples."""
    label, margin = customers(n)
    random, refused = np.random.default_rng(1), 0
    for _ in range(times):
        common = Examples(label, sigmoid(damage(margin, random)), sigmoid(margin), None, "")
        refused += not all(check["passed"] for check in measured(Floors(), common, "the champion"))
    return refused


def test_a_damaged_model_is_refused_and_one_that_moves_a_little_is_not() -> None:
    assert damages(1_500, lambda margin, random: margin + random.normal(0, 1.5, len(margin))) == 30
    assert damages(1_500, lambda margin, random: margin + random.normal(0, 0.1, len(margin))) == 0


def test_a_champion_without_skill_has_none_to_lose() -> None:
    label, margin = customers(2_000)
    nothing = np.random.default_rng(5).permutation(sigmoid(margin))
    checks = measured(Floors(), Examples(label, sigmoid(margin), nothing, None, ""), "the champion")
    assert all(check["passed"] for check in checks)


def test_what_scoring_costs_is_told_as_a_factor(members: Toy, model: Path) -> None:
    def work(times: int) -> Callable[[], object]:
        return lambda: [np.sort(np.arange(50_000)[::-1]) for _ in range(times)]

    assert slowdown(work(20), work(1)) > 5 > 0.2 > slowdown(work(1), work(20))
    heavy = store.path(members.train("logistic").manifest.tag)
    costs = [check for check in judged(members, heavy, model).checks if check["check"] == "cost"]
    assert [check["limit"] for check in costs] == [3.0]
