"""The registry: what is live, what was, the way back, and a journal that is only ever added to."""

from __future__ import annotations

import json
import multiprocessing
import os
import pwd
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.registry import Entry, Registry, RegistryError, open_registry
from model.registry.journal import FileJournal

A, B, C, D = (f"toy:2020010{number}-aaaaaaaa" for number in (1, 2, 3, 4))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """An empty one."""
    return open_registry(None, tmp_path / "holdfast", "ann", "sha256:1")


def path(registry: Registry) -> Path:
    """Its file."""
    assert isinstance(registry.journal, FileJournal)
    return registry.journal.path


def promote(registry: Registry, *tags: str) -> None:
    """One after the other."""
    for tag in tags:
        registry.promote("toy", tag, why="better", proof="64 golden rows agree")


def rollback(registry: Registry) -> str:
    """As the command does it: to what was before."""
    tag = registry.previous("toy")
    registry.rollback("toy", tag, why="worse", proof="64 golden rows agree")
    return tag


def journal(registry: Registry, *lines: tuple[str, str, str, str]) -> None:
    """A journal of the past: time, action, tag, pod of each line."""
    path(registry).parent.mkdir(parents=True, exist_ok=True)
    with path(registry).open("a") as file:
        for time, action, tag, pod in lines:
            alias = "champion" if action in ("promote", "rollback") else ""
            entry = {"time": time, "who": "ann", "action": action, "usecase": "toy", "alias": alias, "before": None}
            file.write(json.dumps(entry | {"tag": tag, "why": "", "proof": "", "image": "", "pod": pod}) + "\n")


def test_an_empty_registry_has_no_aliases_and_makes_no_file(registry: Registry) -> None:
    assert registry.alias("toy") is None
    assert registry.entries() == []
    assert registry.serving("toy", "2020-01-01T00:00:00Z") == []
    assert not path(registry).exists()


def test_a_promotion_says_who_what_and_why(registry: Registry) -> None:
    promote(registry, A)
    entry = registry.promote("toy", B, why="AUC .81", proof="passed")
    assert (entry.who, entry.action, entry.before, entry.tag, entry.why, entry.proof, entry.image) == (
        "ann",
        "promote",
        A,
        B,
        "AUC .81",
        "passed",
        "sha256:1",
    )
    assert registry.alias("toy") == B
    assert registry.entries("toy")[-1] == entry
    assert registry.entries("other") == []


def test_use_cases_and_aliases_do_not_mix(registry: Registry) -> None:
    promote(registry, A)
    registry.promote("other", "other:1", why="", proof="")
    registry.promote("toy", C, why="", proof="", alias="candidate")
    assert registry.alias("toy") == A
    assert registry.alias("toy", "candidate") == C
    assert registry.alias("other") == "other:1"
    with pytest.raises(RegistryError, match="toy@candidate has nothing to go back to"):
        registry.previous("toy", "candidate")


def test_the_way_back_through_a_chain(registry: Registry) -> None:
    promote(registry, A, B, C)
    assert rollback(registry) == B
    assert rollback(registry) == A
    promote(registry, D)
    assert rollback(registry) == A
    assert registry.alias("toy") == A
    assert [entry.action for entry in registry.entries("toy")] == [
        "promote",
        "promote",
        "promote",
        "rollback",
        "rollback",
        "promote",
        "rollback",
    ]


def test_promoting_the_champion_again_is_no_step_to_go_back_from(registry: Registry) -> None:
    promote(registry, A, B, B)
    assert rollback(registry) == A
    with pytest.raises(RegistryError, match="nothing to go back to"):
        registry.previous("toy")


def test_a_model_that_returns_is_a_step_of_its_own(registry: Registry) -> None:
    promote(registry, A, B, A)
    assert [rollback(registry), rollback(registry)] == [B, A]


