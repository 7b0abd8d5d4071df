"""The verdict: silent without drift, an alarm that names what moved with it, and a size that makes no trifle alarm."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks.drift.population import Frame, Population
from benchmarks.drift.scenarios import GROSS, SMALL, Scenario, blinder, scaled
from model.profile import Profile, ProfileError
from monitoring import Verdict, Window, judge

POPULATION = Population(3)
RANDOM = np.random.default_rng(0)
PROFILE = Profile.from_frame(POPULATION.reference(20_000, RANDOM))


def drawn(n: int, seed: int, change: Callable[..., Frame] | None = None) -> Window:
    random = np.random.default_rng(seed)
    frame = POPULATION.draw(n, random)
    return Window.from_frame(PROFILE, frame if change is None else change(frame, random, POPULATION))


@pytest.mark.parametrize("scenario", GROSS, ids=lambda scenario: scenario.name)
def test_a_gross_shift_alarms_in_its_first_window_and_is_named(scenario: Scenario) -> None:
    verdicts = [judge(PROFILE, [drawn(scenario.rows, seed, scenario.change)]) for seed in range(5)]
    assert sum(verdict.alarm for verdict in verdicts) >= 4
    columns = {verdict.findings[0].column for verdict in verdicts if verdict.alarm}
    touched = {
        "mean of income": "income",
        "2 % of income": "income",
        "contract mix": "contract",
        "decisions": "decision",
    }
    named = next((name for start, name in touched.items() if start in scenario.name), scenario.name.split()[-2])
    if scenario.name == "covariance only":
        assert columns == {"speed ~ load"}
    else:
        assert any(named in column for column in columns)


@pytest.mark.parametrize("scenario", SMALL, ids=lambda scenario: scenario.name)
def test_a_small_shift_alarms_in_time_after_quiet_windows(scenario: Scenario) -> None:
    windows = [drawn(1_000, seed) for seed in range(20)]
    assert not judge(PROFILE, windows).alarm
    for seed in range(scenario.within * 2):
        windows.append(drawn(1_000, 100 + seed, scenario.change))
        if judge(PROFILE, windows).alarm:
            return
    pytest.fail(f"{scenario.name}: no alarm in {scenario.within * 2} windows")


@pytest.mark.parametrize("rows", [200, 1_000, 5_000])
def test_windows_without_drift_are_quiet(rows: int) -> None:
    windows = [drawn(rows, 1_000 + seed) for seed in range(40)]
    assert not [place for place in range(1, 41) if judge(PROFILE, windows[:place]).alarm]


def test_a_trifle_does_not_alarm_however_many_rows_show_it() -> None:
    profile = Profile.from_frame({"income": POPULATION.draw(400_000, np.random.default_rng(1))["income"]})
    frame = POPULATION.draw(400_000, np.random.default_rng(2))
    verdict = judge(profile, [Window.from_frame(profile, {"income": frame["income"] * 1.005})])
    plain = judge(profile, [Window.from_frame(profile, {"income": frame["income"] * 1.1})])
    assert (verdict.alarm, plain.alarm) == (False, True)


def test_a_season_that_the_reference_shows_is_no_drift_and_without_days_it_is() -> None:
    random = np.random.default_rng(4)
    frame = POPULATION.reference(30_000, random, days=42, season=2.0)
    seasoned = Profile.from_frame(frame)
    blind = Profile.from_frame({name: values for name, values in frame.items() if name != "day"})
    counts = {"seasoned": 0, "blind": 0}
    for day in range(1_000, 1_014):
        rows = POPULATION.draw(1_000, random, np.full(1_000, day), season=2.0)
        counts["seasoned"] += judge(seasoned, [Window.from_frame(seasoned, rows)]).alarm
        counts["blind"] += judge(blind, [Window.from_frame(blind, rows)]).alarm
    assert counts["seasoned"] == 0
    assert counts["blind"] > 5
    assert any("season is not modelled" in note for note in judge(blind, [Window.empty(blind)]).notes)
    assert not any("season" in note for note in judge(seasoned, [Window.empty(seasoned)]).notes)
    broken = POPULATION.draw(1_000, random, np.full(1_000, 1_020), season=2.0)
    broken["region"][:60] = "brand new"
    assert judge(seasoned, [Window.from_frame(seasoned, broken)]).alarm


def test_outcomes_that_the_score_no_longer_tells_alarm_on_their_own_track() -> None:
    random = np.random.default_rng(6)
    frame = POPULATION.draw(1_000, random)
    right = Window.from_outcomes(PROFILE, frame["score"], frame["outcome"])
    assert not judge(PROFILE, [right]).alarm
    turned = blinder(0.2)(frame, random, POPULATION)
    verdict = judge(PROFILE, [Window.from_outcomes(PROFILE, turned["score"], turned["outcome"])])
    assert verdict.alarm
    assert {finding.track for finding in verdict.findings} == {"outcomes"}
    assert {finding.column for finding in verdict.findings} == {"outcome"}


def test_too_few_outcomes_are_pooled_and_not_judged_alone() -> None:
    frame = POPULATION.draw(60, np.random.default_rng(7))
    wrong = Window.from_outcomes(PROFILE, frame["score"], np.ones(60))
    assert not judge(PROFILE, [wrong]).findings
    assert judge(PROFILE, [wrong] * 7).alarm


def test_a_verdict_says_what_it_does_not_know() -> None:
    bare = Profile.from_frame({"x": np.arange(1_000.0)})
    notes = judge(bare, [Window.from_frame(bare, {"x": np.arange(1_000.0)})]).notes
    assert [note.split(":")[0] for note in notes] == ["season is not modelled", "outcomes are not judged"]


def test_a_verdict_is_the_same_again_from_plain_values() -> None:
    windows = [drawn(1_000, 1), drawn(1_000, 2, scaled("income", 1.5))]
    verdict = judge(PROFILE, windows)
    assert verdict.alarm
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json(), allow_nan=False))) == verdict
    first = verdict.findings[0]
    assert first.adjusted <= verdict.budget
    assert first.column == "income"
    assert "income" in str(first)
    assert verdict.columns["income"].effect > 0.2
    assert first.adjusted == min(finding.adjusted for finding in verdict.findings)


def test_only_the_ring_is_looked_at_and_an_empty_window_is_no_drift() -> None:
    shifted = [drawn(1_000, seed, scaled("income", 3)) for seed in range(3)]
    assert not judge(PROFILE, shifted + [drawn(1_000, 50 + seed) for seed in range(28)]).alarm
    assert not judge(PROFILE, [Window.empty(PROFILE)]).alarm


def test_levels_and_values_that_were_never_there_do_not_break_a_verdict() -> None:
    columns: dict[str, Any] = {
        "one": np.array(["a"] * 500, object),
        "nothing": np.full(500, np.nan),
        "same": np.ones(500),
    }
    profile = Profile.from_frame(columns)
    frame = {"one": np.array([None] * 100, object), "nothing": np.zeros(100), "same": np.full(100, np.inf)}
    findings = judge(profile, [Window.from_frame(profile, frame)]).findings
    assert {(finding.column, finding.test) for finding in findings} >= {("one", "missing"), ("same", "range")}


def test_the_same_customers_scored_day_after_day_are_no_new_evidence() -> None:
    random = np.random.default_rng(8)
    alarms = 0
    for seed in range(3):
        population = Population(seed)
        profile = Profile.from_frame(population.draw(3_000, random))
        customers = Window.from_frame(profile, population.draw(3_000, random))
        alarms += judge(profile, [customers] * 28).alarm
    assert alarms == 0


@pytest.mark.parametrize("levels", [100, 300, 5_000])
def test_a_category_of_more_levels_than_are_kept_is_quiet_until_it_changes(levels: int) -> None:
    random = np.random.default_rng(levels)
    places = np.array([f"place {number}" for number in range(levels)], object)
    profile = Profile.from_frame({"place": random.choice(places, 10_000)})
    windows = [Window.from_frame(profile, {"place": random.choice(places, 1_000)}) for _ in range(28)]
    assert not [place for place in range(1, 29) if judge(profile, windows[:place]).alarm]
    moved = np.where(random.random(1_000) < 0.1, profile.columns[0].levels[0], random.choice(places, 1_000))
    assert judge(profile, [Window.from_frame(profile, {"place": moved})]).alarm


def test_days_that_differ_too_much_to_judge_by_are_told() -> None:
    random = np.random.default_rng(9)
    day = np.repeat(np.arange(13), 1_000)
    reference = {"tenure": random.normal(0, 1, 13_000) + 3 * day, "calm": random.normal(size=13_000), "day": day}
    profile = Profile.from_frame(reference)
    frame = {"tenure": random.normal(60, 1, 1_000), "calm": random.normal(size=1_000)}
    verdict = judge(profile, Window.from_frame(profile, frame))
    (said,) = [note for note in verdict.notes if "days of the reference differ" in note]
    assert "tenure (" in said
    assert "calm" not in said


def test_a_location_is_told_by_the_half_that_was_above_the_middle() -> None:
    verdict = judge(PROFILE, drawn(1_000, 11, scaled("income", 1.3)))
    (found,) = [one for one in verdict.findings if (one.column, one.test) == ("income", "location")]
    assert 0.4 < found.before <= 0.5
    assert found.after > 0.6
    assert found.cell.startswith("> ")


@pytest.mark.parametrize("budget", [0, 1, -1e-3, 5])
def test_a_budget_is_a_chance(budget: float) -> None:
    with pytest.raises(ProfileError, match="between 0 and 1"):
        judge(PROFILE, [Window.empty(PROFILE)], budget)


def test_few_rows_are_told() -> None:
    small = Profile.from_frame({"x": np.arange(50.0)})
    notes = judge(small, Window.empty(small)).notes
    assert notes[:2] == (
        "the reference has 50 rows: what is small for that many rows is not seen",
        "the newest window is empty",
    )


def test_outcomes_of_scores_at_which_next_to_nothing_happens_are_quiet() -> None:
    random = np.random.default_rng(10)

    def told(n: int) -> dict[str, Any]:
        score = random.beta(0.4, 4, n)  # half of the deciles have less than one outcome in a window
        return {"score": score, "outcome": random.random(n) < score}

    profile = Profile.from_frame(told(20_000))
    windows = [Window.from_frame(profile, told(600)) for _ in range(150)]
    smallest = [
        judge(profile, windows[max(0, place - 28) : place]).columns["outcome"].adjusted for place in range(1, 151)
    ]
    assert min(smallest) > 1e-3
    assert sum(p < 0.1 for p in smallest) < 30
