"""Retraining for a schedule, and promotion by hand: what goes live, what does not, and what the journal has of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.promotion import Promotion, promote
from cli.retrain import Request, Retrained, Verdict, retrain
from cli.workspace import Workspace
from features import clock
from features.etl.ingest import ingest
from model import store
from model.archive import ArchiveError, pull, push
from model.registry import open_registry
from monitoring.ledger import Change, Fact, Ledger, open_ledger
from monitoring.passes import asking
from settings import HoldfastError, Settings
from tests.model.places import another_store
from tests.model.toys import AS_OF, MemberRecord, plan, write_csv
from training.train import train
from usecases import Floors, UseCase

NOW = datetime.fromisoformat(clock.rfc3339(AS_OF))


def workspace(root: Path, name: str, floors: Floors | None = None) -> Workspace:
    """`plan` under a name of its own, so that it has a journal of its own."""
    usecase: UseCase = replace(plan(), name=name, floors=floors or Floors())
    return Workspace(Settings(home=root, usecase=name, now=NOW), usecase)


def members(own: Workspace, first: int, last: int) -> None:
    """Ingest members of those numbers."""
    random, rows = np.random.default_rng(first), []
    for number in range(first, last):
        months, premium = int(random.integers(0, 72)), bool(random.random() < 0.4)
        left = random.random() < 1 / (1 + np.exp(0.08 * months - 1 + premium))
        rows.append((months, "north", premium, f"{random.uniform(0, 5):.3f}", f"m{number}", bool(left)))
    own.home.mkdir(parents=True, exist_ok=True)
    path = write_csv(own.home / f"{first}.csv", list(MemberRecord.model_fields), rows)
    ingest(own.events, "records", path, now=AS_OF)


def retrained(
    own: Workspace,
    *,
    algorithm: str | None = "logistic",
    live: bool = True,
    cooldown: int = 0,
    verdict: Verdict | None = None,
    push: str | None = None,
    ledger: Ledger | None = None,
) -> Retrained:
    """As the command does it."""
    return retrain(own, Request(algorithm, 0, live, cooldown, verdict, "", push), lambda *_: None, ledger)


def asked(own: Workspace) -> Ledger:
    """The ledger of a monitor that asks for a new model, now."""
    ledger, at = open_ledger(None, own.home, own.usecase.name), clock.now()
    finding = {"column": "months", "test": "shape", "p": 1e-9}
    body = {"asked": at, "open": True, "windows": [1, 3], "findings": [finding]}
    ledger.commit(Change(ledger.number(), facts=[Fact(asking.KIND, f"{own.usecase.name}:1", at, body)]))
    return ledger


def verdict(name: str, alarm: bool, at: str) -> Verdict:
    """As monitoring leaves it."""
    finding = {"column": "months", "test": "shape", "p": 1e-9}
    return Verdict(usecase=name, alarm=alarm, judged_at=datetime.fromisoformat(at), findings=[finding] if alarm else [])


def test_new_data_become_a_model_and_old_ones_do_not(tmp_path: Path) -> None:
    own = workspace(tmp_path, "monthly")
    members(own, 0, 900)
    first = retrained(own)
    assert (first.outcome, first.code) == ("promoted", 0)
    assert first.trained is not None
    assert own.registry.alias("monthly") == first.trained.manifest.tag
    again = retrained(own)
    assert (again.outcome, again.code) == ("unchanged", 0)
    assert len(own.registry.entries("monthly")) == 1
    members(own, 900, 1_800)
    more = retrained(own)
    assert more.outcome == "promoted"
    assert more.trained is not None
    assert more.trained.manifest.parent == first.trained.manifest.tag
    entry = own.registry.decided("monthly")
    assert entry is not None
    assert (entry.before, entry.content) == (first.trained.manifest.tag, more.trained.manifest.content_digest)
    assert {check["check"] for check in entry.checks} >= {"loads", "champion", "skill", "ece", "cost"}
    json.dumps(more.result(), allow_nan=False)


def test_a_candidate_waits_for_a_person_and_leaves_the_champion(tmp_path: Path) -> None:
    own = workspace(tmp_path, "waiting", Floors(loss=1))
    members(own, 0, 900)
    champion = retrained(own)
    found = retrained(own, algorithm="xgboost", live=False)
    assert (found.outcome, found.code) == ("candidate", 0)
    assert champion.trained is not None
    assert found.trained is not None
    assert own.registry.alias("waiting") == champion.trained.manifest.tag
    assert own.registry.alias("waiting", "candidate") == found.trained.manifest.tag
    assert promote(own, own.registry.resolve("waiting@candidate"), why="seen by a person").outcome == "promoted"
    assert own.registry.alias("waiting") == found.trained.manifest.tag


def test_nothing_happens_before_the_cooldown_is_over(tmp_path: Path) -> None:
    own = workspace(tmp_path, "cool")
    members(own, 0, 900)
    retrained(own)
    found = retrained(own, cooldown=clock.HOUR)
    assert (found.outcome, found.code, found.trained) == ("cooling", 0, None)
    last = own.registry.entries("cool")[-1]
    assert clock.rfc3339(clock.parse(last.time) + clock.HOUR) in found.said


def test_a_verdict_asks_once_and_only_if_it_alarms(tmp_path: Path) -> None:
    own = workspace(tmp_path, "asked")
    members(own, 0, 900)
    assert retrained(own, verdict=verdict("asked", alarm=False, at="2020-01-01T00:00:00Z")).outcome == "quiet"
    assert own.registry.entries("asked") == []
    found = retrained(own, verdict=verdict("asked", alarm=True, at="2020-01-02T00:00:00Z"))
    assert found.outcome == "promoted"
    assert "alarm of 2020-01-02T00:00:00Z about months" in own.registry.entries("asked")[-1].why
    stale = retrained(own, verdict=verdict("asked", alarm=True, at="2020-01-02T00:00:00Z"))
    assert stale.outcome == "quiet"
    assert "older than the last decision" in stale.said
    fresh = verdict("asked", alarm=True, at=datetime.now(UTC).isoformat())
    assert retrained(own, verdict=fresh).outcome == "unchanged"
    with pytest.raises(HoldfastError, match="about 'asked', not about 'other'"):
        retrained(workspace(tmp_path, "other"), verdict=fresh)


def test_what_the_gate_refuses_is_journalled_and_does_not_go_live(tmp_path: Path) -> None:
    own = workspace(tmp_path, "strict")
    members(own, 0, 900)
    champion = retrained(own)
    strict = workspace(tmp_path, "strict", Floors(roc_auc=0.99, loss=1))
    found = retrained(strict, algorithm="xgboost")
    assert (found.outcome, found.code) == ("refused", 3)
    assert champion.trained is not None
    assert strict.registry.alias("strict") == champion.trained.manifest.tag
    entry = strict.registry.entries("strict")[-1]
    assert entry.action == "refuse"
    assert "0.99" in entry.proof
    assert [check["check"] for check in entry.checks if not check["passed"]] == ["roc_auc"]
    tag = entry.tag
    with pytest.raises(HoldfastError, match="--why"):
        promote(strict, tag, why=" ", force=True)
    forced: Promotion = promote(strict, tag, why="the board wants it", force=True)
    assert forced.outcome == "forced"
    decided = strict.registry.decided("strict")
    assert decided is not None
    assert (decided.tag, decided.forced, decided.why) == (tag, True, "the board wants it")
    assert not all(check["passed"] for check in decided.checks)


def test_what_does_not_load_cannot_be_forced(tmp_path: Path) -> None:
    own = workspace(tmp_path, "broken")
    members(own, 0, 900)
    retrained(own)
    found = retrained(own, algorithm="xgboost", live=False)
    assert found.trained is not None
    tag = found.trained.manifest.tag
    (store.path(tag) / "decision.json").write_text("{}")
    refused = promote(own, tag, why="anyway", force=True)
    assert refused.outcome == "refused"
    assert own.registry.entries("broken")[-1].action == "refuse"


def test_a_champion_that_is_not_here_is_a_reason_and_can_be_forced(tmp_path: Path) -> None:
    own = workspace(tmp_path, "away")
    members(own, 0, 900)
    first = retrained(own)
    assert first.trained is not None
    store.delete(first.trained.manifest.tag)
    found = retrained(own, algorithm="xgboost")
    assert found.outcome == "refused"
    assert f"no model {first.trained.manifest.tag} in the store" in found.said
    assert found.trained is not None
    assert promote(own, found.trained.manifest.tag, why="the old one is lost", force=True).outcome == "forced"


def test_one_at_a_time(tmp_path: Path) -> None:
    own = workspace(tmp_path, "alone")
    members(own, 0, 900)
    with own.registry.exclusive("retraining alone"):
        found = retrained(own)
    assert (found.outcome, found.code, found.trained) == ("busy", 4, None)
    assert retrained(own).outcome == "promoted"


def test_monitoring_asks_in_its_ledger_and_any_decision_answers(tmp_path: Path) -> None:
    own = workspace(tmp_path, "ledger", Floors(loss=1))
    members(own, 0, 900)
    assert retrained(own, ledger=open_ledger(None, own.home, "ledger")).outcome == "quiet"
    assert own.registry.entries("ledger") == []
    ledger = asked(own)
    assert retrained(own, ledger=ledger).outcome == "promoted"
    assert "about months" in own.registry.entries("ledger")[-1].why
    assert asking.unanswered(ledger) is None
    assert retrained(own, ledger=ledger).outcome == "quiet"
    asked(own)
    assert retrained(own, ledger=ledger).outcome == "unchanged"  # no decision, and yet the answer
    answer = asking.standing(ledger)
    assert answer is not None
    assert answer["answer"].startswith("unchanged: the same data")
    asked(own)
    strict = workspace(tmp_path, "ledger", Floors(roc_auc=0.99))
    assert retrained(strict, algorithm="xgboost", ledger=ledger).outcome == "refused"
    assert asking.unanswered(ledger) is None


def test_a_request_stays_open_while_nothing_comes_of_it(tmp_path: Path) -> None:
    own = workspace(tmp_path, "open")
    members(own, 0, 900)
    retrained(own)
    ledger = asked(own)
    assert retrained(own, cooldown=clock.HOUR, ledger=ledger).outcome == "cooling"
    with own.registry.exclusive("retraining open"):
        assert retrained(own, ledger=ledger).outcome == "busy"
    (tmp_path / "file").touch()
    with pytest.raises(ArchiveError, match="cannot be written"):
        retrained(own, algorithm="xgboost", push=str(tmp_path / "file"), ledger=ledger)
    assert asking.unanswered(ledger) is not None


def test_a_model_is_where_others_can_have_it_before_it_has_a_name(tmp_path: Path) -> None:
    own, archive = workspace(tmp_path, "pushed"), tmp_path / "archive"
    members(own, 0, 900)
    archive.touch()  # no place for archives
    with pytest.raises(ArchiveError, match="cannot be written"):
        retrained(own, push=str(archive))
    assert own.registry.entries("pushed") == []
    archive.unlink()
    found = retrained(own, push=str(archive))
    assert (found.outcome, found.pushed is not None and found.pushed.stored) == ("promoted", True)
    with another_store(tmp_path / "elsewhere"):
        assert found.pushed is not None
        assert pull(str(archive), found.pushed.reference).stored


def test_a_run_that_was_killed_behind_its_push_goes_on_elsewhere(tmp_path: Path) -> None:
    own, archive = workspace(tmp_path, "killed"), str(tmp_path / "archive")
    members(own, 0, 900)
    with another_store(tmp_path / "first"):
        made = train(own.usecase, own.events, as_of=own.now, cache=own.cache, algorithm="logistic")
        first = push(archive, made.manifest.tag)
    with another_store(tmp_path / "second"):
        found = retrained(workspace(tmp_path, "killed"), push=archive)
    assert (found.outcome, found.pushed and found.pushed.reference) == ("promoted", first.reference)


def test_who_schedules_it_is_not_told_by_its_exit_code() -> None:
    with open_registry(None, store.home() / "holdfast").exclusive("retraining telco"):
        assert CliRunner().invoke(app, ["retrain", "telco"]).exit_code == 4
        assert CliRunner().invoke(app, ["retrain", "telco", "--scheduled"]).exit_code == 0
    assert "no new model" in CliRunner().invoke(app, ["retrain", "telco", "--when-asked"]).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--push"], "HOLDFAST_ARCHIVE_URL"), (["--when-asked", "--verdict", "verdict.json"], "take one of them")],
)
def test_what_does_not_go_together_is_said(words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["retrain", "telco", *words])
    assert isinstance(result.exception, HoldfastError)
    assert said in str(result.exception)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("{", "is no verdict"),
        ('{"usecase": "telco", "alarm": "maybe", "judged_at": "2020-01-01T00:00:00"}', "alarm.*judged_at"),
    ],
)
def test_a_verdict_that_is_none_is_said(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "verdict.json"
    if content is not None:
        path.write_text(content)
    result = CliRunner().invoke(app, ["retrain", "telco", "--verdict", str(path)])
    assert isinstance(result.exception, HoldfastError)
    assert result.exception.args[0].startswith(f"--verdict {path}")
    assert re.search(said, str(result.exception))


def test_the_champions_algorithm_is_kept_and_the_champion_again_is_unchanged(tmp_path: Path) -> None:
    own = workspace(tmp_path, "kept")
    members(own, 0, 900)
    first = retrained(own, algorithm="logistic")
    assert first.trained is not None
    found = retrained(own, algorithm=None, live=False)
    assert (found.outcome, found.promotion) == ("unchanged", None)
    assert own.registry.alias("kept", "candidate") is None
    members(own, 900, 1_800)
    more = retrained(own, algorithm=None)
    assert more.trained is not None
    assert more.trained.manifest.algorithm == "logistic"


def test_a_verdict_of_a_time_to_come_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="still to come"):
        retrained(workspace(tmp_path, "early"), verdict=verdict("early", alarm=True, at="2099-01-01T00:00:00Z"))


def test_a_page_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    page = tmp_path / "nowhere" / "page.html"
    words = ["models", "compare", "telco:1", "telco:2", "--html", str(page)]
    assert "there is no directory" in str(CliRunner().invoke(app, words).exception)
