"""Outcomes: which one holds, whatever comes when, how often and in which order; in memory, in files, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.servers import Server
from features.store.base import StoreError
from model.predictions import Entry, Header
from model.predictions.outcome import Outcome, Outcomes, answered, by_key, identity, settle
from model.predictions.postgres import Table
from model.predictions.reading import Directory, Log
from model.predictions.segment import OPEN, SEALED, frame, name, outcomes, read, records
from tests.effort import examples
from tests.model.answers import HEADER, entry, new_id

SECOND = 1_000_000
NOON = 1_717_243_200 * SECOND


def told(observed: int, *, outcome: bool = True, received: int = 0, **about: str | int) -> Outcome:
    """An outcome about `prediction_id`, or `key` and `at`; its times are seconds after noon."""
    moment = about.pop("at", None)
    at = None if moment is None else NOON + int(moment) * SECOND
    by, key = (None if about.get(field) is None else str(about[field]) for field in ("prediction_id", "key"))
    observed_at = NOON + observed * SECOND
    return Outcome(
        outcome_id=str(about.get("outcome_id", identity(by, key, at, outcome, observed_at))),
        prediction_id=by,
        key=key,
        at=at,
        outcome=outcome,
        observed_at=observed_at,
        received_at=NOON + received * SECOND,
    )


@dataclass(frozen=True)
class World:
    """Entries, outcomes in the order in which they were received, and the parts in which all of that is written."""

    entries: list[Entry]
    received: list[Outcome]
    parts: list[list[Entry | Outcomes]]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Few keys and times, so that much falls together."""
    keys, seconds = st.sampled_from("ab"), st.integers(0, 4)
    rows = draw(
        st.lists(st.tuples(st.lists(keys, min_size=1, max_size=12), seconds), max_size=5, unique_by=lambda row: row[1])
    )
    entries = [entry(*own, at=NOON + at * SECOND, id=new_id(NOON)) for own, at in rows]
    ids = [id_ for one in entries for id_ in one.ids()] + [new_id(NOON)]
    about = st.fixed_dictionaries({"prediction_id": st.sampled_from(ids)}) | st.fixed_dictionaries(
        {"key": keys, "at": seconds | st.just(-1)}
    )
    own: st.SearchStrategy[dict[str, str]] = st.just({}) | st.fixed_dictionaries(
        {"outcome_id": st.sampled_from(["mine-1", "mine-2"])}
    )
    words = draw(st.lists(st.tuples(about, st.integers(0, 2), st.booleans(), own), max_size=8))
    order = draw(st.lists(st.sampled_from(words), min_size=len(words), max_size=2 * len(words))) if words else []
    received = [
        told(observed, outcome=outcome, received=number, **what, **mine)
        for number, (what, observed, outcome, mine) in enumerate([*words, *order])
    ]
    written: list[Entry | Outcomes] = [*entries, *(Outcomes(items=[one]) for one in received)]
    asked = draw(st.permutations(written))
    cuts = sorted(draw(st.lists(st.integers(0, len(asked)), max_size=3)))
    parts = [asked[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(asked)], strict=True)]
    return World(entries, received, [part for part in parts if part])


def oracle(world: World) -> dict[str, tuple[bool, int]]:
    """What holds of each prediction, if outcomes are looked at one after the other, as they were received."""
    seen, holds = set[str](), dict[str, tuple[bool, int]]()
    for one in world.received:
        if one.outcome_id in seen:
            continue
        seen.add(one.outcome_id)
        about = one.prediction_id
        if one.at is not None:
            for made in sorted(world.entries, key=lambda made: made.time):
                for key, id_ in zip(made.keys, made.ids(), strict=True):
                    if key == one.key and made.time <= one.at:
                        about = id_
        if about is not None and (about not in holds or one.observed_at >= holds[about][1]):
            holds[about] = (one.outcome, one.observed_at)
    return holds


def found(log: Log) -> dict[str, tuple[bool | None, int | None]]:
    """What a log says of its predictions that have an outcome."""
    settled = {one.prediction_id: (one.outcome, one.observed_at) for one in log.settled(log.between())}
    return {id_: holds for id_, holds in settled.items() if holds != (None, None)}


def expected(world: World) -> dict[str, tuple[bool, int]]:
    """What the oracle says of the predictions that are there."""
    ids = {id_ for one in world.entries for id_ in one.ids()}
    return {id_: holds for id_, holds in oracle(world).items() if id_ in ids}


def abouts(world: World) -> dict[str, int]:
    """When the prediction was answered that each outcome is about, if all predictions are looked at."""
    made = {id_: (one.time, key) for one in world.entries for key, id_ in zip(one.keys, one.ids(), strict=True)}
    times = dict[str, int]()
    for told in firsts(world):
        if told.prediction_id in made:
            times[told.outcome_id] = made[told.prediction_id][0]
        earlier = [time for time, key in made.values() if key == told.key and time <= (told.at or 0)]
        times |= {told.outcome_id: max(earlier)} if earlier else {}
    return times


