"""The artefact: a directory that holds a model and everything needed to know, check and reproduce it.

    manifest.json     what it is, what it was made of, and sha256 of every other file
    manifest.sha256   sha256 of the manifest itself, as `sha256sum --check` reads it
    model.ubj         XGBoost's trees, or model.json with the coefficients of a logistic regression
    calibration.json  slope and offset; decision.json  threshold and the costs it came from
    golden.json       raw inputs and exact answers; profile.json  the reference of monitoring
    heldout.npy       answers on the examples that training kept away from the model (since format 2)
    card.md, .html    the same for people

To change the format: raise FORMAT, keep reading the old one, and keep an artefact of the old one in the tests.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from features.featureset import FeatureSet
from model import estimators
from model.estimators import Boosted, Linear
from model.scorer import Calibration, Decision, Scorer
from settings import HoldfastError

FORMAT: Final = 2
MANIFEST, SEAL = "manifest.json", "manifest.sha256"
RESTORE: Final = (
    "restore the artefact from where it was stored, or delete it (`bentoml models delete TAG`) and train again"
)
CARDS = ("card.md", "card.html")
NOT_CONTENT = ("created_at", "version", "parent", "git_commit", "libraries", "numeric", "files", "content_digest")
"""Fields of the manifest that are a time, a version, a parent or a machine; `files` is counted file by file."""


class ArtefactError(HoldfastError, ValueError):
    """An artefact is not what it says it is; the message names the file and what to do."""


class Library(BaseModel):
    """A library that computes scores: the version at training, and those with which the scores may be trusted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    accepts: str


class Dataset(BaseModel):
    """The training set: its content's hash, its rows, and the label times (RFC 3339) of each part."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    content: str
    rows: dict[str, int]
    positives: dict[str, int]
    label_times: dict[str, list[str]]


class Manifest(BaseModel):
    """What an artefact is. Times are RFC 3339; digests are sha256 in hex."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1, 2]
    name: str
    version: str
    algorithm: Literal["xgboost", "logistic"]
    created_at: str
    git_commit: str | None
    parent: str | None
    fingerprint: str
    inputs: list[str]
    dataset: Dataset
    libraries: dict[str, Library]
    numeric: dict[str, Any]
    parameters: dict[str, Any]
    search: dict[str, Any] | None = None
    """How the parameters were searched for: since format 2, None without a search."""
    metrics: dict[str, Any]
    files: dict[str, str]
    content_digest: str

    @property
    def tag(self) -> str:
        """NAME:VERSION."""
        return f"{self.name}:{self.version}"


def digest(path: Path) -> str:
    """sha256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def content_digest(fields: dict[str, Any], files: dict[str, str]) -> str:
    """sha256 over what the model is: the manifest less `NOT_CONTENT`, and every file but the cards."""
    content = {name: value for name, value in fields.items() if name not in NOT_CONTENT}
    content["files"] = {name: value for name, value in files.items() if name not in CARDS}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """A JSON file for people and programs: sorted, indented, with no NaN."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def seal(directory: Path, manifest: Manifest) -> None:
    """Write the manifest and its seal, and make everything readable for any user (0644, directories 0755)."""
    write_json(directory / MANIFEST, manifest.model_dump(exclude_unset=True))
    (directory / SEAL).write_text(f"{digest(directory / MANIFEST)}  {MANIFEST}\n")
    directory.chmod(0o755)
    for path in directory.iterdir():
        path.chmod(0o755 if path.is_dir() else 0o644)


def read_manifest(directory: Path) -> Manifest:
    """The manifest, if its seal holds.

    Raises:
        ArtefactError: if there is none, a byte of it changed, or a later release wrote it.
    """
    path = directory / MANIFEST
    if not path.exists():
        raise ArtefactError(f"{directory} holds no {MANIFEST}: it is no Holdfast artefact")
    try:
        sealed = (directory / SEAL).read_bytes()
    except OSError as error:
        raise ArtefactError(f"{SEAL} cannot be read ({error}): {RESTORE}") from None
    if sealed != f"{digest(path)}  {MANIFEST}\n".encode():
        raise ArtefactError(f"{path} is not what {SEAL} sealed: {RESTORE}")
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ArtefactError(
            f"{path} is of no format this release reads (1 to {FORMAT}): run the release that wrote it, or train "
            f"again ({error})"
        ) from None


def check_files(directory: Path, manifest: Manifest) -> list[str]:
    """Which files are missing or changed, in words; and whether the content digest is that of the content."""
    problems = []
    for name, expected in manifest.files.items():
        path = directory / name
        found = digest(path) if path.exists() else "missing"
        if found != expected:
            problems.append(f"{name}: sha256 is {found}, the manifest says {expected}")
    # of what its own format has, without what later ones added
    if content_digest(manifest.model_dump(exclude_unset=True), manifest.files) != manifest.content_digest:
        problems.append(f"content_digest: the manifest's own content does not give {manifest.content_digest}")
    return problems


def write_parts(directory: Path, scorer: Scorer, golden: list[dict[str, Any]], profile: dict[str, Any]) -> None:
    """Write what the scorer, the golden rows and the reference of monitoring are."""
    scorer.model.write(directory)
    write_json(directory / "calibration.json", asdict(scorer.calibration))
    write_json(directory / "decision.json", {**asdict(scorer.decision), "costs": dict(scorer.decision.costs)})
    write_json(directory / "golden.json", golden)
    write_json(directory / "profile.json", profile)


def read_scorer(directory: Path, manifest: Manifest, features: FeatureSet) -> Scorer:
    """The scorer of an artefact whose files were checked."""
    return Scorer(features, *read_parts(directory, manifest))


def read_parts(directory: Path, manifest: Manifest) -> tuple[Boosted | Linear, Calibration, Decision]:
    """What answers from the model's matrix, of an artefact whose files were checked."""
    return (
        estimators.read(manifest.algorithm, directory),
        Calibration(**json.loads((directory / "calibration.json").read_text())),
        Decision(**json.loads((directory / "decision.json").read_text())),
    )


def read_golden(directory: Path) -> list[dict[str, Any]]:
    """The golden rows."""
    rows: list[dict[str, Any]] = json.loads((directory / "golden.json").read_text())
    return rows
