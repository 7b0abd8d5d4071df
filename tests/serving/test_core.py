"""The core with a real model: whoever is batched with whomever, each gets the answer that it gets alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from features.contract import arrays
from features.featureset import FeatureSet
from model import store
from model.predictions.reading import Directory
from serving.call import Call
from serving.core import Core
from serving.errors import Failed, Late, RequestError
from serving.rows import Rows
from settings import Settings
from tests.effort import examples
from tests.model.toys import Member, log_months, plan, plan_toy
from usecases import UseCase

POISON = 600
"""Months of a member for whom a feature is infinite, which no member in training has."""


def months_left(months: NDArray[Any]) -> NDArray[Any]:
    """A feature that forgets to guard its division."""
    return np.asarray(1 / (POISON - months))


def usecase() -> UseCase:
    """`plan` with that feature."""
    inputs = ("months", "region", "premium", "rating", "log_months", "months_left")
    features = FeatureSet(attributes=Member, rows=(log_months, months_left), inputs=inputs)
    return replace(plan(), features=features)


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    """A core over such a model that takes at most 16 rows at once and records what it answers."""
    root = tmp_path_factory.mktemp("core")
    toy = plan_toy(root, usecase=usecase())
    tag = toy.train().manifest.tag
    made = Core(toy.usecase, store.path(tag), Settings(home=root, max_batch_size=16, grpc_port=0))
    assert made.loaded, made.refused
    yield made
    asyncio.run(made.close(10))


def member(months: int, number: int) -> dict[str, Any]:
    """A request for a member."""
    rating = None if number % 3 == 0 else number / 40
    region = ["north", "south", "west"][number % 3]
    attributes = {"months": months, "region": region, "premium": number % 2 == 0, "rating": rating}
    return {"member_id": f"m{number}", "attributes": attributes}


def alone(core: Core, row: dict[str, Any]) -> float:
    """The scorer's own answer to one row."""
    assert core.loaded is not None
    attributes = arrays(Member, [row["attributes"]])
    return float(core.loaded.scorer.score({}, attributes, np.zeros(1, dtype=np.int64)).probability[0])


requests = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from([*range(72), POISON]), st.integers(0, 199)), min_size=1, max_size=40),
        st.booleans(),  # in bulk
        st.sampled_from([0, 0, 0, 1, 2]),  # turns of the loop before it comes
        st.sampled_from([None, None, None, 0, 1, 2]),  # turns after which its client leaves
    ),
    min_size=1,
    max_size=12,
)


async def ask(core: Core, rows: list[dict[str, Any]], bulk: bool, before: int, leaves: int | None) -> Any:
    """What one client receives: (answers, errors), a problem, or nothing because it left."""
    for _ in range(before):
        await asyncio.sleep(0)
    given = core.decoder.accept(rows) if bulk else core.decoder.single(rows[0])
    task = asyncio.ensure_future(core.predict(given, Call.begin("/test")))
    if leaves is not None:
        for _ in range(leaves):
            await asyncio.sleep(0)
        task.cancel()
    try:
        told = await task
    except asyncio.CancelledError:
        return None
    except RequestError as error:
        return error
    return told


@settings(max_examples=examples(150), deadline=None)
@given(requests)
def test_batched_is_unbatched_to_the_last_bit(core: Core, asked: list[Any]) -> None:
    async def everybody() -> list[Any]:
        clients = (
            ask(core, [member(*one) for one in rows], bulk, before, leaves) for rows, bulk, before, leaves in asked
        )
        return await asyncio.gather(*clients)

    for (rows, bulk, _, leaves), told in zip(asked, asyncio.run(everybody()), strict=True):
        good = [place for place, (months, _) in enumerate(rows if bulk else rows[:1]) if months != POISON]
        if told is None:
            assert leaves is not None
        elif isinstance(told, RequestError):
            assert isinstance(told, Failed)
            assert not good
        else:
            right = [alone(core, member(*rows[place])) for place in good]
            assert [answer.probability.hex() for answer in told.answers] == [value.hex() for value in right]
            assert [answer.member_id for answer in told.answers] == [f"m{rows[place][1]}" for place in good]
            if bulk:
                assert [answer.row for answer in told.answers] == good
                assert [error["row"] for error in told.errors] == [i for i in range(len(rows)) if i not in good]
    assert core.runner.queued_rows == 0


def test_what_is_answered_is_recorded_with_what_it_was_made_of(core: Core) -> None:
    rows = [member(number % 70, number) for number in range(40)]
    call = Call.begin("/test", "mine")
    told = asyncio.run(core.predict(core.decoder.accept(rows), call))
    log = Directory(core.settings.home / "plan" / "predictions", "plan")
    found = sorted(log.find("mine"), key=lambda one: int(one.prediction_id.rpartition("-")[2]))
    assert [one.prediction_id for one in found] == [answer.prediction_id for answer in told.answers]
    for row, answer, one in zip(rows, told.answers, found, strict=True):
        assert (one.key, one.attributes) == (row["member_id"], row["attributes"])
        assert (one.probability.hex(), one.decision) == (answer.probability.hex(), answer.decision)
        assert (one.model, one.fingerprint) == (answer.model, answer.fingerprint)
        assert one.features["log_months"] == np.log1p(row["attributes"]["months"])
        assert one.features[f"region={row['attributes']['region']}"] == 1


def test_a_client_that_left_or_was_late_is_not_recorded(core: Core) -> None:
    async def late() -> None:
        call = Call.begin("/test", "late")
        call.deadline = 0.0
        with pytest.raises(Late):
            await core.predict(Rows(["m1"], ([1], ["north"], [True], [None])), call)

    asyncio.run(late())
    assert not Directory(core.settings.home / "plan" / "predictions", "plan").find("late")