def firsts(world: World) -> list[Outcome]:
    """Each outcome as it was received first, in order."""
    kept: dict[str, Outcome] = {}
    for one in world.received:
        kept.setdefault(one.outcome_id, one)
    return list(kept.values())


def write(directory: Path, number: int, *parts: Entry | Outcomes, end: str = SEALED) -> Path:
    """A segment."""
    path = directory / (name(NOON + number, f"pod-{number % 2}", 7, number) + end)
    path.write_bytes(b"".join(b"".join(frame(record)) for record in (HEADER, *parts)))
    return path


@settings(max_examples=examples(400), deadline=None)
@given(worlds())
def test_what_holds_is_what_a_naive_reading_says(world: World) -> None:
    rows = (
        (key, answered(one.time, id_)) for one in world.entries for key, id_ in zip(one.keys, one.ids(), strict=True)
    )
    shuffled = [one for part in world.parts for record in part if isinstance(record, Outcomes) for one in record.items]
    holds = settle(shuffled, by_key(rows))
    assert {id_: (one.outcome, one.observed_at) for id_, one in holds.items()} == oracle(world)


@settings(max_examples=examples(150), deadline=None)
@given(worlds())
def test_in_files_the_same_holds_however_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, world: World
) -> None:
    directory = tmp_path_factory.mktemp("log")
    for number, part in enumerate(world.parts):
        write(directory, number, *part, end=OPEN if number == 1 else SEALED)
    log = Directory(directory, "club")
    assert found(log) == expected(world)
    assert log.about(firsts(world)) == abouts(world)
    assert list(log.outcomes()) == firsts(world)
    assert log.latest(2) == firsts(world)[::-1][:2]
    assert list(log.outcomes(NOON + SECOND, NOON + 3 * SECOND)) == [
        one for one in firsts(world) if NOON + SECOND <= one.received_at < NOON + 3 * SECOND
    ]


@pytest.fixture(scope="module")
def table(postgresql: Server) -> Iterator[Table]:
    """Tables of their own, which go with the tests."""
    made = Table(postgresql.url, "outcome")
    made.migrate()
    yield made
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA holdfast_outcome CASCADE")


@pytest.fixture(scope="module")
def writer(table: Table) -> Iterator[psycopg.Connection]:
    """A shipper's connection to them."""
    with table.writer() as connection:
        yield connection


def emptied(table: Table, writer: psycopg.Connection) -> Table:
    """The tables without rows."""
    writer.execute(f"TRUNCATE {table.name}, {table.schema}.outcomes")
    return table


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(worlds())
def test_in_postgresql_the_same_holds_however_it_was_shipped(
    table: Table, writer: psycopg.Connection, world: World
) -> None:
    emptied(table, writer)
    for part in [*world.parts, *world.parts[:1]]:  # one comes again, as when a shipper dies behind its commit
        table.insert(writer, [(HEADER, record) for record in part])
    assert found(table) == expected(world)
    assert table.about(firsts(world)) == abouts(world)
    assert list(table.outcomes()) == firsts(world)
    assert table.latest(2) == firsts(world)[::-1][:2]
    assert list(table.outcomes(NOON + SECOND, NOON + 3 * SECOND)) == [
        one for one in firsts(world) if NOON + SECOND <= one.received_at < NOON + 3 * SECOND
    ]


def test_later_words_correct_earlier_ones_and_back_again(tmp_path: Path) -> None:
    made = entry("a", at=NOON)
    for number, (observed, outcome) in enumerate([(1, True), (2, False), (3, True), (2, False)]):
        write(tmp_path, number, made, Outcomes(items=[told(observed, outcome=outcome, prediction_id=made.id)]))
    assert found(Directory(tmp_path, "club")) == {made.id: (True, NOON + 3 * SECOND)}


def test_of_two_keys_answered_at_one_time_files_and_postgresql_take_the_same(
    table: Table, writer: psycopg.Connection, tmp_path: Path
) -> None:
    tied = [entry("a", at=NOON), entry("b", "a", "a", at=NOON), entry("a", at=NOON)]
    written: list[Entry | Outcomes] = [*tied[::-1], Outcomes(items=[told(9, key="a", at=5)])]
    write(tmp_path, 1, *written[::-1])
    emptied(table, writer).insert(writer, [(HEADER, one) for one in written])
    assert found(table) == found(Directory(tmp_path, "club")) == {f"{tied[1].id}-2": (True, NOON + 9 * SECOND)}


def test_what_an_outcome_is_about_can_come_long_after_it(table: Table, writer: psycopg.Connection) -> None:
    early, late = entry("a", at=NOON), entry("a", at=NOON + 2 * SECOND)
    words = Outcomes(items=[told(1, key="a", at=3), told(1, prediction_id=late.id, outcome=False, received=-1)])
    emptied(table, writer).insert(writer, [(HEADER, words)])
    assert found(table) == {}
    table.insert(writer, [(HEADER, early)])
    assert found(table) == {early.id: (True, NOON + SECOND)}
    table.insert(writer, [(HEADER, late)])  # it is this one that was the last
    assert found(table) == {late.id: (True, NOON + SECOND)}


