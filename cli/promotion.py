"""A promotion: the gate's word on a model beside the champion, and what is journalled of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from cli.workspace import Workspace
from features.store.base import StoreError
from model import store
from model.artefact import ArtefactError, read_manifest
from model.registry import CHAMPION, Check, Entry
from settings import HoldfastError
from training.dataset import LeakageError
from training.promotion import Judged, judge


class PromotionRefused(HoldfastError, RuntimeError):
    """The gate refused to let a model go live; the message lists every reason, and the journal has them."""


@dataclass(frozen=True)
class Promotion:
    """What became of it: `entry` is what the journal says of it, `judged` what the gate said, None where the alias was
    the model's already."""

    outcome: Literal["promoted", "forced", "refused", "already"]
    judged: Judged | None
    entry: Entry

    def result(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        judged, entry = self.judged, self.entry
        return {
            "outcome": self.outcome,
            "model": entry.tag,
            "champion": entry.tag if judged is None else judged.champion,
            "checks": [] if judged is None else judged.checks,
            "reasons": [] if judged is None else judged.reasons,
            "journal": {"number": entry.number, "time": entry.time, "who": entry.who},
        }


def judged(workspace: Workspace, tag: str) -> Judged:
    """What the gate says of a stored model beside the champion of now.

    What keeps it from comparing is a check that did not pass, not an error: it can be forced, knowingly.

    Raises:
        ModelNotFound: if there is no such model. Away: if the champion is where archives are, and that is out of reach.
    """
    usecase, champion = workspace.usecase, workspace.registry.alias(workspace.usecase.name)
    directory = workspace.models.path(tag)
    manifest = read_manifest(directory)
    try:
        before = None if champion is None else workspace.models.path(champion)
        for _ in workspace.prepare():
            pass
        return judge(usecase, workspace.events, directory, before, as_of=workspace.now, cache=workspace.cache)
    except (ArtefactError, StoreError, LeakageError, store.ModelNotFound) as error:
        failed = Check(check="champion", value=None, limit=None, passed=False, said=f"nothing to compare on: {error}")
        return Judged(tag, manifest.content_digest, champion, [failed])


def promote(workspace: Workspace, tag: str, *, why: str, force: bool = False, alias: str = CHAMPION) -> Promotion:
    """Make a model the champion if the gate lets it pass, or `force` it; a refusal is journalled with every reason.

    Another `alias` may be its name instead: the gate still asks whether it could be the champion.

    A model that would not load here cannot be forced: nothing could serve it.

    Raises:
        HoldfastError: to force without a reason.
        Conflict: if the alias went to another model while this one was judged.
    """
    name, registry = workspace.usecase.name, workspace.registry
    if force and not why.strip():
        raise HoldfastError("--force needs a reason that stands in the journal for ever: --why '...'")
    last = registry.decided(name, alias)
    if last is not None and last.tag == tag:
        return Promotion("already", None, last)
    found = judged(workspace, tag)
    if not found.passed and not (force and found.loads):
        reasons = "; ".join(found.reasons)
        entry = registry.refuse(
            name, tag, why=why, proof=reasons, checks=found.checks, alias=alias, content=found.content
        )
        return Promotion("refused", found, entry)
    entry = registry.promote(
        name,
        tag,
        why=why,
        proof=found.proof,
        alias=alias,
        content=found.content,
        checks=found.checks,
        forced=not found.passed,
        expected=None if last is None else last.tag,
    )
    return Promotion("promoted" if found.passed else "forced", found, entry)


def told(promotion: Promotion) -> str:
    """What happened, in a sentence."""
    judged, entry = promotion.judged, promotion.entry
    name = f"{entry.usecase}@{entry.alias}"
    if judged is None:
        return f"{entry.tag} is {name} already"
    if promotion.outcome == "refused":
        return f"{judged.tag} is not good enough: {'; '.join(judged.reasons)}"
    forced = "" if promotion.outcome == "promoted" else f" BY FORCE, although it did not pass: {judged.failed}"
    return f"{judged.tag} is {name}, before: {entry.before or 'none'}{forced}"