@pytest.mark.parametrize("promoted", [(), (A,)])
def test_nothing_to_go_back_to_is_an_error_that_says_so(registry: Registry, promoted: tuple[str, ...]) -> None:
    promote(registry, *promoted)
    with pytest.raises(RegistryError, match="toy@champion has nothing to go back to"):
        registry.previous("toy")


@given(st.lists(st.one_of(st.sampled_from([A, B, C, D]), st.none()), max_size=25))
def test_any_history_goes_back_as_a_pile_of_plates_would(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str | None]
) -> None:
    registry = open_registry(None, tmp_path_factory.mktemp("journal"), "ann")
    pile: list[str] = []
    for step in steps:
        if step is not None:
            promote(registry, step)
            if not pile or pile[-1] != step:
                pile.append(step)
        elif len(pile) < 2:
            with pytest.raises(RegistryError):
                registry.previous("toy")
        else:
            pile.pop()
            assert rollback(registry) == pile[-1]
        assert registry.alias("toy") == (pile[-1] if pile else None)


def test_the_alias_at_a_time_is_what_it_was_then(registry: Registry) -> None:
    journal(
        registry,
        ("2020-01-01T00:00:00Z", "promote", A, "p"),
        ("2020-01-02T00:00:00Z", "promote", B, "p"),
        ("2020-01-03T00:00:00Z", "rollback", A, "p"),
    )
    asked = {
        "2019-12-31T23:59:59Z": None,
        "2020-01-01T00:00:00Z": A,
        "2020-01-02T12:00:00+02:00": B,
        "2020-01-02T01:00:00+02:00": A,  # an hour before B's midnight in UTC
        "2020-01-03T00:00:00Z": A,
        "2030-01-01T00:00:00Z": A,
    }
    assert {time: registry.alias("toy", at=time) for time in asked} == asked


def test_a_clock_that_runs_ahead_does_not_hide_what_others_did_meanwhile(registry: Registry) -> None:
    journal(registry, ("2020-01-01T12:05:00Z", "promote", A, "fast"), ("2020-01-01T12:01:00Z", "promote", B, "right"))
    assert registry.alias("toy", at="2020-01-01T12:03:00Z") == B
    assert registry.alias("toy") == B


def test_what_served_at_a_time(registry: Registry) -> None:
    journal(
        registry,
        ("2020-01-01T00:00:00Z", "ready", A, "one"),
        ("2020-01-01T01:00:00Z", "ready", A, "two"),
        ("2020-01-01T02:00:00Z", "ready", B, "three"),
        ("2020-01-01T03:00:00Z", "stop", A, "one"),
        ("2020-01-01T04:00:00Z", "stop", A, "two"),
        ("2020-01-01T05:00:00Z", "stop", B, "three"),
    )
    hours = {"00:30": [A], "01:30": [A], "02:30": [A, B], "03:30": [A, B], "04:30": [B], "05:30": []}
    assert {hour: registry.serving("toy", f"2020-01-01T{hour}:00Z") for hour in hours} == hours
    assert registry.serving("other", "2020-01-01T02:30:00Z") == []


def test_a_server_that_became_ready_and_stopped_is_journalled(registry: Registry) -> None:
    ready = registry.deployed("toy", "ready", A, "passed")
    assert registry.serving("toy", ready.time) == [A]
    stop = registry.deployed("toy", "stop", A, "")
    assert registry.serving("toy", stop.time) == []
    assert registry.alias("toy") is None
    assert ready.pod


def test_a_reference_is_made_exact(registry: Registry) -> None:
    promote(registry, A)
    assert registry.resolve("toy@champion") == A
    assert registry.resolve(B) == B
    promote(registry, C)
    assert registry.resolve("toy@champion") == C


@pytest.mark.parametrize("reference", ["toy", "toy:", "toy:latest"])
def test_a_reference_without_a_version_is_refused(registry: Registry, reference: str) -> None:
    promote(registry, A)
    with pytest.raises(RegistryError, match="names no version"):
        registry.resolve(reference)


