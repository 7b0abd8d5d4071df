"""The registry: what is live, what was, who decided it, and the way back; in a file and in PostgreSQL alike."""

from __future__ import annotations

import multiprocessing
import os
import pwd
import random
import socket
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.clock import parse, rfc3339
from features.store.base import StoreError, Unreachable
from model import registry as package
from model.registry import ANY, Busy, Check, Conflict, Entry, Registry, RegistryError, open_registry, process
from tests.effort import examples
from tests.model.registries import A, B, C, D, Place, entry, in_file, past, promote, rollback

REFUSED: Check = {"check": "roc_auc", "value": 0.6, "limit": 0.7, "passed": False, "said": "ROC-AUC 0.6"}
LATER = "2999-01-01T00:00:00Z"


@pytest.fixture
def registry(place: Place) -> Registry:
    """An empty one."""
    return place.open()


def test_the_public_face() -> None:
    assert set(package.__all__) <= set(vars(package))


def test_an_empty_registry_has_no_aliases_and_makes_nothing(registry: Registry, place: Place) -> None:
    assert registry.alias("toy") is None
    assert registry.decided("toy") is None
    assert registry.aliases("toy") == {}
    assert registry.entries() == []
    assert registry.serving("toy", LATER) == []
    assert registry.path_back("toy") == []
    assert registry.verify().entries == 0
    assert not (place.directory / "journal.jsonl").exists()


def test_a_promotion_says_who_what_and_why(registry: Registry) -> None:
    promote(registry, A)
    made = registry.promote("toy", B, why="AUC .81", proof="passed", content="c0ffee", checks=[REFUSED], forced=True)
    told = (made.who, made.action, made.before, made.tag, made.why, made.proof, made.image, made.content, made.forced)
    assert told == ("ann", "promote", A, B, "AUC .81", "passed", "sha256:1", "c0ffee", True)
    assert made.checks == [REFUSED]
    assert made.number == 2
    assert registry.alias("toy") == B
    assert registry.entries("toy")[-1] == made == registry.decided("toy")
    assert registry.entries("other") == []


def test_a_refusal_is_journalled_and_changes_nothing(registry: Registry) -> None:
    promote(registry, A)
    made = registry.refuse("toy", B, why="try", proof="worse", checks=[REFUSED], content="c0ffee")
    assert (made.action, made.before, made.tag, made.checks, made.content) == ("refuse", A, B, [REFUSED], "c0ffee")
    assert registry.entries()[-1] == made
    assert registry.alias("toy") == A
    assert registry.path_back("toy") == []


def test_use_cases_and_aliases_do_not_mix(registry: Registry) -> None:
    promote(registry, A)
    registry.promote("other", "other:1", why="", proof="")
    registry.promote("toy", C, why="", proof="", alias="candidate")
    assert registry.alias("toy") == A
    assert registry.aliases("toy") == {"champion": A, "candidate": C}
    assert registry.alias("other") == "other:1"
    with pytest.raises(RegistryError, match="toy@candidate has nothing to go back to"):
        registry.previous("toy", "candidate")


def test_whoever_looked_before_somebody_else_changed_the_alias_is_told(place: Place) -> None:
    ann, bob = place.open("ann"), place.open("bob")
    ann.promote("toy", A, why="first", proof="", expected=None)
    seen = ann.alias("toy")
    bob.promote("toy", B, why="bob's is better", proof="", expected=seen)
    with pytest.raises(Conflict, match=rf"toy@champion was {A}.*bob made it {B} at 2.*bob's is better.*run it again"):
        ann.promote("toy", C, why="", proof="", expected=seen)
    with pytest.raises(Conflict, match="was no model when"):
        ann.promote("toy", C, why="", proof="", expected=None)
    with pytest.raises(Conflict, match="bob made it"):
        ann.rollback("toy", A, why="", proof="", expected=seen)
    assert [e.tag for e in ann.entries()] == [A, B]
    ann.promote("toy", C, why="", proof="", expected=B)
    ann.promote("toy", D, why="", proof="", expected=ANY)
    assert bob.alias("toy") == D


def test_no_alias_is_given_to_a_model_that_was_removed_meanwhile(place: Place) -> None:
    there = [A, B]
    registry = place.open(there=there.__contains__)
    promote(registry, A)
    registry.remove("toy", B, "gc", lambda: there.remove(B))
    with pytest.raises(Conflict, match="removed from the store meanwhile"):
        promote(registry, B)
    assert [(e.action, e.tag, e.why) for e in registry.entries()] == [("promote", A, "better"), ("remove", B, "gc")]


