"""Reading: every way a file can be broken gives a reason, or one clear error for the whole; nothing is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.clock import parse
from features.contract import ContractError
from features.etl.ingest import ingest, replay
from features.etl.read import SourceError
from features.source import Source
from tests.features.toys import GOOD, NOW, SALES_HEADER, Sale, changed, opened, reasons, sales, stored, take

SALE = Source(Sale)


@pytest.mark.parametrize(
    ("line", "column"),
    [
        (changed(pieces="x").encode(), "pieces"),
        (changed(pieces="1.5").encode(), "pieces"),
        (changed(pieces="0").encode(), "pieces"),
        (changed(pieces="101").encode(), "pieces"),
        (changed(pieces="9223372036854775808").encode(), "pieces"),
        (changed(pieces="99999999999999999999999999").encode(), "pieces"),
        (changed(pieces="9007199254740993").encode(), "pieces"),
        (changed(pieces="1e1").encode(), "pieces"),
        (changed(pieces="NaN").encode(), "pieces"),
        (changed(pieces="٣").encode(), "pieces"),
        (changed(pieces="").encode(), "pieces"),
        (changed(pieces="   ").encode(), "pieces"),
        (changed(pieces='""').encode(), "pieces"),
        (changed(price="1.234").encode(), "price"),
        (changed(price="1.2e1").encode(), "price"),
        (changed(price="-0.01").encode(), "price"),
        (changed(price="1000.01").encode(), "price"),
        (changed(price="$5").encode(), "price"),
        (changed(price="9999999999999999999").encode(), "price"),
        (changed(weight="nan").encode(), "weight"),
        (changed(weight="inf").encode(), "weight"),
        (changed(weight="-Infinity").encode(), "weight"),
        (changed(weight="1e999").encode(), "weight"),
        (changed(weight="0x10").encode(), "weight"),
        (changed(weight="1_000").encode(), "weight"),
        (changed(weight="50.00001").encode(), "weight"),
        (changed(kind="Web").encode(), "kind"),
        (changed(kind="fax").encode(), "kind"),
        (changed(kind="web'); DROP TABLE raw; --").encode(), "kind"),
        (changed(gift="maybe").encode(), "gift"),
        (changed(gift="2").encode(), "gift"),
        (changed(customer_id="").encode(), "customer_id"),
        (changed(customer_id="x" * 129).encode(), "customer_id"),
        (changed(customer_id="a\tb").encode(), "customer_id"),
        (changed(customer_id="a\x00b").encode(), "customer_id"),
        (changed(customer_id="a\x7f").encode(), "customer_id"),
        (changed(customer_id='"a\nb"').encode(), "customer_id"),
        (changed(sold_at="2025-02-30T00:00:00Z").encode(), "sold_at"),
        (changed(sold_at="2025-01-02T25:00:00Z").encode(), "sold_at"),
        (changed(sold_at="2025-01-02T03:04:05").encode(), "sold_at"),
        (changed(sold_at="2025-01-02").encode(), "sold_at"),
        (changed(sold_at="2025-01-02T03:04:05 Europe/Berlin").encode(), "sold_at"),
        (changed(sold_at="2025-01-02 03:04:05 UTC").encode(), "sold_at"),
        (changed(sold_at="2025-01-02T03:04:05+01:00:07").encode(), "sold_at"),
        (changed(sold_at="2025-01-02T03:04:05+99:00").encode(), "sold_at"),
        (changed(sold_at="2025-01-02T24:00:00Z").encode(), "sold_at"),
        (changed(sold_at="infinity").encode(), "sold_at"),
        (changed(sold_at="epoch").encode(), "sold_at"),
        (changed(sold_at="9999-01-01T00:00:00Z").encode(), "sold_at"),
        (changed(sold_at="1735787045").encode(), "sold_at"),
        (changed(note="none").encode(), "note"),
        (GOOD.encode().replace(b"web", b"w\xffb"), "encoding"),
        (GOOD.encode().replace(b"web", b"w\xed\xa0\x80b"), "encoding"),
        (GOOD.encode() + b",more", "extra column"),
        (GOOD.encode() + b",", "extra column"),
        (GOOD.encode().rpartition(b",")[0], "missing column"),
        (b"  ", "missing column"),
        (changed(kind='"web"x').encode(), "unreadable"),
        (changed(kind='"' + "w" * 200_000 + '"').encode(), "unreadable"),
    ],
)
def test_a_bad_row_says_which_column_and_keeps_its_bytes_and_its_neighbours(
    tmp_path: Path, line: bytes, column: str
) -> None:
    store = opened(tmp_path, SALE)
    before, after = changed(customer_id="before").encode(), changed(customer_id="after").encode()
    outcome = take(store, b"\n".join([SALES_HEADER.encode(), before, line, after, b""]))
    assert (outcome.read, outcome.new, outcome.quarantined) == (3, 2, 1)
    (waiting,) = store.quarantined()
    assert (waiting["original"], waiting["row"], waiting["batch"]) == (line, 2, 1)
    assert [reason.split(": ")[0] for reason in waiting["reasons"]] == [column]
    assert {row["key"] for row in stored(store)} == {"before", "after"}
    assert [outcome.new for outcome in replay(store, now=NOW)] == [0]
    assert [row["original"] for row in store.quarantined()] == [line]


def test_every_reason_of_a_row_is_told_at_once(tmp_path: Path) -> None:
    store = opened(tmp_path, SALE)
    take(store, sales("x,never,fax,0,1.234,maybe,1e999,?"))
    (found,) = reasons(store)
    assert [reason.split(":")[0] for reason in found] == SALES_HEADER.split(",")[1:]
    assert "'never'" in found[0]


def test_an_unclosed_quote_takes_only_what_is_behind_it_into_quarantine(tmp_path: Path) -> None:
    store = opened(tmp_path, SALE)
    rest = [changed(kind='"web'), changed(customer_id="8"), changed(customer_id="9")]
    outcome = take(store, sales(GOOD, *rest))
    assert (outcome.new, outcome.quarantined) == (1, 1)
    assert store.quarantined()[0]["original"].decode() == "\n".join(rest)


@pytest.mark.parametrize(
    "content",
    [
        sales(GOOD).replace("\n", "\r\n"),
        "\ufeff" + sales(GOOD),
        "\n\r\n" + sales("", GOOD, "", ""),
        sales(GOOD).rstrip("\n"),
        sales(GOOD.replace(",", ", ")),
        sales(",".join(f'"{cell}"' for cell in GOOD.split(","))),
        sales(GOOD).replace("\n", "\r"),
        ",".join(SALES_HEADER.split(",")[::-1]) + "\n" + ",".join(GOOD.split(",")[::-1]),
        sales(GOOD.replace("7,2025", " 7 ,2025")),
    ],
)
def test_harmless_ways_to_write_a_file_are_the_same_file(tmp_path: Path, content: str) -> None:
    store = opened(tmp_path, SALE)
    take(store, sales(GOOD))
    outcome = take(store, content, name="other.csv")
    assert (outcome.read, outcome.known, outcome.new, outcome.quarantined) == (1, 1, 0, 0)


@pytest.mark.parametrize("header", ["customer_id,sold_at,kind,pieces,price,gift,weight", SALES_HEADER + ",extra_one"])
def test_a_missing_or_extra_column_in_the_header_quarantines_every_row_by_name(tmp_path: Path, header: str) -> None:
    store = opened(tmp_path, SALE)
    width = header.count(",") + 1
    line = ",".join((GOOD + ",more").split(",")[:width])
    outcome = take(store, f"{header}\n{line}\n{line}\n")
    assert (outcome.new, outcome.quarantined) == (0, 2)
    assert reasons(store) == [["missing column: note" if width == 7 else "extra column: extra_one"]] * 2


def test_a_column_may_be_renamed_ignored_and_rewritten(tmp_path: Path) -> None:
    source = Source(Sale, rename={"Who": "customer_id"}, ignore=("Junk",), rewrite={"customer_id": (r"^0+(\d)", r"\1")})
    store = opened(tmp_path, source)
    take(store, SALES_HEADER.replace("customer_id", "Who") + ",Junk\n0" + GOOD + ",?\n")
    assert [row["key"] for row in stored(store)] == ["7"]


def test_two_columns_that_mean_one_field_are_refused(tmp_path: Path) -> None:
    store = opened(tmp_path, Source(Sale, rename={"Who": "customer_id"}))
    with pytest.raises(SourceError, match="'customer_id'"):
        take(store, f"{SALES_HEADER},Who\n{GOOD},8\n")
    assert store.batches() == []


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "empty"),
        (b"\n\r\n\n", "no header"),
        (b'"customer_id,sold_at\n1,2\n', "header"),
        (SALES_HEADER.encode() + b",caf\xe9\n", "header"),
        (b"customer_id,customer_id\n1,2\n", "'customer_id' twice"),
    ],
)
def test_a_file_without_a_readable_header_is_one_error(tmp_path: Path, content: bytes, named: str) -> None:
    store = opened(tmp_path, SALE)
    with pytest.raises(SourceError, match=named) as refused:
        take(store, content)
    assert "file.csv" in str(refused.value)
    assert store.batches() == []


def test_a_header_alone_is_an_empty_table(tmp_path: Path) -> None:
    store = opened(tmp_path, SALE)
    outcome = take(store, sales())
    assert (outcome.read, outcome.batch) == (0, None)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere\.csv"):
        ingest(opened(tmp_path, SALE), "events", tmp_path / "nowhere.csv", now=NOW)


def test_a_declared_encoding_is_used_and_its_bad_bytes_are_kept(tmp_path: Path) -> None:
    store = opened(tmp_path, Source(Sale, encoding="cp1252"))
    bad = changed(customer_id="bad").encode() + b"\x81"
    outcome = take(store, b"\n".join([SALES_HEADER.encode(), changed(customer_id="M\xfcller").encode("cp1252"), bad]))
    assert (outcome.new, outcome.quarantined) == (1, 1)
    assert [row["key"] for row in stored(store)] == ["Müller"]
    assert store.quarantined()[0]["original"] == bad


def test_utf_16_is_read_or_refused_whole(tmp_path: Path) -> None:
    store = opened(tmp_path, Source(Sale, encoding="utf-16"))
    assert take(store, sales(GOOD).encode("utf-16")).new == 1
    with pytest.raises(SourceError, match="utf-16"):
        take(store, sales(GOOD).encode("utf-16") + b"\x00\xd8\x41")


def test_blanks_as_delimiter(tmp_path: Path) -> None:
    store = opened(tmp_path, Source(Sale, delimiter=" "))
    outcome = take(store, f" {SALES_HEADER} \n  {GOOD}   \n".replace(",", "   "))
    assert (outcome.new, outcome.quarantined) == (1, 0)


def test_parquet_gives_the_same_events_as_csv(tmp_path: Path) -> None:
    lines = [GOOD, GOOD, changed(weight="0.1", price="3", gift="no", note=""), changed(customer_id="ä", weight="1e-7")]
    store = opened(tmp_path, SALE)
    assert take(store, sales(*lines)).new == 4
    at = parse("2025-01-02T03:04:05Z")
    table = pa.table(
        {
            "customer_id": ["7", "7", "7", "ä"],
            "sold_at": pa.array([at] * 4, pa.timestamp("us", tz="Europe/Berlin")),
            "kind": pa.array(["web"] * 4).dictionary_encode(),
            "pieces": pa.array([2] * 4, pa.int8()),
            "price": [11.77, 11.77, 3.0, 11.77],
            "gift": [True, True, False, True],
            "weight": [1.5, 1.5, 0.1, 1e-7],
            "note": [3, 3, None, 3],
        }
    )
    for suffix in ("parquet", "PQ"):
        path = tmp_path / f"file.{suffix}"
        pq.write_table(table, path)
        outcome = ingest(store, "events", path, now=NOW)
        assert (outcome.new, outcome.known, outcome.quarantined) == (0, 4, 0)


def test_parquet_rows_that_are_bad_can_be_replayed(tmp_path: Path) -> None:
    store = opened(tmp_path, SALE)
    cells = dict(zip(SALES_HEADER.split(","), GOOD.split(","), strict=True))
    table = pa.table({name: [text, text] for name, text in cells.items()})
    weight = pa.array([float("nan"), float("inf")])
    pq.write_table(table.set_column(table.column_names.index("weight"), "weight", weight), tmp_path / "f.parquet")
    assert ingest(store, "events", tmp_path / "f.parquet", now=NOW).quarantined == 2
    assert [found[0].split(":")[0] for found in reasons(store)] == ["weight", "weight"]
    assert [(o.read, o.new, o.quarantined) for o in replay(store, now=NOW)] == [(2, 0, 2)]
    assert len(store.quarantined()) == 2


def test_what_is_no_parquet_is_one_error(tmp_path: Path) -> None:
    store = opened(tmp_path, SALE)
    with pytest.raises(SourceError, match=r"f\.parquet"):
        take(store, sales(GOOD), name="f.parquet")


def test_a_source_names_fields_of_its_contract() -> None:
    ways: list[dict[str, Any]] = [{"rename": {"a": "nowhere"}}, {"rewrite": {"nowhere": ("a", "b")}}]
    for how in ways:
        with pytest.raises(ContractError, match="'nowhere'"):
            Source(Sale, **how)
