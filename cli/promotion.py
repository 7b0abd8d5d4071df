"""A promotion: the gate's word on a model beside the champion, and what is journalled of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from cli.workspace import Workspace
from features.store.base import StoreError
from model import store
from model.registry import CHAMPION, Check, Entry
from settings import HoldfastError
from training.dataset import LeakageError
from training.promotion import Judged, judge


class PromotionRefused(HoldfastError, RuntimeError):
    """The gate refused to let a model go live; the message lists every reason, and the journal has them."""


@dataclass(frozen=True)
class Promotion:
    """What became of it; `entry` is None where nothing was journalled."""

    outcome: Literal["promoted", "forced", "refused", "champion"]
    judged: Judged | None
    entry: Entry | None

    def result(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        judged, entry = self.judged, self.entry
        return {
            "outcome": self.outcome,
            "model": None if judged is None else judged.tag,
            "before": None if judged is None else judged.champion,
            "checks": [] if judged is None else judged.checks,
            "reasons": [] if judged is None else judged.reasons,
            "journal": None if entry is None else {"number": entry.number, "time": entry.time, "who": entry.who},
        }


def judged(workspace: Workspace, tag: str) -> Judged:
    """What the gate says of a stored model beside the champion of now.

    What keeps it from comparing is a check that did not pass, not an error: it can be forced, knowingly.

    Raises:
        ModelNotFound: if there is no such model.
    """
    usecase, champion = workspace.usecase, workspace.registry.alias(workspace.usecase.name)
    directory, manifest = store.path(tag), store.manifest(tag)
    try:
        before = None if champion is None else store.path(champion)
        for _ in workspace.prepare():
            pass
        return judge(usecase, workspace.events, directory, before, as_of=workspace.now, cache=workspace.cache)
    except (StoreError, LeakageError, store.ModelNotFound) as error:
        failed = Check(check="champion", value=None, limit=None, passed=False, said=f"nothing to compare on: {error}")
        return Judged(tag, manifest.content_digest, champion, [failed])


def promote(workspace: Workspace, tag: str, *, why: str, force: bool = False) -> Promotion:
    """Make a model the champion if the gate lets it pass, or `force` it; a refusal is journalled with every reason.

    A model that would not load here cannot be forced: nothing could serve it.

    Raises:
        HoldfastError: to force without a reason.
        Conflict: if another model became the champion while this one was judged.
    """
    name, registry = workspace.usecase.name, workspace.registry
    if force and not why.strip():
        raise HoldfastError("--force needs a reason that stands in the journal for ever: --why '...'")
    if registry.alias(name) == tag:
        return Promotion("champion", None, registry.decided(name))
    found = judged(workspace, tag)
    loads = all(check["passed"] for check in found.checks if check["check"] == "loads")
    if not found.passed and not (force and loads):
        entry = registry.refuse(
            name, tag, why=why, proof="; ".join(found.reasons), checks=found.checks, content=found.content
        )
        return Promotion("refused", found, entry)
    entry = registry.promote(
        name,
        tag,
        why=why,
        proof=found.proof,
        content=found.content,
        checks=found.checks,
        forced=not found.passed,
        expected=found.champion,
    )
    return Promotion("promoted" if found.passed else "forced", found, entry)


def told(promotion: Promotion, name: str) -> str:
    """What happened, in a sentence."""
    judged, entry = promotion.judged, promotion.entry
    if judged is None or entry is None:
        return f"{entry.tag if entry else name} is {name}@{CHAMPION} already"
    forced = "" if promotion.outcome == "promoted" else f" BY FORCE, although: {'; '.join(judged.reasons)}"
    return f"{judged.tag} is {name}@{CHAMPION}, before: {judged.champion or 'none'}{forced}"
