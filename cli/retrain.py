"""A retraining, asked for by a schedule or by a verdict: one at a time, and judged before anything goes live."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from cli.promotion import Promotion, promote, told
from cli.workspace import Workspace
from features import clock
from model import archive, store
from model.artefact import ArtefactError
from model.estimators import Boosted
from model.registry import CANDIDATE, CHAMPION, Busy, Entry
from monitoring.ledger import Ledger
from monitoring.passes import asking
from settings import HoldfastError
from training.progress import Step
from training.train import Trained, train

Outcome = Literal["promoted", "candidate", "refused", "unchanged", "cooling", "quiet", "busy"]
EXIT: dict[Outcome, int] = {
    "promoted": 0,
    "candidate": 0,
    "unchanged": 0,
    "cooling": 0,
    "quiet": 0,
    "refused": 3,
    "busy": 4,
}
"""What the command ends with where somebody reads it; 1 is an error and 2 a wrong command line."""


class Verdict(BaseModel):
    """The file that monitoring leaves: whether there is an alarm, when it was judged, and what about (other fields are
    passed over)."""

    model_config = ConfigDict(extra="ignore")

    usecase: str
    alarm: bool
    judged_at: AwareDatetime
    findings: list[dict[str, Any]] = []

    @staticmethod
    def asked(usecase: str, request: Mapping[str, Any]) -> Verdict:
        """That of a request in monitoring's ledger."""
        at = datetime.fromisoformat(clock.rfc3339(request["asked"]))
        return Verdict(usecase=usecase, alarm=True, judged_at=at, findings=request["findings"])

    @staticmethod
    def read(path: Path) -> Verdict:
        """The verdict in a file.

        Raises:
            HoldfastError: if there is none, or it is no verdict.
        """
        try:
            return Verdict.model_validate_json(path.read_bytes())
        except OSError as error:
            raise HoldfastError(f"--verdict {path} cannot be read: {error.strerror}") from None
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())
            raise HoldfastError(
                f'--verdict {path} is no verdict: {wrong}; it is {{"usecase", "alarm", "judged_at", "findings"}}'
            ) from None


@dataclass(frozen=True)
class Request:
    """What is asked for: an algorithm (None: the champion's), a search of so many `trials`, promotion or just a
    candidate, no sooner than `cooldown` (microseconds) after the last decision, and only if the verdict alarms, where
    there is one; and where the model is pushed to before an alias is its (None: it stays here)."""

    algorithm: str | None
    trials: int
    promote: bool
    cooldown: int
    verdict: Verdict | None
    why: str
    push: str | None = None