def test_another_use_cases_outcomes_are_its_own(tmp_path: Path) -> None:
    made = entry("a", at=NOON)
    write(tmp_path, 1, made, Outcomes(items=[told(1, key="a", at=1)]))
    assert found(Directory(tmp_path, "club"))
    assert not list(Directory(tmp_path, "other").outcomes())


def test_what_an_outcome_says_makes_its_id() -> None:
    said = [(None, "a", 1, True, 2), (None, "a", 2, True, 1), ("a", None, None, True, 2), (None, "a", 1, False, 2)]
    assert len({identity(*one) for one in said}) == len(said)
    assert {len(identity(*one)) for one in said} == {32}
    assert identity(*said[0]) == identity(*said[0])


def test_entries_and_outcomes_of_a_segment_are_read_in_order_and_apart(tmp_path: Path) -> None:
    made: list[Entry | Outcomes] = [
        entry("a"), Outcomes(items=[told(1, key="a", at=1), told(2, key="b", at=1)]), entry("b"),
        Outcomes(items=[told(3, prediction_id=new_id())]),
    ]  # fmt: skip
    path = write(tmp_path, 1, *made, end=OPEN)
    assert [one for _, one in records(path)] == made
    assert [one for _, one in read(path)] == made[::2]
    assert [one for _, one in outcomes(path)] == made[1::2]
    whole = path.read_bytes()
    begun = whole.rindex(b"HFO1")
    for length in range(begun, len(whole)):  # torn at any byte
        path.write_bytes(whole[:length])
        assert [one for _, one in records(path)] == made[:3]
    for place in range(begun, len(whole)):  # changed at any byte
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        kept = list[Outcomes]()
        with pytest.raises(StoreError, match=rf"byte {begun}: .*damaged"):
            kept.extend(one for _, one in outcomes(path))
        assert kept == made[1:2]


def test_a_log_from_before_there_were_outcomes_gets_them(postgresql: Server) -> None:
    old = Table(postgresql.url, "before_outcomes")
    old.migrate()
    made = entry("a", at=NOON)
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute("DROP TABLE holdfast_before_outcomes.outcomes")
    with old.writer() as connection:
        assert old.insert(connection, [(HEADER, made)]) == 1  # whoever sends none needs no table for them
        with pytest.raises(StoreError, match="run `holdfast migrate`"):
            old.latest(1)
        old.insert(connection, [(HEADER, Outcomes(items=[told(1, prediction_id=made.id)]))])
    assert found(old) == {made.id: (True, NOON + SECOND)}


def test_a_user_who_may_not_write_outcomes_is_told_what_to_grant(postgresql: Server) -> None:
    table = Table(postgresql.url, "outcome_rights")
    table.migrate()
    words: list[tuple[Header, Entry | Outcomes]] = [(HEADER, Outcomes(items=[told(1, key="a", at=1)]))]
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE teller LOGIN")
        connection.execute("GRANT USAGE ON SCHEMA holdfast_outcome_rights TO teller")
        connection.execute("GRANT INSERT, SELECT ON ALL TABLES IN SCHEMA holdfast_outcome_rights TO teller")
        few = Table(postgresql.url.replace("holdfast@", "teller@"), "outcome_rights")
        with few.writer() as writer, pytest.raises(StoreError, match="UPDATE on outcomes"):
            few.insert(writer, words)
        connection.execute("GRANT UPDATE ON holdfast_outcome_rights.outcomes TO teller")
    with few.writer() as writer:
        few.insert(writer, words)
    assert len(few.latest(9)) == 1


def numbers(connection: psycopg.Connection, table: Table, after: int) -> list[tuple[int, str]]:
    """What a job reads that has read so far, as `Log.outcomes` says."""
    sql = f"SELECT number, outcome_id FROM {table.schema}.outcomes WHERE number > %s ORDER BY number"
    return connection.execute(sql, [after]).fetchall()


def test_a_job_that_reads_on_by_number_misses_none_of_two_writers_and_repeats_none(table: Table) -> None:
    with table.writer() as one, table.writer() as other, table.connected() as reader:
        emptied(table, one)
        last, seen = 0, list[str]()

        def catch_up() -> None:
            nonlocal last
            for number, id_ in numbers(reader, table, last):
                last = number
                seen.append(id_)

        made = [told(number, key="a", at=1, received=-number) for number in range(4)]

        def words(number: int) -> list[tuple[Header, Entry | Outcomes]]:
            return [(HEADER, Outcomes(items=[made[number]]))]

        with one.transaction():  # it has its number, and has not committed
            table.insert(one, words(1))
            other.execute("SET lock_timeout = '50ms'")
            with pytest.raises(StoreError, match="lock"):
                table.insert(other, words(2))  # so the other waits, and none is numbered behind it and seen before it
            catch_up()
            assert seen == []
        other.execute("SET lock_timeout = 0")
        table.insert(other, words(2))
        catch_up()
        table.insert(one, words(1))
        table.insert(one, words(3))
        catch_up()
        assert seen == [one.outcome_id for one in made[1:]]
