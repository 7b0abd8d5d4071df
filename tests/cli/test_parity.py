"""Parity holds on the real data, and finds a single differing bit where there is one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from cli import parity as module
from cli.parity import ParityError, parity
from cli.workspace import Workspace
from tests.cli.conftest import figures


@pytest.mark.parametrize(("name", "customers"), [("cdnow", 23_570), ("telco", 7_043)])
def test_every_customer_by_every_path(name: str, customers: int, request: pytest.FixtureRequest) -> None:
    workspace: Workspace = request.getfixturevalue(name)
    told = figures("parity", name)
    assert told["differing_bits"] == 0
    assert told["customers"] == customers
    assert told["model"] in {workspace.champion(), *told["model"].split()}
    width = 1 + len(workspace.usecase.features.inputs)
    whole = dict.fromkeys(["training frame", "batch pass", "on-read", "materialized"], customers * width)
    tensors = ("OIP REST, JSON", "OIP REST, binary", "OIP gRPC, raw", "OIP gRPC, contents")
    assert told["paths"] == {**whole, **dict.fromkeys(["HTTP bulk", "gRPC bulk", *tensors], customers)}


def damaged(table: str, change: str) -> object:
    """An online store like the real one, in which one value of one customer is changed after it was filled."""
    original = module._online_copy

    def copy(workspace: Workspace, directory: Path) -> Workspace:
        online = original(workspace, directory)
        with sqlite3.connect(directory / "online.sqlite") as connection:
            name = table or f"rows_{workspace.usecase.features.fingerprint[:16]}"
            assert connection.execute(f"UPDATE {name} SET {change}").rowcount == 1
        connection.close()
        return online

    return copy


@pytest.mark.parametrize(
    ("table", "change", "told"),
    [
        ("", "total_spend = total_spend + 1 WHERE key = '1000'", ["'1000'", "total_spend", "materialized"]),
        ("", "last_order_at = NULL WHERE key = '1001'", ["'1001'", "recency_days", "nan", "materialized"]),
        ("events", "spend = spend + 1 WHERE key = '1'", ["'1'", "total_spend", "on-read"]),
    ],
)
def test_one_changed_value_is_found_and_named(
    table: str, change: str, told: list[str], cdnow: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_online_copy", damaged(table, change))
    tag = cdnow.champion()
    assert tag is not None
    with pytest.raises(ParityError) as caught:
        parity(cdnow, tag, lambda *_: None, http=False)
    for word in told:
        assert word in str(caught.value)


def test_one_bit_of_a_float_is_a_difference(cdnow: Workspace) -> None:
    tag = cdnow.champion()
    assert tag is not None
    keys = cdnow.events.keys(cdnow.as_of)[:5]
    from features.store.base import Spine
    from model import gate, store
    from training.dataset import frame

    scorer = gate.load(store.path(tag), cdnow.usecase.features).scorer
    scores = frame(cdnow.usecase, cdnow.events, Spine.at(keys, cdnow.as_of)).score(scorer)
    check = module._Check(cdnow.usecase, keys, scores)
    assert check.probabilities("a path", 0, scores.probability.tolist()) == 5
    off = scores.probability.copy()
    off[3] = np.nextafter(off[3], 1)
    with pytest.raises(ParityError, match=f"customer .{keys[3]}.: probability is .* by a path"):
        check.probabilities("a path", 0, off.tolist())