@dataclass(frozen=True)
class Retrained:
    """What became of it. `trained`, `pushed` and `promotion` are None where it did not come to that."""

    outcome: Outcome
    usecase: str
    said: str
    trained: Trained | None = None
    promotion: Promotion | None = None
    pushed: archive.Pushed | None = None

    @property
    def code(self) -> int:
        """What the command ends with, unless nobody reads it."""
        return EXIT[self.outcome]

    def result(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        manifest = None if self.trained is None else self.trained.manifest
        return {
            "outcome": self.outcome,
            "code": self.code,
            "usecase": self.usecase,
            "said": self.said,
            "model": None if manifest is None else manifest.tag,
            "content_digest": None if manifest is None else manifest.content_digest,
            "pushed": None if self.pushed is None else self.pushed.reference,
            "gate": None if self.promotion is None else self.promotion.result(),
        }


def retrain(workspace: Workspace, request: Request, progress: Step, ledger: Ledger | None = None) -> Retrained:
    """Train on everything known now, ask the gate, and promote the model or make it the candidate.

    Args:
        ledger: train only if monitoring asks for a new model there; once it has one, or was refused one, the request is
            closed.

    Raises:
        HoldfastError: whatever training says; nothing is live that was not before, and a request stays open.
    """
    name = workspace.usecase.name
    try:
        with workspace.registry.exclusive(f"retraining {name}"):
            asked = None if ledger is None else asking.unanswered(ledger)
            if ledger is not None and asked is None:
                return quiet(name, ledger)
            if asked is not None:
                request = replace(request, verdict=Verdict.asked(name, asked))
            found = _early(workspace, request) or _trained(workspace, request, progress)
            if ledger is not None and asked is not None and found.trained is not None:
                asking.settle(ledger, asked["asked"], f"{found.outcome}: {found.said}")
            return found
    except Busy as error:
        return Retrained("busy", name, str(error))


def quiet(name: str, ledger: Ledger) -> Retrained:
    """What becomes of it where nobody asks."""
    return Retrained("quiet", name, f"monitoring asks for no new model in {ledger.where}")


def _early(workspace: Workspace, request: Request) -> Retrained | None:
    """Why not now; None where nothing speaks against it."""
    name, verdict, last = workspace.usecase.name, request.verdict, _last(workspace)
    if verdict is not None:
        judged_at = clock.micros(verdict.judged_at)
        if verdict.usecase != name:
            raise HoldfastError(f"the verdict is about {verdict.usecase!r}, not about {name!r}")
        if judged_at > clock.now() + clock.MINUTE:
            raise HoldfastError(
                f"the verdict was judged at {clock.rfc3339(judged_at)}, which is still to come: is a clock wrong?"
            )
        if not verdict.alarm:
            return Retrained("quiet", name, f"the verdict of {clock.rfc3339(judged_at)} has no alarm")
        if last is not None and judged_at <= clock.parse(last.time):
            return Retrained(
                "quiet",
                name,
                f"the verdict of {clock.rfc3339(judged_at)} is older than the last decision, {_told(last)}",
            )
    if last is not None:
        again = clock.parse(last.time) + request.cooldown
        if clock.now() < again:
            return Retrained("cooling", name, f"not before {clock.rfc3339(again)}: the last decision is {_told(last)}")
    return None


def _last(workspace: Workspace) -> Entry | None:
    """The last decision on a model of the use case, also a refusal or somebody's rollback."""
    decisions = ("promote", "rollback", "refuse")
    return next(
        (e for e in reversed(workspace.registry.entries(workspace.usecase.name)) if e.action in decisions), None
    )


def _told(entry: Entry) -> str:
    return f"{entry.action} of {entry.tag} by {entry.who} at {entry.time}"


def _trained(workspace: Workspace, request: Request, progress: Step) -> Retrained:
    name, registry = workspace.usecase.name, workspace.registry
    live = registry.decided(name)
    champion = None if live is None else live.tag
    for tag in registry.aliases(name).values():  # in the store, a model with their content is known to be one of them
        with suppress(store.ModelNotFound, ArtefactError):
            workspace.models.path(tag)
    trained = train(
        workspace.usecase,
        workspace.events,
        as_of=workspace.now,
        cache=workspace.cache,
        algorithm=request.algorithm or _algorithm(champion),
        parent=champion,
        trees=workspace.trees(),
        trials=request.trials,
        progress=progress,
    )
    made = trained.manifest
    pushed = None if request.push is None else archive.push(request.push, made.tag, progress)
    if live is not None and (made.tag == champion or made.content_digest == live.content):
        said = f"the same data, code and settings give {champion}, the champion, again"
        return Retrained("unchanged", name, said, trained, pushed=pushed)
    alias = CHAMPION if request.promote else CANDIDATE
    promotion = promote(workspace, made.tag, why=_why(request), alias=alias)
    outcomes: dict[str, Outcome] = {
        "already": "unchanged",
        "refused": "refused",
        "promoted": "promoted" if request.promote else "candidate",
    }
    return Retrained(outcomes[promotion.outcome], name, told(promotion), trained, promotion, pushed)


def _algorithm(champion: str | None) -> str:
    """That of the champion; XGBoost where there is none here."""
    return store.manifest(champion).algorithm if champion is not None and store.there(champion) else Boosted.algorithm


def _why(request: Request) -> str:
    about = ""
    if request.verdict is not None:
        columns = [str(finding.get("column", "?")) for finding in request.verdict.findings]
        about = f": alarm of {clock.rfc3339(clock.micros(request.verdict.judged_at))} about {', '.join(columns) or '?'}"
    return request.why or f"retrain{about}"
