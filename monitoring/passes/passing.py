"""One pass of monitoring: what the log holds since the last one is counted, windows are closed and judged.

A pass commits after every chunk of the log. With it goes all that was made of it, and how far the log was read:
whenever a pass is killed, the next one goes on behind the last commit, and each record is counted exactly once. Two
passes may run at once; the one that commits second is refused, and nothing of its chunk is kept.

Every answer is counted once, in the window that is open when it is read. ("records", "counted") are all of these;
"late" are those among them that were answered before an earlier window had ended. Not counted are "duplicate": ids that
were counted before, as far back as `duplicates.KEPT` (PostgreSQL holds no id twice); and "unknown_model": answers of
models that have no profile here.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from features import clock
from model import store
from model.archive import Away
from model.artefact import ArtefactError
from model.predictions.block import Block
from model.predictions.reading import Log
from model.predictions.tail import ROWS, Chunk, read_on
from model.profile import Profile, ProfileError
from monitoring.ledger import Change, Closed, Fact, Ledger
from monitoring.passes.duplicates import fresh
from monitoring.passes.stream import Stream
from monitoring.window import Window
from usecases import UseCase

PROFILE = "profile.json"


class Watcher(Protocol):
    """Looks at more than windows: outcomes, skew, quality."""

    def watch(self, pass_: Pass) -> None:
        """Look at what was read, and put what is found into the pass; before every commit."""


@dataclass(frozen=True)
class Passed:
    """What a pass did. Times are microseconds.

    Attributes:
        counts: what was added to counters.
        closed: windows, in order, without their counts; of their verdicts the findings only, for there may be many.
        newest: when the newest answer was given that was read; None where none was.
        unknown: answers by models that have no profile here, and why. trouble: parts of the log that cannot be read on.
    """

    began: int
    seconds: float
    counts: Mapping[tuple[str, str], int]
    closed: list[Closed]
    newest: int | None
    unknown: Mapping[str, tuple[int, str]]
    trouble: list[str]

    @property
    def alarms(self) -> list[Closed]:
        """Windows that alarm."""
        return [one for one in self.closed if one.alarm]


@dataclass
class Pass:
    """What a watcher is given, once per commit: all that it puts here is committed with the chunk, or not at all, so
    that it looks at each record exactly once.

    Attributes:
        ledger: as it was before this commit. log: the whole of it.
        chunk: what was read of it for this commit; of its blocks, duplicates and models without a profile are left out.
        now: the clock on the wall when the pass began, microseconds.
        closed: windows that this commit closes, so far.
        last: whether the log was read to its end, and this is the last commit of the pass.
    """

    usecase: UseCase
    ledger: Ledger
    log: Log
    chunk: Chunk
    now: int
    closed: list[Closed]
    _change: Change
    _streams: Streams

    @property
    def last(self) -> bool:
        """Whether this is the last commit of the pass."""
        return self.chunk.last

    def profile(self, model: str) -> Profile | None:
        """The profile of a model; None where it has none here."""
        stream = self._streams.of(model)
        return stream.profile if stream else None

    def add(self, model: str, window: Window) -> None:
        """Add counts, such as those of outcomes that matured, to the window of a model that is open now.

        Raises:
            KeyError: if the model has no profile here.
        """
        stream = self._streams.of(model)
        if stream is None:
            raise KeyError(model)
        stream.add(window)
        self._streams.touched.add(model)

    def count(self, name: str, label: str, more: int = 1) -> None:
        """Add to a counter."""
        self._change.counters[name, label] += more

    def fact(self, kind: str, body: Mapping[str, Any], model: str | None = None) -> None:
        """A result, for `Ledger.facts`."""
        self._change.facts.append(Fact(kind, model, clock.now(), body))

    def note(self, name: str, value: bytes | None) -> None:
        """Keep something under a name, for `noted`; None: no longer."""
        self._change.notes[name] = value

    def noted(self, name: str) -> bytes | None:
        """What is kept under that name."""
        return self._change.notes[name] if name in self._change.notes else self.ledger.note(name)


@dataclass
class Streams:
    """The streams of all models, as far as they were asked for.

    Attributes:
        unknown: models that have no profile here, and why. touched: those that have other counts since the last commit.
    """

    usecase: UseCase
    ledger: Ledger
    find: Callable[[str], Path]
    unknown: dict[str, str] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    _known: dict[str, Stream] = field(default_factory=dict)

    def of(self, model: str) -> Stream | None:
        """That of a model; None where it has no profile here."""
        if model not in self._known and model not in self.unknown:
            try:
                profile = Profile.load(self.find(model) / PROFILE)
            except (store.ModelNotFound, ArtefactError, ProfileError) as error:
                self.unknown[model] = str(error)
            else:
                self._known[model] = Stream(model, profile, self.usecase.watch, self.ledger)
        return self._known.get(model)

    def close_due(self, now: int) -> None:
        """Close windows that are due, of every model."""
        for model in {*self.ledger.models(), *self.touched}:
            with suppress(Away):  # a model of before, whose window can wait
                if (stream := self.of(model)) is not None and stream.due(now):
                    stream.close()
                    self.touched.add(model)

    def closed(self) -> list[Closed]:
        """Windows that were closed since the last commit."""
        return [one for model in sorted(self.touched) for one in self._known[model].closed]

    def drain(self, change: Change) -> list[Closed]:
        """Put what is new into a change; the windows that were closed."""
        change.closed = self.closed()
        for model in self.touched:
            stream = self._known[model]
            change.opened[model] = stream.opened()
            change.facts += stream.facts
            stream.closed, stream.facts = [], []
        self.touched.clear()
        return change.closed


def run(
    usecase: UseCase,
    ledger: Ledger,
    log: Log,
    watchers: Sequence[Watcher] = (),
    *,
    rows: int = ROWS,
    tell: Callable[[int, list[Closed]], None] = lambda *_: None,
    find: Callable[[str], Path] = store.path,
) -> Passed:
    """Read the log on to its end, as it is now.

    Args:
        rows: answers per commit, about.
        tell: called after each commit with the answers counted so far, and the windows that it closed.
        find: the directory of the model of a tag; where it raises anything but ModelNotFound and ArtefactError, nothing
            is known of its answers now, and nothing is passed over: the pass ends with that error.

    Raises:
        Busy: if another pass committed meanwhile. StoreError: if log or ledger cannot be read or written. In any case
            what was committed stands.
    """
    with _rarely_collected():
        return _run(usecase, ledger, log, watchers, rows, tell, find)


def _run(
    usecase: UseCase,
    ledger: Ledger,
    log: Log,
    watchers: Sequence[Watcher],
    rows: int,
    tell: Callable[[int, list[Closed]], None],
    find: Callable[[str], Path],
) -> Passed:
    began, start, counts = clock.now(), time.monotonic(), Counter[tuple[str, str]]()
    number, streams, windows = ledger.number(), Streams(usecase, ledger, find), list[Closed]()
    strangers, trouble, newest = Counter[str](), list[str](), list[int]()
    for chunk in read_on(log, ledger.cursor(), rows):
        change = Change(number, chunk.cursor, chunk.forgotten)
        blocks = _counted(chunk, ledger, streams, change, strangers)
        newest += [int(block.times.max()) for block in blocks]
        if chunk.last:
            streams.close_due(began)
        passing = Pass(usecase, ledger, log, replace(chunk, blocks=blocks), began, streams.closed(), change, streams)
        for watcher in watchers:
            watcher.watch(passing)
        closed = streams.drain(change)
        windows += map(_brief, closed)
        trouble += chunk.trouble
        counts += change.counters
        passed = Passed(
            began,
            time.monotonic() - start,
            counts,
            windows,
            max(newest, default=None),
            {model: (often, streams.unknown[model]) for model, often in strangers.items()},
            trouble,
        )
        if chunk.last:
            change.facts.append(_fact(passed, ledger))
        number = ledger.commit(change)
        tell(counts["records", "counted"], closed)
    return passed


def _brief(one: Closed) -> Closed:
    return replace(one, window=b"", verdict={name: one.verdict[name] for name in ("alarm", "findings")})


@contextmanager
def _rarely_collected() -> Iterator[None]:
    """A chunk is hundreds of thousands of objects that live for a second: to look through them doubles the time."""
    former = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*former)


def _fact(passed: Passed, ledger: Ledger) -> Fact:
    """Of kind "pass": what it did. `newest` is of this pass or, where it read nothing, of one before."""
    newest = passed.newest
    if newest is None:
        newest = next((said["newest"] for said in ledger.facts("pass", last=1)), None)
    said = {
        "began": passed.began,
        "seconds": round(passed.seconds, 3),
        "records": {label: more for (name, label), more in passed.counts.items() if name == "records"},
        "windows": len(passed.closed),
        "alarms": len(passed.alarms),
        "newest": newest,
        "unknown": {model: why for model, (_, why) in passed.unknown.items()},
        "trouble": passed.trouble,
    }
    return Fact("pass", None, clock.now(), said)


def _counted(chunk: Chunk, ledger: Ledger, streams: Streams, change: Change, strangers: Counter[str]) -> list[Block]:
    """Count the answers of a chunk; those that were counted, without duplicates."""
    blocks = list(chunk.blocks) if chunk.unique else fresh(chunk.blocks, ledger, change)
    known = []
    for block in blocks:
        stream = streams.of(block.model)
        if stream is None:
            strangers[block.model] += len(block)
            change.counters["records", "unknown_model"] += len(block)
            continue
        streams.touched.add(block.model)
        change.counters["records", "counted"] += len(block)
        if late := stream.count(block):
            change.counters["records", "late"] += late
        known.append(block)
    return known
