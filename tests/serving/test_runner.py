"""The runner alone, with a toy model: what is computed together, what is refused, who fails and who does not notice."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from serving.errors import Failed, Late, NotAccepted, NotReady, Overloaded, RequestError
from serving.runner import ModelRunner
from tests.effort import examples
from tests.serving.toys import Ask, Toy, turn, until

Runner = ModelRunner[Ask, tuple[int, int]]
Main = Coroutine[Any, Any, None]
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=LOOPS)
def play(request: pytest.FixtureRequest) -> Callable[[Main], None]:
    """Runs a coroutine on each kind of loop."""

    def played(main: Main) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(main)

    return played


def made(
    toy: Callable[[list[Ask]], list[tuple[int, int]]],
    *,
    cap: int = 10,
    queue: int = 1_000,
    latency_ms: int = 600_000,
    threaded: Callable[[int], bool] = lambda rows: False,  # noqa: ARG005
    parallel: int = 1,
    observe: Any = None,
) -> Runner:
    return ModelRunner(
        toy,
        max_batch_size=cap,
        max_queue_rows=queue,
        max_latency_ms=latency_ms,
        threaded=threaded,
        parallel=parallel,
        observe=observe,
    )


def always(_: int) -> bool:
    return True


def asked(runner: Runner, *asks: Ask, **how: Any) -> list[asyncio.Task[tuple[int, int]]]:
    return [asyncio.ensure_future(runner.async_run(ask, **how)) for ask in asks]


async def held(runner: Runner, toy: Toy, first: Ask, *others: Ask) -> list[asyncio.Task[tuple[int, int]]]:
    """The first one is under way on a thread and stays so; the others wait."""
    tasks = asked(runner, first)
    await until(lambda: toy.batches == [[first]])
    tasks += asked(runner, *others)
    await turn()
    assert runner.queued_rows == sum(len(ask) for ask in others)
    return tasks


async def outcomes(tasks: list[asyncio.Task[tuple[int, int]]]) -> list[Any]:
    async with asyncio.timeout(60):
        return await asyncio.gather(*tasks, return_exceptions=True)


# What is computed together


def test_what_arrives_in_one_turn_is_computed_together(play: Callable[[Main], None]) -> None:
    async def main() -> None:
        toy = Toy()
        asks = [Ask(n) for n in range(5)]
        assert await outcomes(asked(made(toy), *asks)) == [(n, 1) for n in range(5)]
        assert toy.batches == [asks]

    play(main())


def test_more_turns_let_those_who_come_later_join(play: Callable[[Main], None]) -> None:
    async def main() -> None:
        for turns, together in ((1, 1), (8, 3)):
            toy = Toy()
            runner = made(toy)
            tasks = []
            for n in range(3):
                tasks += asked(runner, Ask(n), turns=turns)
                await turn(2)
            await outcomes(tasks)
            assert len(toy.batches[0]) == together

    play(main())


def test_nobody_gathers_for_longer_than_a_batch_is_full(play: Callable[[Main], None]) -> None:
    async def main() -> None:
        toy = Toy()
        tasks = asked(made(toy, cap=2), Ask(0), Ask(1), turns=1_000)
        await turn(4)
        assert all(task.done() for task in tasks)

    play(main())


def test_a_lone_client_waits_for_nobody_whatever_was_before(play: Callable[[Main], None]) -> None:
    async def main() -> None:
        toy = Toy()
        runner = made(toy)

        async def turns_of_one() -> int:
            [task] = asked(runner, Ask(-1))
            taken = 0
            while not task.done():
                await turn()
                taken += 1
            return taken

        before = await turns_of_one()
        for _ in range(20):
            await outcomes(asked(runner, *(Ask(n) for n in range(200))))
        assert await turns_of_one() == before <= 4

    play(main())


def test_what_arrives_while_a_batch_is_computed_makes_the_next(play: Callable[[Main], None]) -> None:
    async def main() -> None:
        toy = Toy()
        runner = made(toy, threaded=always)
        others = [Ask(n) for n in range(1, 5)]
        tasks = await held(runner, toy, Ask(0), *others)
        assert runner.running_rows == 1
        toy.release(2)
        assert await outcomes(tasks) == [(n, 1) for n in range(5)]
        assert toy.batches == [[Ask(0)], others]
        assert (runner.queued_rows, runner.running_rows) == (0, 0)

    play(main())


def test_no_batch_has_more_rows_than_the_cap_but_that_of_a_single_item(play: Callable[[Main], None]) -> None:
    async def main() -> None:
        toy = Toy()
        tasks = asked(made(toy, cap=10), *(Ask(n, rows) for n, rows in enumerate((4, 6, 1, 25, 9, 2))))
        assert await outcomes(tasks) == [(0, 4), (1, 6), (2, 1), (3, 25), (4, 9), (5, 2)]
        assert [[len(ask) for ask in batch] for batch in toy.batches] == [[4, 6], [1], [25], [9], [2]]

    play(main())


def test_while_one_batch_is_on_a_thread_the_loop_serves_others(play: Callable[[Main], None]) -> None:
    async def main() -> None:
        toy = Toy()
        runner = made(toy, threaded=lambda rows: rows > 1, parallel=2)
        [large] = await held(runner, toy, Ask(0, 5))
        assert await outcomes(asked(runner, Ask(1))) == [(1, 1)]
        assert not large.done()
        toy.release()
        assert await large == (0, 5)

    play(main())


@pytest.mark.parametrize("parallel", [1, 3])
def test_no_more_batches_are_under_way_than_allowed(play: Callable[[Main], None], parallel: int) -> None:
    async def main() -> None:
        toy = Toy()
        tasks = asked(made(toy, cap=1, threaded=always, parallel=parallel), *(Ask(n) for n in range(9)))
        await until(lambda: len(toy.batches) == parallel)
        await turn(20)
        assert len(toy.batches) == parallel
        toy.release(9)
        assert await outcomes(tasks) == [(n, 1) for n in range(9)]
        assert toy.most == parallel

    play(main())


# What is refused, and what comes too late


def test_the_queue_is_bounded_in_rows(play: Callable[[Main], None]) -> None:
    async def main() -> None:
        toy = Toy()
        runner = made(toy, queue=10, threaded=always)
        tasks = await held(runner, toy, Ask(0), Ask(1, 8))
        with pytest.raises(Overloaded, match="8 rows wait, 3 more") as refused:
            await runner.async_run(Ask(2, 3))
        assert refused.value.retry_after == 1
        with pytest.raises(Overloaded):
            runner.admit(3)
        runner.admit(2)
        assert runner.queued_rows == 8
        toy.release(9)
        assert await outcomes([*tasks, *asked(runner, Ask(3, 2))]) == [(0, 1), (1, 8), (3, 2)]
        assert await outcomes(asked(runner, Ask(4, 3))) == [(4, 3)]
        assert 2 not in toy.numbers

    play(main())


async def slowed() -> tuple[Runner, Toy]:
    """An idle runner that was slow, 5 ms a row, is fast from now on, and holds items of seven rows back."""
    toy = Toy()
    slow = [0.05, 0.05]

    def run(asks: list[Ask]) -> list[tuple[int, int]]:
        time.sleep(slow.pop() if slow else 0)  # this is how long it computes
        return toy(asks)

    runner = made(run, cap=10, threaded=lambda rows: rows == 7)
    await outcomes(asked(runner, Ask(0, 10), Ask(1, 10)))
    return runner, toy


def test_what_would_not_be_answered_before_its_deadline_is_refused(play: Callable[[Main], None]) -> None:
    async def main() -> None:
        runner, toy = await slowed()
        first = asked(runner, Ask(2, 7))
        await until(lambda: runner.running_rows == 7)
        with pytest.raises(Overloaded, match="the answer would take about") as refused:
            await runner.async_run(Ask(3, 1_000 - 7), deadline=time.monotonic() + 7)  # 5 s, and half as much again
        assert refused.value.retry_after is not None
        assert refused.value.retry_after >= 5
        with pytest.raises(Overloaded):
            runner.admit(1_000 - 7, time.monotonic() + 7)
        runner.admit(1_000 - 7, time.monotonic() + 1_000)
        toy.release()
        assert await outcomes(first) == [(2, 7)]
        assert 3 not in toy.numbers

    play(main())


def test_what_the_loop_does_between_batches_counts_in_the_estimate(play: Callable[[Main], None]) -> None:
    async def main() -> None:
        toy = Toy()

        def run(asks: list[Ask]) -> list[tuple[int, int]]:
            if asks[0].number == 0:
                asyncio.get_running_loop().call_soon(time.sleep, 0.05)  # the work of others, before the next batch
            return toy(asks)

        runner = made(run, threaded=lambda rows: rows == 7)
        tasks = asked(runner, Ask(0, 10), Ask(1, 10), Ask(2, 7))
        await until(lambda: runner.running_rows == 7)
        with pytest.raises(Overloaded):
            runner.admit(1_000 - 7, time.monotonic() + 1)
        toy.release()
        assert await outcomes(tasks) == [(0, 10), (1, 10), (2, 7)]

    play(main())


def test_an_idle_runner_accepts_whatever_was_before(play: Callable[[Main], None]) -> None:
    async def main() -> None:
        runner, _ = await slowed()
        assert await outcomes(asked(runner, Ask(2, 100_000), deadline=time.monotonic() + 60)) == [(2, 100_000)]

    play(main())


def test_one_fast_batch_ends_the_memory_of_a_slow_one(play: Callable[[Main], None]) -> None:
    async def main() -> None:
        runner, toy = await slowed()
        await outcomes(asked(runner, Ask(2, 1_000)))
        first = asked(runner, Ask(3, 7))
        await until(lambda: runner.running_rows == 7)
        runner.admit(1_000 - 7, time.monotonic() + 3)
        toy.release()
        assert await outcomes(first) == [(3, 7)]

    play(main())


def test_what_is_late_when_its_turn_comes_is_not_computed(play: Callable[[Main], None]) -> None:
    async def main() -> None:
        toy = Toy()
        runner = made(toy, threaded=always)
        tasks = await held(runner, toy, Ask(0))
        deadline = time.monotonic() + 0.02
        tasks += asked(runner, Ask(1), deadline=deadline) + asked(runner, Ask(2))
        await until(lambda: time.monotonic() > deadline)
        toy.release(2)
        first, late, third = await outcomes(tasks)
        assert (first, third) == ((0, 1), (2, 1))
        assert isinstance(late, Late)
        assert toy.numbers == [0, 2]
        assert runner.queued_rows == 0

    play(main())


def test_a_deadline_of_the_runner_holds_for_those_who_bring_none(play: Callable[[Main], None]) -> None:
    async def main() -> None:
        toy = Toy()
        runner = made(toy, threaded=always, latency_ms=20)
        tasks = await held(runner, toy, Ask(0), Ask(1))
        passed = time.monotonic() + 0.02
        await until(lambda: time.monotonic() > passed)
        toy.release(2)
        assert [type(outcome) for outcome in await outcomes(tasks)] == [tuple, Late]

    play(main())


def test_what_comes_after_its_deadline_is_late(play: Callable[[Main], None]) -> None:
    async def main() -> None:
        toy = Toy()
        runner = made(toy, queue=1, threaded=always)
        with pytest.raises(Late):
            await runner.async_run(Ask(0), deadline=time.monotonic())
        assert toy.batches == []
        tasks = await held(runner, toy, Ask(1), Ask(2))
        with pytest.raises(Late):  # and not Overloaded: it need not ask again
            await runner.async_run(Ask(3), deadline=time.monotonic())
        toy.release(2)
        assert await outcomes(tasks) == [(1, 1), (2, 1)]

    play(main())


def test_an_item_without_rows_is_a_mistake_of_the_caller(play: Callable[[Main], None]) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="at least one row, not 0"):
            await made(Toy()).async_run(Ask(0, 0))

    play(main())


# Clients that leave


def test_who_leaves_while_waiting_is_not_computed_and_not_counted(play: Callable[[Main], None]) -> None:
    async def main() -> None:
        toy = Toy()
        runner = made(toy, threaded=always)
        tasks = await held(runner, toy, Ask(0), Ask(1, 3), Ask(2, 4))
        tasks[1].cancel()
        await turn()
        assert runner.queued_rows == 4
        toy.release(2)
        first, left, third = await outcomes(tasks)
        assert (first, third) == ((0, 1), (2, 4))
        assert isinstance(left, asyncio.CancelledError)
        assert toy.numbers == [0, 2]

    play(main())


def test_who_leaves_in_the_turn_its_batch_is_taken_is_not_computed(play: Callable[[Main], None]) -> None:
    async def main() -> None:
        toy = Toy()
        runner = made(toy)
        tasks = asked(runner, Ask(0), Ask(1))
        await turn()  # both wait, and the batch is taken in the next turn
        tasks[0].cancel()
        assert [type(outcome) for outcome in await outcomes(tasks)] == [asyncio.CancelledError, tuple]
        assert toy.batches == [[Ask(1)]]
        assert runner.queued_rows == 0

    play(main())


def test_who_leaves_while_computed_is_noticed_by_nobody(play: Callable[[Main], None]) -> None:
    async def main() -> None:
        toy = Toy()
        runner = made(toy, threaded=always)
        tasks = asked(runner, Ask(0), Ask(1, 2))
        await until(lambda: len(toy.batches) == 1)
        tasks[0].cancel()
        await turn()
        assert runner.running_rows == 3
        toy.release()
        assert [type(outcome) for outcome in await outcomes(tasks)] == [asyncio.CancelledError, tuple]
        assert runner.running_rows == 0

    play(main())


# Who fails


def test_only_the_culprit_fails_with_its_own_error(play: Callable[[Main], None]) -> None:
    own = NotAccepted("its own")

    async def main() -> None:
        toy = Toy()
        tasks = asked(made(toy), *(Ask(n, error=own if n == 3 else None) for n in range(8)))
        assert await outcomes(tasks) == [own if n == 3 else (n, 1) for n in range(8)]
        assert len(toy.batches[0]) == 8

    play(main())


def test_what_nobody_foresaw_is_told_in_the_log_once_and_not_to_the_client(
    play: Callable[[Main], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        asks = [Ask(n, error=ZeroDivisionError("secret") if n in (1, 4) else None) for n in range(6)]
        found = await outcomes(asked(made(Toy()), *asks))
        for n, outcome in enumerate(found):
            if n in (1, 4):
                assert isinstance(outcome, Failed)
                assert "secret" not in str(outcome.body(""))
            else:
                assert outcome == (n, 1)

    play(main())
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError] * 2
    assert len(caplog.records) == 2


def test_what_fails_together_and_not_alone_is_answered_and_told(
    play: Callable[[Main], None], caplog: pytest.LogCaptureFixture
) -> None:
    toy = Toy()

    def run(asks: list[Ask]) -> list[tuple[int, int]]:
        if len(asks) > 2:
            raise MemoryError
        return toy(asks)

    async def main() -> None:
        assert await outcomes(asked(made(run), *(Ask(n) for n in range(4)))) == [(n, 1) for n in range(4)]

    play(main())
    [record] = caplog.records
    assert record.getMessage() == "4 items failed together, and none of them in two halves"
    assert record.exc_info
    assert record.exc_info[0] is MemoryError


@pytest.mark.parametrize("error", [NotReady("the store is away"), Overloaded("no connection is free")])
def test_a_service_that_is_not_able_is_not_asked_again_for_each(
    play: Callable[[Main], None], error: RequestError
) -> None:
    async def main() -> None:
        toy = Toy()
        assert await outcomes(asked(made(toy), *(Ask(n, error=error) for n in range(9)))) == [error] * 9
        assert len(toy.batches) == 1

    play(main())


def test_a_wrong_number_of_results_gives_nobody_the_answer_of_another(
    play: Callable[[Main], None], caplog: pytest.LogCaptureFixture
) -> None:
    def run(asks: list[Ask]) -> list[tuple[int, int]]:  # number 2 gets no answer
        return [(ask.number, ask.rows) for ask in asks if ask.number != 2]

    async def main() -> None:
        found = await outcomes(asked(made(run), *(Ask(n) for n in range(5))))
        assert isinstance(found.pop(2), Failed)
        assert found == [(0, 1), (1, 1), (3, 1), (4, 1)]

    play(main())
    assert "0 results for 1 items" in caplog.text


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("last", [SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("loop_factory", LOOPS.values(), ids=LOOPS)
def test_when_the_process_is_told_to_end_nobody_hangs(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], last: BaseException, threaded: bool
) -> None:
    ends = [last]

    def run(asks: list[Ask]) -> list[tuple[int, int]]:
        if ends:
            raise ends.pop()
        return [(ask.number, ask.rows) for ask in asks]

    runner = made(run, cap=2, threaded=lambda _: threaded)
    loop = loop_factory()
    tasks = [loop.create_task(runner.async_run(Ask(n))) for n in range(3)]
    with pytest.raises(type(last)):
        loop.run_until_complete(outcomes(tasks))
    found = loop.run_until_complete(outcomes(tasks))
    assert [type(outcome) for outcome in found] == [Failed, Failed, tuple]
    loop.run_until_complete(runner.close(60))
    loop.close()


def test_a_batch_that_cannot_be_started_leaves_nobody_hanging(play: Callable[[Main], None]) -> None:
    def no_thread(rows: int) -> bool:
        if rows > 1:
            raise RuntimeError("can't start new thread")
        return False

    async def main() -> None:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        runner = made(Toy(), threaded=no_thread)
        assert [type(outcome) for outcome in await outcomes(asked(runner, Ask(0), Ask(1)))] == [Failed, Failed]
        assert [str(error) for error in told] == ["can't start new thread"]
        assert await outcomes(asked(runner, Ask(2))) == [(2, 1)]

    play(main())


# The end, and who looks on


def test_closing_answers_what_was_accepted_and_refuses_what_comes_after(play: Callable[[Main], None]) -> None:
    async def main() -> None:
        toy = Toy()
        runner = made(toy, cap=1, threaded=always)
        tasks = await held(runner, toy, Ask(0), Ask(1), Ask(2))
        closing = asyncio.ensure_future(runner.close(60))
        await turn()
        with pytest.raises(NotReady):
            await runner.async_run(Ask(3))
        with pytest.raises(NotReady):
            runner.admit(1)
        assert not closing.done()
        toy.release(3)
        await closing
        assert await outcomes(tasks) == [(0, 1), (1, 1), (2, 1)]
        await runner.close(60)

    play(main())


def test_closing_ends_when_the_last_who_waited_leaves(play: Callable[[Main], None]) -> None:
    async def main() -> None:
        runner = made(Toy())
        [task] = asked(runner, Ask(0))
        await turn()
        task.cancel()
        async with asyncio.timeout(60):
            await runner.close(60)

    play(main())


def test_closing_that_runs_out_of_time_leaves_nobody_hanging(
    play: Callable[[Main], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        toy = Toy()
        runner = made(toy, threaded=always)
        tasks = await held(runner, toy, Ask(0), Ask(1, 4))
        await runner.close(0)
        assert [type(outcome) for outcome in await outcomes(tasks)] == [NotReady, NotReady]
        assert runner.queued_rows == 0
        toy.release()
        await until(lambda: runner.running_rows == 0)
        assert toy.numbers == [0]

    play(main())
    assert "5 rows were not answered" in caplog.text


def test_the_observer_is_told_of_each_batch_and_each_wait(play: Callable[[Main], None]) -> None:
    batches: list[tuple[int, float]] = []
    waits: list[float] = []

    class Watching:
        def batch(self, rows: int, seconds: float, /) -> None:
            batches.append((rows, seconds))

        def waited(self, seconds: float, /) -> None:
            waits.append(seconds)

    async def main() -> None:
        await outcomes(asked(made(Toy(), cap=5, observe=Watching()), Ask(0, 2), Ask(1, 3), Ask(2, 4)))

    play(main())
    assert [rows for rows, _ in batches] == [5, 4]
    assert len(waits) == 3
    assert all(seconds >= 0 for seconds in [*waits, *(seconds for _, seconds in batches)])


# All of it at once

ERRORS = {"fine": None, "refused": NotAccepted("its own"), "broken": KeyError("inside"), "down": NotReady("away")}
ASK = st.tuples(
    st.just("ask"),
    st.integers(1, 14),
    st.sampled_from(["fine"] * 6 + ["refused", "broken", "down"]),
    st.sampled_from([None, None, None, 0.0, 0.0003]),
)
STEP = st.one_of(
    ASK,
    ASK,
    st.tuples(st.just("cancel"), st.integers(0, 60)),
    st.tuples(st.just("turn"), st.integers(1, 5)),
    st.tuples(st.just("release"), st.integers(1, 3)),
)


@given(
    steps=st.lists(STEP, max_size=60),
    cap=st.integers(1, 20),
    queue=st.integers(10, 60),
    thread_above=st.sampled_from([0, 5, 1_000]),
    parallel=st.integers(1, 2),
    turns=st.integers(1, 3),
)
@effort(max_examples=examples(600), deadline=None)
def test_everyone_gets_their_own_answer_or_their_own_error(
    steps: list[tuple[Any, ...]], cap: int, queue: int, thread_above: int, parallel: int, turns: int
) -> None:
    logging.getLogger("holdfast.serving").disabled = True  # thousands of tracebacks, all meant
    try:
        uvloop.run(_interleaved(steps, cap, queue, lambda rows: rows > thread_above, parallel, turns))
    finally:
        logging.getLogger("holdfast.serving").disabled = False


async def _interleaved(
    steps: list[tuple[Any, ...]], cap: int, queue: int, threaded: Callable[[int], bool], parallel: int, turns: int
) -> None:
    toy = Toy()
    runner = made(toy, cap=cap, queue=queue, threaded=threaded, parallel=parallel)
    asks: list[Ask] = []
    tasks: list[asyncio.Task[tuple[int, int]]] = []
    full: set[int] = set()  # refused, and rightly so
    left: set[int] = set()  # cancelled before they had an answer
    hurried: set[int] = set()  # may be late

    async def client(ask: Ask, deadline: float | None) -> tuple[int, int]:
        idle = runner.queued_rows == runner.running_rows == 0
        if not idle and runner.queued_rows + len(ask) > queue:
            full.add(ask.number)
        return await runner.async_run(ask, deadline=deadline, turns=turns)

    for step in steps:
        match step:
            case ("ask", rows, kind, seconds):
                asks.append(Ask(len(asks), rows, ERRORS[kind]))
                if seconds is not None:
                    hurried.add(asks[-1].number)
                deadline = None if seconds is None else time.monotonic() + seconds
                tasks.append(asyncio.ensure_future(client(asks[-1], deadline)))
            case ("cancel", which) if tasks and not tasks[which % len(tasks)].done():
                tasks[which % len(tasks)].cancel()
                left.add(which % len(tasks))
            case ("turn", times):
                await turn(times)
            case ("release", calls):
                toy.release(calls)
    toy.release(10_000)
    found = await outcomes(tasks)
    await until(lambda: runner.running_rows == 0)
    assert runner.queued_rows == 0

    computed = set(toy.numbers)
    down = {ask.number for batch in toy.batches for ask in batch if any(a.error is ERRORS["down"] for a in batch)}
    for ask, outcome in zip(asks, found, strict=True):
        if isinstance(outcome, asyncio.CancelledError):
            assert ask.number in left
        elif isinstance(outcome, Late):
            assert ask.number in hurried - computed
        elif isinstance(outcome, Overloaded):
            assert ask.number in (full | hurried) - computed
        elif isinstance(outcome, NotReady):
            assert ask.number in down
        elif isinstance(ask.error, KeyError):
            assert isinstance(outcome, Failed)
        else:
            assert outcome == ((ask.number, ask.rows) if ask.error is None else ask.error)
            assert ask.number in computed
            assert ask.number not in full
    assert all(len(batch) == 1 or sum(len(ask) for ask in batch) <= cap for batch in toy.batches)
    assert toy.most <= parallel
    if parallel == 1:
        assert toy.numbers == sorted(toy.numbers)
    await runner.close(60)
