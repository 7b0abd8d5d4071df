"""`holdfast replay`: logged answers computed again with the models of then, and what differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import islice
from typing import Annotated, Any

import typer

from cli.console import Json, Out
from cli.data import UseCaseOption
from cli.predictions import log_of, look_up
from cli.workspace import Workspace
from features import clock
from model import store
from model.artefact import ArtefactError
from model.gate import GateRefused
from model.predictions import Prediction
from model.predictions.entry import exact
from model.predictions.pseudonym import Pseudonyms
from model.replay import Difference, Events, Replay, Replayed, Stage
from settings import PREFIX, HoldfastError

Plain = Callable[[Prediction], str | None]

PART = 20_000
"""Predictions computed again at a time."""
SHOWN, LISTED = 20, 1_000
"""So many are told one by one, and with --json so many."""
FOREVER = 2**62
"""A time after all others, microseconds."""


def replay(
    name: Annotated[str | None, typer.Argument(metavar="[ID]", help="A prediction id, or a request's.")] = None,
    usecase: UseCaseOption = None,
    key: Annotated[str | None, typer.Option("--key", help="The plain key, where the log has pseudonyms.")] = None,
    last: Annotated[int | None, typer.Option("--last", min=1, help="The last so many answers.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="Answered at or after this time (RFC 3339).")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Answered before this time (RFC 3339).")] = None,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Compute logged answers again, with the model, the features and the events of then; exit 1 if any bit differs."""
    out, workspace = Out(as_json), Workspace.open(usecase)
    if [name is not None, last is not None, (start or end) is not None].count(True) != 1:
        raise HoldfastError("say which: an ID; or --last N; or --from TIME, --to TIME or both")
    if key is not None and name is None:
        raise HoldfastError("--key goes with an ID; for many, pseudonyms are looked up among those who have events")
    log, pseudonyms = log_of(workspace), Pseudonyms(workspace.settings.id_hmac_key)
    asked: Iterable[Prediction]
    if name is not None:
        asked = named = look_up(log, pseudonyms, name)
        keys, each = _named(named, key, pseudonyms), len(named) <= SHOWN
    else:
        limits = [None if text is None else clock.parse(text) for text in (start, end)]
        if limits[0] is not None and limits[1] is not None and limits[0] >= limits[1]:
            raise HoldfastError(f"--from {start} is not before --to {end}")
        asked = log.between(*limits) if last is None else log.newest(last)
        keys, each = everyone(workspace, pseudonyms), False
    run = _Run(workspace, Events(workspace.events, *keys) if workspace.usecase.features.sql else None, each)
    with out.progress() as progress:
        for done in run(asked):
            if name is None:
                progress("replay", done, max(done, len(asked) if isinstance(asked, list) else 0))
    run.tell(out)
    out.result(run.figures())
    if run.differ or run.missing:
        raise typer.Exit(1)


@dataclass
class _Run:
    """Replays predictions of any models, each loaded once, and counts what comes of it.

    Attributes:
        each: keep every prediction to be told, not only those that differ.
    """

    workspace: Workspace
    events: Events | None
    each: bool
    equal: int = 0
    differ: int = 0
    models: dict[str, Replay | str] = field(default_factory=dict)
    missing: Counter[str] = field(default_factory=Counter)
    stages: dict[str, Counter[str]] = field(default_factory=dict)
    kept: list[Replayed] = field(default_factory=list)

    def __call__(self, asked: Iterable[Prediction]) -> Iterator[int]:
        """How many are done, after each part."""
        rest = iter(asked)
        while part := list(islice(rest, PART)):
            for tag in dict.fromkeys(one.model for one in part):
                self._replay(tag, [one for one in part if one.model == tag])
            yield self.equal + self.differ + self.missing.total()

    def _replay(self, tag: str, own: Sequence[Prediction]) -> None:
        model = self._model(tag)
        if isinstance(model, str):
            self.missing[model] += len(own)
            return
        for one in model(own, self.events):
            self.equal += one.equal
            self.differ += not one.equal
            for stage in one.stages:
                count = self.stages.setdefault(stage.name, Counter())
                count[stage.why or ("differ" if stage.differences else "equal")] += 1
            if (self.each or not one.equal) and len(self.kept) < LISTED:
                self.kept.append(one)

    def _model(self, tag: str) -> Replay | str:
        """The model, or why there is none."""
        if tag not in self.models:
            usecase, enforce = self.workspace.usecase, self.workspace.settings.gate == "enforce"
            try:
                self.models[tag] = Replay(self.workspace.models.path(tag), usecase.features, enforce=enforce)
            except store.ModelNotFound as error:
                self.models[tag] = (
                    f"{error}; `holdfast models pull {tag}@sha256:DIGEST` brings it back from where it was pushed to"
                )
            except (ArtefactError, GateRefused) as error:
                self.models[tag] = str(error)
        return self.models[tag]

    def tell(self, out: Out) -> None:
        """The answers that are kept, then what came of all."""
        for one in self.kept[:SHOWN]:
            _tell(out, one)
        if len(self.kept) > SHOWN:
            out.say(f"and {self.differ - SHOWN:,} more that differ; --json lists {LISTED:,}")
        for why, count in self.missing.items():
            out.proved("not replayed", f"{_answers(count)}: {why}")
        loaded = [model for model in self.models.values() if isinstance(model, Replay)]
        for name, counted in () if self.each else self.stages.items():
            whys = [f"{n:,} not computed again: {why}" for why, n in counted.items() if why not in ("equal", "differ")]
            both = counted["equal"], counted["differ"]
            told = [f"{both[0]:,} equal, {both[1]:,} differ"] if sum(both) else []
            out.proved(name, "; ".join([*told, *whys]))
        how = " and ".join(dict.fromkeys(model.how for model in loaded))
        done = self.equal + self.differ
        if done:
            out.proved(
                "replay",
                f"{_answers(done)} of {len(loaded)} model(s): {self.equal:,} equal {how}, {self.differ:,} differ",
            )
        elif not self.missing:
            out.say(f"{self.workspace.usecase.name}: there is no such answer in the log")

    def figures(self) -> dict[str, Any]:
        """The same for programs."""
        stages = {
            name: {
                "equal": counted["equal"],
                "differ": counted["differ"],
                "not_computed": {why: n for why, n in counted.items() if why not in ("equal", "differ")},
            }
            for name, counted in self.stages.items()
        }
        return {
            "equal": self.equal,
            "differ": self.differ,
            "not_replayed": dict(self.missing),
            "stages": stages,
            "models": {tag: model.how for tag, model in self.models.items() if isinstance(model, Replay)},
            "predictions": [_document(one) for one in self.kept],
        }


