"""The chain: whatever is changed in a journal is found, and what a crash leaves behind is no damage."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from benchmarks.servers import Server
from features.store.base import StoreError
from model.registry import Registry, RegistryError
from model.registry.postgres import SCHEMA, PostgresJournal
from tests.model.registries import A, B, C, D, Place, entry, in_file, in_postgresql, past, promote, rollback

OLD = (
    b'{"time": "2026-03-03T09:00:00.000Z", "who": "ann", "action": "promote", "usecase": "toy", "alias": "champion", '
    b'"before": null, "tag": "toy:20260303-aaaaaaaa", "why": "first model", "proof": "64 golden rows agree", '
    b'"image": "", "pod": "laptop"}\n'
    b'{"time": "2026-03-04T09:00:00.000Z", "who": "bob", "action": "ready", "usecase": "toy", "alias": "", "before": '
    b'null, "tag": "toy:20260303-aaaaaaaa", "why": "", "proof": "64 golden rows agree", "image": "sha256:1", "pod": '
    b'"holdfast-0"}\n'
)
"""A journal as releases before the chain wrote it."""


def path(place: Place) -> Path:
    """The journal's file."""
    return place.directory / "journal.jsonl"


def note(place: Place) -> str:
    """What messages call the note of the journal's end."""
    return str(place.directory / "journal.head") if place.url is None else f"the row of {SCHEMA}.head"


def small(place: Place) -> Registry:
    """A journal of three lines."""
    registry = place.open()
    past(
        registry,
        entry("2020-01-01T00:00:00Z", "promote", A),
        entry("2020-01-02T00:00:00Z", "promote", B, why="\u00e4"),
        entry("2020-01-03T00:00:00Z", "rollback", A),
    )
    return registry


def test_a_line_is_what_the_description_says(tmp_path: Path) -> None:
    place = in_file(tmp_path)
    small(place)
    previous = hashlib.sha256(b"").hexdigest()
    for number, line in enumerate(path(place).read_bytes().splitlines(), start=1):
        told = json.loads(line)
        body, _, seal = line.rpartition(b', "digest": "')
        assert told["number"] == number
        assert told["previous"] == previous
        assert told["digest"] == hashlib.sha256(body).hexdigest() == seal.decode().removesuffix('"}')
        previous = told["digest"]
    assert place.open().verify().head == previous
    assert json.loads((place.directory / "journal.head").read_text()) == {"number": 3, "digest": previous}


def test_one_changed_byte_anywhere_is_found(tmp_path: Path) -> None:
    place = in_file(tmp_path)
    small(place)
    whole, registry = path(place).read_bytes(), place.open()
    assert registry.verify().entries == 3
    for position, byte in enumerate(whole):
        other = (byte ^ 1, byte ^ 0x20, byte ^ 0x80)[position % 3]
        path(place).write_bytes(whole[:position] + bytes([other]) + whole[position + 1 :])
        with pytest.raises(RegistryError):
            registry.verify()
    path(place).write_bytes(whole)
    assert registry.verify().entries == 3


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda _, b, c: [b, c], "line 1 does not follow the one before"),
        (lambda a, _, c: [a, c], "line 2 does not follow"),
        (lambda a, b, c: [a, b, b, c], "line 3 does not follow"),
        (lambda a, b, c: [b, a, c], "line 1 does not follow"),
        (lambda a, b, c: [a, OLD.splitlines()[0], b, c], "line 2 is not part of the chain"),
        (lambda a, b, _: [a, b], "ends with line 2, but had 3"),
        (lambda *_: [], "ends with line 0, but had 3"),
        (lambda a, b, c: [a, b, c, OLD.splitlines()[0]], "line 4 is not part of the chain"),
        (lambda a, b, c: [OLD.splitlines()[0], a, b, c], "line 2 does not follow"),
        (lambda a, b, c: [a, b.replace(b"ann", b"eve"), c], "line 2 was changed"),
    ],
)
def test_lines_removed_inserted_or_moved_are_found(
    tmp_path: Path, change: Callable[[bytes, bytes, bytes], list[bytes]], told: str
) -> None:
    place = in_file(tmp_path)
    small(place)
    one, two, three = path(place).read_bytes().splitlines()
    path(place).write_bytes(b"".join(line + b"\n" for line in change(one, two, three)))
    with pytest.raises(RegistryError, match=told):
        place.open().verify()


def test_an_end_that_was_cut_off_is_found_by_a_digest_noted_elsewhere(place: Place) -> None:
    registry = place.open()
    promote(registry, A, B)
    early = registry.verify().head
    promote(registry, C)
    late = registry.verify(early).head
    assert registry.verify(late).entries == 3
    if place.url is None:  # both the line and the note of it go
        path(place).write_bytes(b"".join(path(place).read_bytes().splitlines(keepends=True)[:2]))
        (place.directory / "journal.head").write_text(json.dumps({"number": 2, "digest": early}))
    else:
        place.damage("DELETE FROM {0}.journal WHERE number = 3")
        place.damage(f"UPDATE {{0}}.head SET number = 2, digest = '{early}'")
    assert place.open().verify(early).entries == 2
    with pytest.raises(RegistryError, match=f"no line has the digest {late}"):
        place.open().verify(late)