def test_what_is_needed_is_not_removed(registry: Registry) -> None:
    promote(registry, A, B, C)
    registry.deployed("toy", "ready", D, "")
    needed = {B: "before champion", C: "champion", D: "is served"}
    assert dict(registry.live("toy")) == needed
    for tag, why in needed.items():
        with pytest.raises(RegistryError, match=f"{tag} is needed: {why}"):
            registry.remove("toy", tag, "gc", lambda: pytest.fail("deleted"))
    registry.remove("toy", A, "gc")
    assert registry.alias("toy") == C


def test_the_way_back_through_a_chain(registry: Registry) -> None:
    promote(registry, A, B, C)
    assert registry.path_back("toy") == [B, A]
    assert rollback(registry) == B
    assert rollback(registry) == A
    promote(registry, D)
    assert registry.path_back("toy") == [A]
    assert rollback(registry) == A
    assert registry.alias("toy") == A
    assert [e.action for e in registry.entries("toy")] == ["promote"] * 3 + ["rollback"] * 2 + ["promote", "rollback"]


def test_promoting_the_champion_again_is_no_step_to_go_back_from(registry: Registry) -> None:
    promote(registry, A, B, B)
    assert rollback(registry) == A
    with pytest.raises(RegistryError, match="nothing to go back to"):
        registry.previous("toy")


def test_a_model_that_returns_is_a_step_of_its_own(registry: Registry) -> None:
    promote(registry, A, B, A)
    assert registry.path_back("toy") == [B]
    assert [rollback(registry), rollback(registry)] == [B, A]


def test_going_to_a_model_beside_the_way_back_leaves_the_last_one_out_and_keeps_the_rest(registry: Registry) -> None:
    promote(registry, A, B)
    registry.rollback("toy", C, why="the good one", proof="")
    assert registry.path_back("toy") == [A]
    assert rollback(registry) == A
    registry.rollback("toy", B, why="it was good after all", proof="")
    assert registry.path_back("toy") == [A]


@pytest.mark.parametrize("promoted", [(), (A,)])
def test_nothing_to_go_back_to_is_an_error_that_says_so(registry: Registry, promoted: tuple[str, ...]) -> None:
    promote(registry, *promoted)
    with pytest.raises(RegistryError, match="toy@champion has nothing to go back to"):
        registry.previous("toy")


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.one_of(st.sampled_from([A, B, C, D]), st.none()), max_size=25))
def test_any_history_goes_back_as_a_pile_of_plates_would(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str | None]
) -> None:
    registry = in_file(tmp_path_factory.mktemp("journal")).open()
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
    past(
        registry,
        entry("2020-01-01T00:00:00Z", "promote", A),
        entry("2020-01-02T00:00:00Z", "promote", B, forced=True, why="now"),
        entry("2020-01-02T12:00:00Z", "refuse", C, alias="champion"),
        entry("2020-01-03T00:00:00Z", "rollback", A),
    )
    asked = {
        "2019-12-31T23:59:59Z": None,
        "2020-01-01T00:00:00Z": A,
        "2020-01-02T12:00:00+02:00": B,
        "2020-01-02T01:00:00+02:00": A,  # an hour before B's midnight in UTC
        "2020-01-02T18:00:00Z": B,
        "2020-01-03T00:00:00Z": A,
        "2030-01-01T00:00:00Z": A,
    }
    assert {time: registry.alias("toy", at=time) for time in asked} == asked
    decided = registry.decided("toy", at="2020-01-02T18:00:00Z")
    assert decided is not None
    assert (decided.tag, decided.forced, decided.why, decided.number) == (B, True, "now", 2)


def test_a_clock_that_runs_ahead_does_not_hide_what_others_did_meanwhile(registry: Registry) -> None:
    past(
        registry,
        entry("2020-01-01T12:05:00Z", "promote", A, "fast"),
        entry("2020-01-01T12:01:00Z", "promote", B, "right"),
    )
    assert registry.alias("toy", at="2020-01-01T12:03:00Z") == B
    assert registry.alias("toy") == B


def test_what_served_at_a_time(registry: Registry) -> None:
    past(
        registry,
        entry("2020-01-01T00:00:00Z", "ready", A, "one"),
        entry("2020-01-01T01:00:00Z", "ready", A, "two"),
        entry("2020-01-01T02:00:00Z", "ready", B, "three"),
        entry("2020-01-01T03:00:00Z", "stop", A, "one"),
        entry("2020-01-01T04:00:00Z", "stop", A, "two"),
        entry("2020-01-01T05:00:00Z", "stop", B, "three"),
    )
    hours = {"00:30": [A], "01:30": [A], "02:30": [A, B], "03:30": [A, B], "04:30": [B], "05:30": []}
    assert {hour: registry.serving("toy", f"2020-01-01T{hour}:00Z") for hour in hours} == hours
    assert [e.pod for e in registry.servers("toy", "2020-01-01T02:30:00Z")] == ["one", "two", "three"]
    assert registry.serving("other", "2020-01-01T02:30:00Z") == []