def _named(asked: Sequence[Prediction], key: str | None, pseudonyms: Pseudonyms) -> tuple[Plain, str]:
    """From one of these predictions to its plain key, and why some have none.

    Raises:
        HoldfastError: if `key` is of none of them.
    """

    def own(one: Prediction) -> bool:
        return one.key == (pseudonyms(key or "") if one.hashed else key) and one.hashed in ("", pseudonyms.mark)

    if key is not None and not any(map(own, asked)):
        mark = next((one.hashed for one in asked if one.hashed not in ("", pseudonyms.mark)), "")
        why = f": keys are hashed with another secret than {PREFIX}ID_HMAC_KEY, of the mark {mark}" if mark else ""
        raise HoldfastError(f"--key {key!r} is not whom this answer is about{why}")

    def plain(one: Prediction) -> str | None:
        if not one.hashed:
            return one.key
        return key if key is not None and own(one) else None

    return plain, "the log has a pseudonym for the key: name it with --key"


def everyone(workspace: Workspace, pseudonyms: Pseudonyms) -> tuple[Plain, str]:
    """From any prediction to its plain key, and why some have none: pseudonyms are looked up among all with events."""

    @cache
    def known() -> dict[str, str]:
        return {pseudonyms(key): key for key in workspace.events.keys(FOREVER).tolist()}

    def plain(one: Prediction) -> str | None:
        if not one.hashed:
            return one.key
        return known().get(one.key) if one.hashed == pseudonyms.mark else None

    return plain, f"the log has a pseudonym for the key, and {PREFIX}ID_HMAC_KEY gives it for nobody with events"


def _tell(out: Out, one: Replayed) -> None:
    about = one.prediction
    flags = f"{'' if about.known else ', unknown'}{', degraded' if about.degraded else ''}"
    out.say(f"{about.prediction_id}  {about.key}{flags}, {about.model}, {clock.rfc3339(about.answered_at)}")
    for stage in one.stages:
        out.say(f"  {stage.name:<10}  {_said(stage)}")
        for found_ in stage.differences:
            out.say(f"  {'':<10}  {_differs(found_)}")


def _said(stage: Stage) -> str:
    if stage.why:
        return f"not computed again: {stage.why}"
    what = f"{len(stage.differences)} of {stage.compared} differ" if stage.differences else f"{stage.compared} equal"
    return f"{what}{f', {stage.about}' if stage.about else ''}"


def _differs(one: Difference) -> str:
    far = "" if one.ulps is None else f" ({one.ulps:,} ulp apart)"
    return f"{one.name}: logged {_shown(one.logged)}, now {_shown(one.now)}{far}"


def _shown(value: Any) -> str:
    return "nothing" if value is None else value if isinstance(value, str) else repr(value)


def _answers(count: int) -> str:
    return f"{count:,} answer{'' if count == 1 else 's'}"


def _document(one: Replayed) -> dict[str, Any]:
    about = one.prediction
    return {
        "prediction_id": about.prediction_id,
        "request_id": about.request_id,
        "key": about.key,
        "model": about.model,
        "answered_at": clock.rfc3339(about.answered_at),
        "equal": one.equal,
        "stages": [
            {**asdict(stage), "differences": [exact(asdict(found_)) for found_ in stage.differences]}
            for stage in one.stages
        ],
    }