def test_nothing_is_added_to_a_journal_that_was_cut_short(place: Place) -> None:
    registry = place.open()
    promote(registry, A, B)
    if place.url is None:
        path(place).write_bytes(path(place).read_bytes().splitlines(keepends=True)[0])
    else:
        place.damage("DELETE FROM {0}.journal WHERE number = 2")
    again = place.open()
    assert again.alias("toy") == A  # reading goes on
    with pytest.raises(
        RegistryError, match=rf"ends with line 1, but had 2.*to go on.*delete {note(place)}; nothing was written"
    ):
        promote(again, C)
    if place.url is None:
        (place.directory / "journal.head").unlink()  # as the message says
    else:
        place.damage("DELETE FROM {0}.head")
    promote(again, C)
    assert again.verify().entries == 2


def test_nothing_is_added_to_or_decided_on_a_line_that_was_changed(place: Place) -> None:
    registry = small(place)
    if place.url is None:
        whole = path(place).read_bytes()
        path(place).write_bytes(whole.replace(B.encode(), C.encode()))
    else:
        place.damage(f"UPDATE {{0}}.journal SET line = replace(line, '{B}', '{C}') WHERE number = 2")
    for each in (registry, place.open()):  # one that has read it before, and one that has not
        for add in (
            lambda each=each: promote(each, D),
            lambda each=each: each.deployed("toy", "ready", A, ""),
            lambda each=each: each.remove("toy", D, "gc", lambda: pytest.fail("deleted")),
        ):
            with pytest.raises(RegistryError, match=r"line 2 was changed.*restore the journal.*nothing was written"):
                add()
    assert place.open().path_back("toy") == []  # reading goes on
    if place.url is None:
        path(place).write_bytes(whole)
    else:
        place.damage(f"UPDATE {{0}}.journal SET line = replace(line, '{C}', '{B}') WHERE number = 2")
    promote(registry, D)
    assert [e.tag for e in registry.entries()] == [A, B, A, D]
    assert registry.verify().entries == 4


def test_a_crash_between_the_line_and_the_note_of_it_is_no_damage(tmp_path: Path) -> None:
    place = in_file(tmp_path)
    registry = place.open()
    promote(registry, A)
    note = (place.directory / "journal.head").read_bytes()
    promote(registry, B)
    (place.directory / "journal.head").write_bytes(note)
    assert place.open().verify().entries == 2
    promote(place.open(), C)
    assert registry.verify().entries == 3


def test_a_note_that_is_missing_or_broken_is_told(tmp_path: Path) -> None:
    place = in_file(tmp_path)
    registry = small(place)
    note = place.directory / "journal.head"
    for broken in ("", "{}", "[1]", "\x00"):
        note.write_text(broken)
        with pytest.raises(RegistryError, match=r"journal\.head, the note of the journal's end, cannot be read"):
            registry.verify()
    note.unlink()
    with pytest.raises(
        RegistryError, match=r"the note of its end, .*journal\.head, is missing.*holdfast models verify --head"
    ):
        registry.verify()


def test_a_torn_last_line_never_took_effect(tmp_path: Path) -> None:
    place = in_file(tmp_path)
    registry = place.open()
    promote(registry, A, B)
    whole = path(place).read_bytes()
    for length in (1, 200, whole.index(b"\n")):
        path(place).write_bytes(whole + whole[:length])  # killed in mid-write
        assert registry.previous("toy") == A
        assert registry.verify().entries == 2
    registry.deployed("toy", "ready", A, "passed")
    assert path(place).read_bytes().startswith(whole)
    assert [e.action for e in place.open().entries("toy")] == ["promote", "promote", "ready"]
    assert registry.verify().entries == 3


def test_a_journal_from_before_the_chain_is_read_and_anchored(tmp_path: Path) -> None:
    place = in_file(tmp_path)
    path(place).parent.mkdir()
    path(place).write_bytes(OLD)
    registry = place.open()
    assert registry.alias("toy") == "toy:20260303-aaaaaaaa"
    assert [e.number for e in registry.entries()] == [1, 2]
    assert registry.serving("toy", "2026-03-05T00:00:00Z") == ["toy:20260303-aaaaaaaa"]
    anchor = registry.verify()
    assert (anchor.entries, anchor.head) == (2, hashlib.sha256(OLD).hexdigest())
    promote(registry, B)
    assert json.loads(path(place).read_bytes().splitlines()[2])["previous"] == anchor.head
    assert registry.verify(anchor.head).entries == 3
    assert rollback(registry) == "toy:20260303-aaaaaaaa"
    path(place).write_bytes(path(place).read_bytes().replace(b'"ann", "action"', b'"eve", "action"', 1))
    with pytest.raises(RegistryError, match="line 3 does not follow the one before"):
        registry.verify()