def test_history_tells_what_was_live_at_any_instant(registry: Registry) -> None:
    """30 promotions, forced or not, refusals and rollbacks, among servers that come and go, against a diary."""
    chance, start = random.Random(7), parse("2020-01-01T00:00:00Z")  # noqa: S311  # no secret
    diary: list[tuple[int, str | None, bool, frozenset[tuple[str, str]]]] = [(0, None, False, frozenset())]
    pile, servers, decisions, moment, entries = list[str](), set[tuple[str, str]](), 0, start, list[Entry]()
    while decisions < 30:
        moment += chance.randint(1, 10**10)
        _, champion, forced, _ = diary[-1]
        what = chance.choice(["promote", "promote", "force", "rollback", "refuse", "ready", "stop", "elsewhere"])
        if what in ("promote", "force") or (what == "rollback" and len(pile) < 2):
            champion, forced = f"toy:{chance.randint(1, 12)}", what == "force"
            pile += [champion] if pile[-1:] != [champion] else []
            entries.append(entry(rfc3339(moment), "promote", champion, forced=forced))
            decisions += 1
        elif what == "rollback":
            pile.pop()
            champion, forced = pile[-1], False
            entries.append(entry(rfc3339(moment), "rollback", champion))
            decisions += 1
        elif what == "refuse":
            entries.append(entry(rfc3339(moment), "refuse", "toy:99", alias="champion"))
        elif what == "elsewhere":
            entries.append(entry(rfc3339(moment), "promote", "other:1", usecase="other"))
        elif what == "ready" and champion is not None:
            pod = f"pod-{chance.randint(1, 5)}"
            if all(pod != other for other, _ in servers):
                servers.add((pod, champion))
                entries.append(entry(rfc3339(moment), "ready", champion, pod))
        elif what == "stop" and servers:
            pod, tag = chance.choice(sorted(servers))
            servers.remove((pod, tag))
            entries.append(entry(rfc3339(moment), "stop", tag, pod))
        diary.append((moment, champion, forced, frozenset(servers)))
    past(registry, *entries)
    assert {e.action for e in entries} == {"promote", "rollback", "refuse", "ready", "stop"}
    assert any(e.forced for e in entries)
    for begins, ends in zip(diary, [*diary[1:], (moment + 10**10, None, False, frozenset())], strict=True):
        for instant in {begins[0], (begins[0] + ends[0]) // 2, ends[0] - 1}:
            at = rfc3339(instant)
            decided = registry.decided("toy", at=at)
            assert (decided.tag, decided.forced) == begins[1:3] if decided else begins[1] is None
            assert {(e.pod, e.tag) for e in registry.servers("toy", at)} == begins[3]
    assert registry.alias("toy") == pile[-1]
    assert registry.verify().entries == len(entries)


def test_a_server_that_became_ready_and_stopped_is_journalled(registry: Registry) -> None:
    ready = registry.deployed("toy", "ready", A, "passed")
    assert registry.serving("toy", ready.time) == [A]
    stop = registry.deployed("toy", "stop", A, "")
    assert registry.serving("toy", stop.time) == []
    assert registry.alias("toy") is None
    assert ready.pod == socket.gethostname()
    assert ready.process == stop.process == process.identity()


def test_servers_of_a_pod_that_were_killed_are_closed(place: Place) -> None:
    registry = place.open()
    dead = f"{os.getpid()} of another start"
    past(
        registry,
        entry("2020-01-01T00:00:00Z", "ready", A, socket.gethostname(), process=dead, image="sha256:0"),
        entry("2020-01-01T00:00:00Z", "ready", B, "elsewhere", process=dead),
    )
    mine = registry.deployed("toy", "ready", C, "")
    closed = [e for e in registry.entries() if e.action == "stop"]
    assert [(e.tag, e.process, e.image, e.why) for e in closed] == [(A, dead, "sha256:0", "ended without saying so")]
    assert registry.serving("toy", mine.time) == [B, C]
    assert registry.serving("toy", "2020-01-01T00:00:00Z") == [A, B]
    past(registry, entry("2020-01-02T00:00:00Z", "ready", D, socket.gethostname(), process=dead))
    assert registry.serving("toy", LATER) == [B, C]  # who asks closes them too
    assert [e.tag for e in place.open().entries() if e.action == "stop"] == [A, D]


def _serve(place: Place, ready: Any) -> None:
    place.open().deployed("toy", "ready", A, "")
    ready.set()
    threading.Event().wait()


def test_a_process_is_known_by_more_than_its_number(tmp_path: Path) -> None:
    context, place = multiprocessing.get_context("spawn"), in_file(tmp_path)
    ready = context.Event()
    server = context.Process(target=_serve, args=(place, ready))
    server.start()
    assert ready.wait(60)
    registry = place.open()
    assert registry.serving("toy", LATER) == [A]
    server.kill()
    server.join()
    assert registry.serving("toy", LATER) == []
    assert not process.gone("")
    assert not process.gone(process.identity())
    assert process.gone(process.identity() + "1")


def test_a_reference_is_made_exact(registry: Registry) -> None:
    promote(registry, A)
    assert registry.resolve("toy@champion") == A
    assert registry.resolve(B) == B
    promote(registry, C)
    assert registry.resolve("toy@champion") == C


@pytest.mark.parametrize("reference", ["toy", "toy:", "toy:latest"])
def test_a_reference_without_a_version_is_refused(tmp_path: Path, reference: str) -> None:
    registry = in_file(tmp_path).open()
    promote(registry, A)
    with pytest.raises(RegistryError, match="names no version"):
        registry.resolve(reference)


def test_an_alias_that_points_nowhere_is_refused_with_what_to_do(registry: Registry) -> None:
    with pytest.raises(RegistryError, match=r"toy@champion points to no model: run `holdfast train toy`"):
        registry.resolve("toy@champion")
    with pytest.raises(RegistryError, match=r"toy@foo points to no model: run `holdfast train toy`"):
        registry.resolve("toy@foo")
    promote(registry, A)
    with pytest.raises(RegistryError, match=r"toy@foo points to no model: the aliases of toy are champion$"):
        registry.resolve("toy@foo")
    with pytest.raises(RegistryError, match=r"the aliases of toy are champion; `holdfast retrain toy` makes a cand"):
        registry.resolve("toy@candidate")
    registry.promote("toy", B, why="", proof="", alias="candidate")
    with pytest.raises(RegistryError, match=r"the aliases of toy are candidate, champion$"):
        registry.resolve("toy@foo")


def test_text_in_any_language_and_with_line_breaks_stays_one_line(registry: Registry) -> None:
    why = "first\nsecond\r\u2028third \x85 \u00e4\u00f6 \U0001f600 \x00 \ud800"
    registry.promote("toy", A, why=why, proof="")
    promote(registry, B)
    assert [e.why for e in registry.entries("toy")] == [why, "better"]
    assert registry.verify().entries == 2


def test_entries_come_back_as_they_were_written(registry: Registry) -> None:
    promote(registry, A)
    (made,) = registry.entries()
    assert Entry(**asdict(made)) == made
    assert replace(made, tag=B) != made


def test_what_one_process_may_do_at_a_time_is_refused_to_a_second(place: Place) -> None:
    ann, bob = place.open("ann"), place.open("bob")
    with ann.exclusive("retraining toy"):
        with (
            pytest.raises(Busy, match=rf"retraining toy: .*{os.getpid()}.* is doing it"),
            bob.exclusive("retraining toy"),
        ):
            pytest.fail("two at once")
        with bob.exclusive("retraining other"):
            promote(bob, A)
    with bob.exclusive("retraining toy"):
        promote(ann, B)


def test_a_user_without_a_name_is_called_by_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)  # as in a container with runAsUser
    assert open_registry(None, tmp_path).promote("toy", A, why="", proof="").who == f"uid {os.getuid()}"


def test_a_registry_that_cannot_be_had_is_told_without_its_password(tmp_path: Path) -> None:
    away = open_registry("postgresql://u:s3cret@127.0.0.1:1/d", tmp_path)
    for ask in (away.entries, away.verify, lambda: promote(away, A), lambda: away.exclusive("x").__enter__()):
        with pytest.raises(Unreachable, match=r"u:\*\*\*@127.0.0.1:1/d is out of reach") as caught:
            ask()
        assert "s3cret" not in str(caught.value)
    with pytest.raises(StoreError, match="is no address"):
        open_registry("postgresql://u:s3@cret@h/d", tmp_path).entries()
    with pytest.raises(RegistryError, match=r"HOLDFAST_REGISTRY_URL=mysql://u:\*\*\*@h/d: no engine for it"):
        open_registry("mysql://u:s3cret@h/d", tmp_path)
    (tmp_path / "journal.jsonl").mkdir()
    with pytest.raises(RegistryError, match=r"journal\.jsonl cannot be read or written: .*Is a directory"):
        promote(open_registry(None, tmp_path), A)
