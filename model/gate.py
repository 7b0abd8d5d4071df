"""The load gate: a model is refused where it would not give the answers it gave when it was trained."""

from __future__ import annotations

import logging
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.specifiers import SpecifierSet

from features.aggregates import FeatureError
from features.featureset import FeatureSet
from model import golden, numeric
from model.artefact import (
    RESTORE,
    ArtefactError,
    Library,
    Manifest,
    check_files,
    read_golden,
    read_manifest,
    read_parts,
    read_scorer,
)
from model.estimators import Boosted, Linear
from model.scorer import Calibration, Decision, Scorer
from settings import HoldfastError

log = logging.getLogger("holdfast.gate")
XGBOOST = ("xgboost-cpu", "xgboost")
"""Distributions that carry the xgboost library; the first one installed counts."""


_AGAIN = "run the image it was built with, or train again"


class GateRefused(HoldfastError, RuntimeError):
    """The gate refused a model; `reasons` says everything that is wrong, and what to do."""

    def __init__(self, tag: str, reasons: list[str]) -> None:
        super().__init__(f"model {tag} refused: {'; '.join(reasons)}")
        self.tag, self.reasons = tag, reasons


@dataclass(frozen=True)
class Asked:
    """Golden rows that were asked again: how many, how many of them answered otherwise, and whether every bit counted
    or, on another numeric baseline, `golden.ULPS`."""

    rows: int
    differing: int
    exact: bool


@dataclass(frozen=True)
class Loaded:
    """A model that passed: its manifest, its scorer, what its golden rows answered, and what the gate proved, in one
    line."""

    manifest: Manifest
    scorer: Scorer
    golden: Asked
    proof: str


@dataclass(frozen=True)
class Answering:
    """What answers from a model's matrix, without the code that makes it. `exact`: this machine has the numeric
    baseline of the model's, so that every bit is the same."""

    manifest: Manifest
    model: Boosted | Linear
    calibration: Calibration
    decision: Decision
    exact: bool


def installed() -> dict[str, Library]:
    """The libraries that compute scores, as they are here, each accepting releases of the same minor version."""
    versions = {"python": platform.python_version(), "numpy": metadata.version("numpy"), "xgboost": _xgboost()}
    return {name: Library(version=version, accepts=_minor(version)) for name, version in versions.items()}


def load(directory: Path, features: FeatureSet, *, enforce: bool = True) -> Loaded:
    """Load the artefact in `directory` for this feature set.

    Args:
        enforce: False lets a model pass whose libraries or golden rows disagree, with a warning, for debugging only.
            A broken artefact, or one of other features, cannot be scored with and never passes.

    Raises:
        GateRefused: with every reason: a wrong digest, fingerprint, library version or golden row.
    """
    manifest = _whole(directory)
    if manifest.fingerprint != features.fingerprint:
        raise GateRefused(manifest.tag, [*_libraries(manifest), _other_features(manifest, features)])
    reasons = _libraries(manifest)
    scorer, rows = read_scorer(directory, manifest, features), read_golden(directory)
    exact = numeric.baseline() == manifest.numeric
    try:
        differ = golden.compare(rows, scorer, exact=exact)
        asked = Asked(len(rows), len(differ), exact)
    except FeatureError as error:
        differ, asked = [f"golden rows: {error}"], Asked(len(rows), len(rows), exact)
    if differ:
        reasons.append(f"{'; '.join(differ[:3])}{_more(differ)}: {_AGAIN}")
    if reasons and enforce:
        raise GateRefused(manifest.tag, reasons)
    for reason in reasons:
        log.warning("HOLDFAST_GATE=warn let %s pass although: %s", manifest.tag, reason)
    if reasons:
        return Loaded(manifest, scorer, asked, f"{manifest.tag} passed by HOLDFAST_GATE=warn only")
    how = "to the last bit" if exact else f"within {golden.ULPS} ulp (another numeric baseline: {numeric.baseline()})"
    proof = (
        f"{manifest.tag}: {len(manifest.files)} files and the fingerprint match, {len(rows)} golden rows agree {how}"
    )
    return Loaded(manifest, scorer, asked, proof)


def load_answering(directory: Path, *, enforce: bool = True) -> Answering:
    """Load what answers from the features of the artefact in `directory`, whatever the features of the code here are:
    its files, its libraries, and what golden margins give are checked, as far as that goes without its features.

    Raises:
        GateRefused: likewise, with every reason.
    """
    manifest = _whole(directory)
    model, calibration, decision = read_parts(directory, manifest)
    exact = numeric.baseline() == manifest.numeric
    differ = golden.compare_answers(read_golden(directory), calibration, decision, exact=exact)
    reasons = [*_libraries(manifest), *([f"{'; '.join(differ[:3])}{_more(differ)}: {_AGAIN}"] if differ else [])]
    if reasons and enforce:
        raise GateRefused(manifest.tag, reasons)
    return Answering(manifest, model, calibration, decision, exact)


def _whole(directory: Path) -> Manifest:
    """The manifest of an artefact with every file as it was written."""
    try:
        manifest = read_manifest(directory)
    except ArtefactError as error:
        raise GateRefused(f"{directory.parent.name}:{directory.name}", [str(error)]) from None
    broken = check_files(directory, manifest)
    if broken:
        raise GateRefused(manifest.tag, [f"{'; '.join(broken)}: {RESTORE}"])
    return manifest


def _other_features(manifest: Manifest, features: FeatureSet) -> str:
    return (
        f"fingerprint: the model was trained on features {manifest.fingerprint[:16]}, the code here computes "
        f"{features.fingerprint[:16]}: run the code it was trained with, or `holdfast train {manifest.name}`"
    )


def _libraries(manifest: Manifest) -> list[str]:
    here = installed()
    return [
        f"library {name}: {here[name].version} is installed, the model accepts {wanted.accepts} (trained with "
        f"{wanted.version}): install one of those, or train again"
        for name, wanted in manifest.libraries.items()
        if name not in here or not SpecifierSet(wanted.accepts).contains(here[name].version, prereleases=True)
    ]


def _more(differ: list[str]) -> str:
    return f" and {len(differ) - 3} more" if len(differ) > 3 else ""


def _minor(version: str) -> str:
    major, minor = version.split(".")[:2]
    return f">={major}.{minor},<{major}.{int(minor) + 1}"


def _xgboost() -> str:
    for name in XGBOOST:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    raise metadata.PackageNotFoundError(" or ".join(XGBOOST))
