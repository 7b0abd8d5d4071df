"""Contracts: what may be declared, and what is refused at import, by name."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import duckdb
import numpy as np
import pytest
from pydantic import Field, ValidationError, field_validator, model_validator

from features.aggregates import Aggregate
from features.contract import (
    SAFE_INTEGER,
    Arrival,
    Blank,
    Contract,
    ContractError,
    EventId,
    Key,
    Money,
    Timestamp,
    arrays,
    column_of,
    columns,
    contract_fingerprint,
)
from features.featureset import FeatureSet
from features.source import Source
from features.store.base import Spine
from features.store.sqlite import SQLiteStore
from tests.features.toys import NOW, Sale, Visit, opened, take


def contract(**fields: Any) -> type[Contract]:
    """A contract of these fields."""
    return type("Made", (Contract,), {"__annotations__": fields, "__module__": __name__})


@pytest.mark.parametrize(
    ("name", "kind", "named"),
    [
        ("select", int, "Made.select"),
        ("index", int, "Made.index"),
        ("known", int, "Made.known"),
        ("event_id", EventId, "Made.event_id"),
        ("ts", int, "Made.ts"),
        ("original", int, "Made.original"),
        ("problem", int, "Made.problem"),
        ("Upper", int, "Made.Upper"),
        ("a", str, "Made.a"),
        ("a", list[int], "Made.a"),
        ("a", int | float, "Made.a"),
        ("a", Literal["x", 1], "Made.a"),
        ("a", Literal["x", ""], "Made.a"),
        ("a", Literal["x", " y"], "Made.a"),
        ("a", Key | None, "Made.a"),
        ("a", Timestamp | None, "Made.a"),
        ("a", Annotated[int, Field(gt=0)], "Made.a"),
        ("a", Annotated[float, Field(lt=1.0)], "Made.a"),
        ("a", Annotated[int, Field(multiple_of=5)], "Made.a"),
        ("a", Annotated[Key, Field(max_length=3)], "Made.a"),
        ("a", Annotated[Key, Field(pattern="^x")], "Made.a"),
        ("a", Annotated[int, Field(le=3), Blank(5, "too large")], "Made.a"),
        ("a", Annotated[int, Field(ge=3), Blank(2, "too small")], "Made.a"),
        ("a", Annotated[int, Blank("none", "a text")], "Made.a"),
        ("a", Annotated[int, Blank(True, "a flag")], "Made.a"),
        ("a", Annotated[bool, Blank(0, "a number")], "Made.a"),
        ("a", Annotated[Literal["x"], Blank("y", "no level")], "Made.a"),
        ("a", Annotated[float, Blank(math.nan, "no number")], "Made.a"),
    ],
)
def test_what_files_and_requests_could_not_hold_alike_is_refused_at_import(name: str, kind: Any, named: str) -> None:
    with pytest.raises(ContractError) as refused:
        contract(**{name: kind})
    assert named in str(refused.value)


def test_a_default_hides_a_missing_value() -> None:
    with pytest.raises(ContractError, match=r"Late\.a"):

        class Late(Contract):
            a: int = 0

    with pytest.raises(ContractError, match=r"Made\.a"):

        class Made(Contract):
            a: int = Field(default_factory=lambda: 1)


def test_validators_that_only_requests_would_pass_are_refused() -> None:
    with pytest.raises(ContractError, match="'even'"):

        class Field_(Contract):  # noqa: N801  # a throwaway
            a: int

            @field_validator("a")
            @classmethod
            def even(cls, value: int) -> int:
                return value

    with pytest.raises(ContractError, match="'whole'"):

        class Model(Contract):
            a: int

            @model_validator(mode="after")
            def whole(self) -> Model:
                return self


def test_two_keys_are_one_too_many() -> None:
    with pytest.raises(ContractError, match="left_id, right_id"):
        column_of(contract(left_id=Key, right_id=Key), "key")


def test_columns_say_what_each_field_is() -> None:
    found = {c.name: c for c in columns(Sale)}
    assert [c.kind for c in found.values()] == [
        *("key", "time", "category", "integer", "money", "flag", "number", "integer")
    ]
    assert (found["pieces"].low, found["pieces"].high, found["price"].high) == (1, 100, 100_000)
    assert found["kind"].levels == ("web", "shop")
    assert not any(c.nullable for c in found.values())
    assert found["note"].blank is not None
    assert {c.name for c in columns(Visit) if c.nullable} == {"amount", "pages", "kind", "gift", "weight"}


@pytest.mark.parametrize(
    "text",
    [
        '{"v": 1.0}',
        '{"v": "1"}',
        '{"v": true}',
        '{"v": 9007199254740992}',
        '{"v": -9007199254740992}',
        '{"v": 1e3}',
        '{"v": NaN}',
        '{"v": null}',
        '{"v": 1, "w": 2}',
        "{}",
    ],
)
def test_a_request_is_strict(text: str) -> None:
    with pytest.raises(ValidationError):
        contract(v=int).model_validate_json(text)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", '"1.5"', "true"])
def test_a_float_is_finite_and_a_number(text: str) -> None:
    with pytest.raises(ValidationError):
        contract(v=float).model_validate_json(f'{{"v": {text}}}')


def test_null_means_the_declared_value_only_where_one_is_declared() -> None:
    made = contract(a=Annotated[int, Blank(7, "seven")], b=int | None)
    assert made.model_validate_json('{"a": null, "b": null}').model_dump() == {"a": 7, "b": None}
    with pytest.raises(ValidationError):
        made.model_validate_json('{"b": 1}')


def test_accepted_values_become_arrays() -> None:
    made = contract(a=int | None, b=bool, c=Literal["x"] | None, d=Key, e=int)
    found = arrays(made, [{"a": None, "b": True, "c": None, "d": "k", "e": SAFE_INTEGER}])
    assert [values.dtype.kind for values in found.values()] == ["f", "b", "U", "U", "i"]
    assert np.isnan(found["a"][0])
    assert (found["c"][0], found["e"][0]) == ("", SAFE_INTEGER)
    assert [len(values) for values in arrays(made, []).values()] == [0] * 5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]),
        (Annotated[int, Field(le=5)], Annotated[int, Field(le=6)]),
        (int, int | None),
        (int, Money),
        (int, float),
        (Literal["a", "b"], Literal["b", "a"]),
        (Literal["a"], Literal["a", "b"]),
        (Annotated[int, Blank(0, "w")], Annotated[int, Blank(1, "w")]),
        (Annotated[int, Blank(0, "w")], int),
        (Timestamp, Arrival),
    ],
)
def test_the_contract_s_fingerprint_follows_meaning(one: Any, other: Any) -> None:
    assert contract_fingerprint(contract(v=one)) != contract_fingerprint(contract(v=other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Annotated[int, Field(description="old words")], Annotated[int, Field(description="new words")]),
        (Annotated[int, Blank(0, "old words")], Annotated[int, Blank(0, "new words")]),
        (Annotated[int | None, Field(ge=0)], Annotated[int, Field(ge=0)] | None),
    ],
)
def test_the_contract_s_fingerprint_ignores_prose(one: Any, other: Any) -> None:
    assert contract_fingerprint(contract(v=one)) == contract_fingerprint(contract(v=other))


def test_a_time_may_be_called_ts(tmp_path: Path) -> None:
    made = contract(customer_id=Key, ts=Timestamp)
    store = opened(tmp_path, Source(made), Aggregate.max("last_at", "ts"))
    take(store, "customer_id,ts\n1,1970-01-01T00:00:01Z\n")
    assert store.aggregate(Spine.at(["1"], NOW)).aggregates["last_at"].tolist() == [1_000_000]


def test_every_word_of_sql_is_refused_or_harmless(tmp_path: Path) -> None:
    words = duckdb.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()
    sqlite = "abort autoincrement glob index indexed isnull notnull pragma raise reindex regexp savepoint trigger"
    taken = []
    for word in sorted({*(word for (word,) in words), *sqlite.split(), "e", "s", "v", "x", "row", "batch", "id"}):
        if hasattr(Contract, word):  # pydantic's own words, of which it warns
            continue
        try:
            made = contract(customer_id=Key, at=Timestamp, **{word: int})
            features = FeatureSet(inputs=(word,), events=made, aggregates=(Aggregate.sum(word, word),))
        except TypeError as refused:
            assert f"{word}" in str(refused)  # noqa: PT017  # both refusals are fine, silence is not
        else:
            taken.append((word, made, features))
    assert len(taken) > 100
    for word, _, features in taken:
        online = SQLiteStore(tmp_path / "online" / word, features)
        online.load(1, {"event_id": ["e"], "key": ["1"], "ts": [1], "ingested_at": [1], word: [3]})
        assert online.compute(["1"], 2).aggregates[word].tolist() == [3], word
        online.close()
    whole = contract(customer_id=Key, at=Timestamp, **{word: int for word, _, _ in taken})
    store = opened(tmp_path, Source(whole), *(Aggregate.sum(word, word) for word, _, _ in taken))
    header = ",".join(["customer_id", "at", *(word for word, _, _ in taken)])
    assert take(store, f"{header}\n1,1970-01-01T00:00:01Z{',3' * len(taken)}\n").new == 1
    assert {v[0] for v in store.aggregate(Spine.at(["1"], NOW)).aggregates.values()} == {3}
