"""Commands over models as a user runs them: the way back, what was live, what was tampered with, what may go."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.servers import Server
from cli.workspace import Workspace
from model import store
from model.registry import Check, Registry, open_registry
from tests.cli.conftest import figures, holdfast
from tests.model import racing
from tests.model.registries import in_postgresql

TAGS = tuple(f"telco:2020010{day}-00000000" for day in range(1, 6))
GOOD, BETTER, BAD, STRANGE, NEWEST = TAGS


@dataclass(frozen=True)
class House:
    """A BentoML home with models of telco: one has other features than the code, and one is new."""

    home: Path
    environ: dict[str, str]

    @property
    def registry(self) -> Registry:
        """Its registry."""
        return open_registry(None, self.home / "holdfast", "maria")

    def artefact(self, tag: str) -> Path:
        """Directory of a model."""
        return self.home / "models" / tag.replace(":", "/")


def _check(name: str, *, passed: bool = True) -> Check:
    return {"check": name, "value": 0.6, "limit": 0.7, "passed": passed, "said": "all that the gate has to say of it"}


def _fill(directory: Path) -> None:
    """In a process of its own, whose BENTOML_HOME it is."""
    for day, tag in enumerate(TAGS, start=1):
        more: dict[str, Any] = {"created_at": f"2020-01-0{day}T00:00:00.000Z"}
        more |= {"fingerprint": "f" * 64} if tag == STRANGE else {}
        racing.save(directory, racing.variant(directory, "telco", tag.partition(":")[2], **more))


@pytest.fixture(scope="module")
def filled(telco: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home, once."""
    home, champion = tmp_path_factory.mktemp("house"), telco.champion()
    assert champion is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(home))
        process = multiprocessing.get_context("spawn").Process(target=_fill, args=(store.path(champion),))
        process.start()
        process.join(120)
    assert process.exitcode == 0
    return home


@pytest.fixture
def house(filled: Path, telco: Workspace, tmp_path: Path) -> House:
    """A copy of it, with a history: good, better, one that is gone, a strange one, and a bad one by force."""
    home = Path(shutil.copytree(filled, tmp_path / "bentoml"))
    environ = {"BENTOML_HOME": str(home), "HOLDFAST_HOME": str(telco.settings.home), "HOLDFAST_USECASE": "telco"}
    made = House(home, environ)
    for tag in (GOOD, BETTER, "telco:20190101-00000000", STRANGE):
        checks = [_check("loads"), _check("ece")] if tag == BETTER else []
        made.registry.promote("telco", tag, why="better", proof="golden rows agree" * 9, checks=checks)
    checks = [_check("loads"), _check("roc_auc", passed=False), _check("ece", passed=False)]
    made.registry.refuse("telco", BAD, why="", proof="ROC-AUC .6 < .7", checks=checks)
    made.registry.promote("telco", BAD, why="the boss says so", proof="ROC-AUC .6 < .7", checks=checks[:2], forced=True)
    return made


def test_rollback_goes_to_the_nearest_model_that_loads_here(house: House) -> None:
    done = holdfast("models", "rollback", "--why", "complaints", environ=house.environ)
    assert f"{STRANGE} refused: fingerprint" in done.stdout
    assert "no model telco:20190101-00000000 in the store" in done.stdout
    decided = house.registry.decided("telco")
    assert decided is not None
    assert (decided.action, decided.before, decided.tag, decided.why) == ("rollback", BAD, BETTER, "complaints")
    manifest = json.loads((house.artefact(BETTER) / "manifest.json").read_text())
    assert decided.content == manifest["content_digest"]
    shutil.rmtree(house.artefact(GOOD))
    done = holdfast("models", "rollback", environ=house.environ, code=1)
    assert f"telco can go back to none of {GOOD} here: no model {GOOD} in the store" in done.stderr
    assert (done.stdout + done.stderr).count(f"no model {GOOD} in the store") == 1
    assert house.registry.alias("telco") == BETTER


def test_rollback_to_a_named_model(house: House) -> None:
    told = figures("models", "rollback", "--to", NEWEST, environ=house.environ)
    assert (told["before"], told["tag"], told["passed_over"]) == (BAD, NEWEST, {})
    assert house.registry.path_back("telco")[0] == STRANGE
    decided = len(house.registry.entries("telco"))
    assert "already" in holdfast("models", "rollback", "--to", NEWEST, environ=house.environ).stdout
    assert len(house.registry.entries("telco")) == decided
    for tag, said in {
        STRANGE: "fingerprint",
        "telco:1": "no model telco:1 in the store",
        "cdnow:1": "cdnow:1 is no model of telco",
    }.items():
        assert said in holdfast("models", "rollback", "--to", tag, environ=house.environ, code=1).stderr
    assert house.registry.alias("telco") == NEWEST


def test_what_was_live_who_decided_it_and_by_force(house: House) -> None:
    ready = house.registry.deployed("telco", "ready", BETTER, "")
    promoted = {entry.tag: entry for entry in house.registry.entries("telco") if entry.action == "promote"}
    then = figures("models", "history", "telco", "--at", promoted[BETTER].time, environ=house.environ)
    assert (then["champion"], then["decided"]["who"], then["serving"]) == (BETTER, "maria", [])
    now = figures("models", "history", "telco", "--at", ready.time, environ=house.environ)
    assert (now["champion"], now["decided"]["forced"], now["serving"]) == (BAD, True, [BETTER])
    assert [server["pod"] for server in now["servers"]] == [ready.pod]
    text = holdfast("models", "history", "telco", "--at", ready.time, environ=house.environ).stdout
    assert f"champion {BAD}, by maria at {promoted[BAD].time} (promote, forced): the boss says so" in text
    assert ready.pod in text
    text = holdfast("models", "list", "telco", environ=house.environ).stdout
    (line,) = [line for line in text.splitlines() if line.startswith(BAD)]
    assert "champion  forced" in line
    assert " to " in line
    text = holdfast("models", "show", BAD, environ=house.environ).stdout
    assert "the boss says so" in text
    refused, forced = text.splitlines()[-2:]
    assert refused.endswith("  refused: roc_auc, ece")
    assert forced.endswith("  FORCED past: roc_auc")
    for tag, said in {BETTER: "  passed 2 checks", GOOD: " ..."}.items():
        last = holdfast("models", "show", tag, environ=house.environ).stdout.splitlines()[-1]
        assert last.endswith(said)
        assert len(last.rpartition("better")[2]) <= 62