def test_an_alias_that_points_nowhere_is_refused_with_what_to_do(registry: Registry) -> None:
    with pytest.raises(RegistryError, match=r"toy@champion points to no model: run `holdfast train toy`"):
        registry.resolve("toy@champion")


def test_the_journal_is_only_ever_added_to(registry: Registry) -> None:
    before = b""
    for step in (A, B, None, C, "ready", "stop", A, None):
        if step is None:
            rollback(registry)
        elif step in ("ready", "stop"):
            registry.deployed("toy", step, C, "")  # type: ignore[arg-type]  # one of the two
        else:
            promote(registry, step)
        after = path(registry).read_bytes()
        assert after.startswith(before)
        assert after.count(b"\n") == before.count(b"\n") + 1
        before = after


def test_text_in_any_language_and_with_line_breaks_stays_one_line(registry: Registry) -> None:
    why = "first\nsecond\r\u2028third \x85 \u00e4\u00f6 \U0001f600 \x00"
    registry.promote("toy", A, why=why, proof="")
    promote(registry, B)
    assert [entry.why for entry in registry.entries("toy")] == [why, "better"]


@pytest.mark.parametrize(
    "line", [b'{"time": "2020', b"\xff\xfe\x00", b"null", b"[]", b"{}", b'{"unknown": 1}', b"", b"\x1c"]
)
def test_a_line_that_cannot_be_read_is_told_by_number_and_what_to_do(registry: Registry, line: bytes) -> None:
    promote(registry, A, B)
    with path(registry).open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(RegistryError, match=r"journal\.jsonl, line 3 cannot be read") as caught:
        registry.alias("toy")
    assert "delete it" in str(caught.value)
    with pytest.raises(RegistryError, match="line 3"):
        registry.promote("toy", C, why="", proof="")


def test_a_torn_last_line_never_took_effect(registry: Registry) -> None:
    promote(registry, A, B)
    whole = path(registry).read_bytes()
    path(registry).write_bytes(whole + whole[: len(whole) // 3])  # killed in mid-write
    assert registry.previous("toy") == A
    assert registry.verify().entries == 2
    registry.deployed("toy", "ready", A, "passed")
    assert path(registry).read_bytes().startswith(whole)
    assert [entry.action for entry in registry.entries("toy")] == ["promote", "promote", "ready"]
    assert registry.verify().entries == 3


def _promote_many(directory: Path, who: str, count: int, gate: multiprocessing.synchronize.Barrier) -> None:
    registry = open_registry(None, directory, who)
    gate.wait(60)
    for number in range(count):
        registry.promote("toy", f"toy:{who}-{number}", why="race", proof="")


def test_processes_that_promote_at_once_lose_nothing(tmp_path: Path) -> None:
    context, count, names = multiprocessing.get_context("spawn"), 40, ("ann", "bob")
    gate = context.Barrier(len(names))
    racing = [context.Process(target=_promote_many, args=(tmp_path, name, count, gate)) for name in names]
    for process in racing:
        process.start()
    for process in racing:
        process.join(120)
    assert [process.exitcode for process in racing] == [0, 0]
    entries = open_registry(None, tmp_path, "eve").entries("toy")
    for name in names:
        assert [e.tag for e in entries if e.who == name] == [f"toy:{name}-{number}" for number in range(count)]
    assert len(entries) == count * len(names)
    assert [entry.before for entry in entries] == [None, *(entry.tag for entry in entries[:-1])]


def test_a_user_without_a_name_is_called_by_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)  # as in a container with runAsUser
    assert open_registry(None, tmp_path).promote("toy", A, why="", proof="").who == f"uid {os.getuid()}"


def test_entries_come_back_as_they_were_written(registry: Registry) -> None:
    promote(registry, A)
    (entry,) = registry.entries()
    assert Entry(**asdict(entry)) == entry
    assert replace(entry, tag=B) != entry