@pytest.mark.parametrize(
    "line", [b'{"time": "2020', b"\xff\xfe\x00", b"null", b"[]", b"{}", b'{"unknown": 1}', b"", b"\x1c"]
)
def test_a_line_that_cannot_be_read_is_told_by_number_and_what_to_do(tmp_path: Path, line: bytes) -> None:
    place = in_file(tmp_path)
    registry = place.open()
    promote(registry, A, B)
    with path(place).open("ab") as file:
        file.write(line + b"\n")
    for ask in (lambda: registry.alias("toy"), lambda: promote(registry, C), registry.verify):
        with pytest.raises(RegistryError, match=r"journal\.jsonl, line 3 cannot be read: .*delete it"):
            ask()


def test_the_journal_is_only_ever_added_to(tmp_path: Path) -> None:
    place = in_file(tmp_path)
    registry, before = place.open(), b""
    for step in (lambda: promote(registry, A), lambda: promote(registry, B), lambda: rollback(registry)) * 2:
        step()
        after = path(place).read_bytes()
        assert after.startswith(before)
        assert after.count(b"\n") == before.count(b"\n") + 1
        before = after


def test_a_change_under_a_process_that_has_read_before_is_seen(tmp_path: Path) -> None:
    place = in_file(tmp_path)
    registry = small(place)
    assert registry.alias("toy") == A
    times = path(place).stat()
    path(place).write_bytes(path(place).read_bytes().replace(A.encode(), C.encode()))
    os.utime(path(place), ns=(times.st_atime_ns, times.st_mtime_ns))
    assert registry.alias("toy") == C


def test_a_file_and_a_table_hold_the_same_lines(tmp_path: Path, postgresql: Server) -> None:
    lines = []
    for place in (in_file(tmp_path), in_postgresql(postgresql, tmp_path)):
        registry = small(place)
        lines.append(registry.verify().head)
    with psycopg.connect(postgresql.url) as connection:
        rows = connection.execute(f"SELECT line FROM {SCHEMA}.journal ORDER BY number").fetchall()
    assert "".join(f"{line}\n" for (line,) in rows) == path(in_file(tmp_path)).read_text()
    assert lines[0] == lines[1]


def test_a_table_is_only_ever_added_to_and_what_its_owner_forces_is_found(tmp_path: Path, postgresql: Server) -> None:
    place = in_postgresql(postgresql, tmp_path)
    for change in ("UPDATE {0}.journal SET line = 'x'", "DELETE FROM {0}.journal", "TRUNCATE {0}.journal"):
        small(place)
        with psycopg.connect(postgresql.url) as connection, pytest.raises(psycopg.Error, match="only ever added to"):
            connection.execute(change.format(SCHEMA))
        assert place.open().verify().entries == 3
        in_postgresql(postgresql, tmp_path)
    changes = {
        "UPDATE {0}.journal SET line = replace(line, 'ann', 'eve') WHERE number = 2": "line 2 was changed",
        "UPDATE {0}.journal SET number = 9 WHERE number = 3": "row 9 of journal stands where 3 should be",
        "DELETE FROM {0}.journal WHERE number = 1": "row 2 of journal stands where 1",
        "DELETE FROM {0}.journal WHERE number = 3": "ends with line 2, but had 3",
        "UPDATE {0}.head SET digest = 'x'": "line 3 is not the one that the row of holdfast_registry.head noted",
    }
    for change, told in changes.items():
        in_postgresql(postgresql, tmp_path)
        small(place)
        place.damage(change)
        with pytest.raises(RegistryError, match=told):
            place.open().verify()


def test_a_table_is_made_by_migrate_and_used_by_who_may_not_make_it(tmp_path: Path, postgresql: Server) -> None:
    place = in_postgresql(postgresql, tmp_path)
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS clerk")
        connection.execute("CREATE ROLE clerk LOGIN")
        clerk = Place(postgresql.url.replace("//holdfast@", "//clerk@"), tmp_path)
        assert clerk.open().entries() == []
        with pytest.raises(StoreError, match="run `holdfast migrate` as a user who may"):
            promote(clerk.open(), A)
        for _ in range(2):
            assert "holdfast_registry: journal" in PostgresJournal(postgresql.url).migrate()
        connection.execute(f"GRANT USAGE ON SCHEMA {SCHEMA} TO clerk")
        connection.execute(f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA {SCHEMA} TO clerk")
        connection.execute(f"GRANT UPDATE ON {SCHEMA}.head TO clerk")
        promote(clerk.open(), A, B)
        assert clerk.open().verify() == place.open().verify()
        in_postgresql(postgresql, tmp_path)
        connection.execute("DROP ROLE clerk")