def test_verify_finds_what_was_changed(house: House) -> None:
    told = figures("models", "verify", environ=house.environ)
    assert (told["entries"], told["models"], told["problems"]) == (6, list(TAGS), [])
    house.registry.promote("telco", GOOD, why="", proof="", content="0" * 64)
    (house.artefact(BETTER) / "card.md").write_text("the best model ever")
    (house.artefact(NEWEST) / "manifest.json").write_text("{}")
    done = holdfast("models", "verify", "--head", told["head"], "--json", environ=house.environ, code=1)
    problems = json.loads(done.stdout)["problems"]
    assert [problem.partition(": ")[0] for problem in problems] == [BETTER, NEWEST, GOOD]
    assert "card.md" in problems[0]
    assert all("restore the artefact from where it was stored" in problem for problem in problems)
    assert "is not what manifest.sha256 sealed" in problems[1]
    assert f"but {'0' * 64} had it at the promote in line 7" in problems[2]
    assert "--head is empty" in holdfast("models", "verify", "--head", "", environ=house.environ, code=1).stderr


def test_a_journal_that_was_changed_is_told_by_every_command_that_reads_it(house: House) -> None:
    journal = house.home / "holdfast" / "journal.jsonl"
    whole = journal.read_text()
    journal.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    told = holdfast("models", "verify", environ=house.environ, code=1).stderr
    assert f"ends with line 5, but had 6 when it was last written, says {journal.with_suffix('.head')}" in told
    assert "restore the journal from a copy" in told
    assert holdfast("models", "history", environ=house.environ).stderr.count("ends with line 5") == 1
    journal.write_text(whole.replace("the boss says so", "best of them all"))
    assert "line 6 was changed" in holdfast("models", "verify", environ=house.environ, code=1).stderr
    for words in (["list"], ["show", BAD], ["history"], ["history", "--at", "2999-01-01T00:00:00Z"]):
        done = holdfast("models", *words, "--json", environ=house.environ)
        assert BAD in json.dumps(json.loads(done.stdout))
        warnings = [line for line in done.stderr.splitlines() if "WARNING" in line]
        assert len(warnings) == 1
        assert "line 6 was changed" in warnings[0]
        assert "restore the journal from a copy" in warnings[0]
        assert "holdfast models verify" in warnings[0]
    refused = holdfast("models", "rollback", environ=house.environ, code=1).stderr
    assert "line 6 was changed" in refused
    assert "nothing was written" in refused


def test_gc_keeps_what_is_needed_and_the_newest(house: House) -> None:
    house.registry.deployed("telco", "ready", GOOD, "")
    for enough in ("2", "3"):
        done = holdfast("models", "gc", "--keep", enough, "--dry-run", environ=house.environ)
        assert "would be removed" not in done.stdout
        assert f"--keep {enough} counts only models that nothing needs: 2;" in done.stdout
    plan = figures("models", "gc", "--keep", "1", "--dry-run", environ=house.environ)
    kept = {
        GOOD: "is served",
        BAD: "champion",
        STRANGE: "before champion",
        NEWEST: "one of the newest 1 that nothing needs",
    }
    assert plan == {"kept": kept, "removed": [BETTER], "dry_run": True}
    assert house.artefact(BETTER).exists()
    text = holdfast("models", "gc", "--keep", "1", environ=house.environ).stdout
    assert f"{BETTER}  removed  nothing needs it" in text
    assert sorted(path.name for path in (house.home / "models" / "telco").iterdir()) == sorted(
        [*(tag.partition(":")[2] for tag in kept), "latest"]
    )
    last = house.registry.entries("telco")[-1]
    assert (last.action, last.tag, last.why) == ("remove", BETTER, "gc --keep 1")
    assert figures("models", "gc", "--keep", "1", environ=house.environ)["removed"] == []
    assert figures("models", "verify", environ=house.environ)["problems"] == []


def test_machines_share_a_registry_in_postgresql(house: House, postgresql: Server, tmp_path: Path) -> None:
    place = in_postgresql(postgresql, tmp_path)
    environ = {**house.environ, "HOLDFAST_REGISTRY_URL": postgresql.url}
    assert "holdfast_registry: journal" in figures("migrate", environ=environ)["registry"]
    for tag in (GOOD, BETTER):
        place.open("elsewhere").promote("telco", tag, why="", proof="")
    assert figures("models", "rollback", environ={**environ, "HOLDFAST_USER": "ann"})["before"] == BETTER
    assert [(e.who, e.tag) for e in place.open().entries()] == [
        ("elsewhere", GOOD),
        ("elsewhere", BETTER),
        ("ann", GOOD),
    ]
    assert figures("models", "verify", environ=environ)["head"] == place.open().verify().head
    away = {**environ, "HOLDFAST_REGISTRY_URL": "postgresql://u:s3cret@127.0.0.1:1/d"}
    told = holdfast("models", "rollback", environ=away, code=1).stderr
    assert told.startswith("holdfast: postgresql://u:***@127.0.0.1:1/d is out of reach")
    assert told.count("\n") == 1
