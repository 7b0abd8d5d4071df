"""`holdfast release`: a promoted model and its image as values of the chart, or as the command that installs them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cli.release import values as chart
from cli.release.images import Image, looked_at
from cli.workspace import ROOT, Workspace
from model import archive
from model.archive import ArchiveError
from model.artefact import read_manifest
from model.registry import CANDIDATE, CHAMPION, Entry
from model.store import ModelNotFound
from settings import HoldfastError

CHART = ROOT / "deploy" / "helm" / "holdfast"


class ReleaseError(HoldfastError, RuntimeError):
    """A model is not to be released; the message says why, and what to do."""


def release(
    image: Annotated[str, typer.Option("--image", help="Serving image: REPOSITORY:TAG or REPOSITORY@sha256:HEX.")],
    usecase: Annotated[str | None, typer.Argument(help="The use case; default: HOLDFAST_USECASE.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="NAME:VERSION or NAME@ALIAS; default: champion, or candidate.")
    ] = None,
    jobs_image: Annotated[
        str | None, typer.Option(help="Jobs image; default: NAME-jobs beside NAME-serving, of the same tag.")
    ] = None,
    from_archive: Annotated[
        bool, typer.Option("--archive", help="The model comes from HOLDFAST_ARCHIVE_URL, where it is pushed to first.")
    ] = False,
    canary: Annotated[bool, typer.Option("--canary", help="Beside the stable version, instead of it.")] = False,
    previous: Annotated[
        list[Path] | None,
        typer.Option(help="Values of earlier releases: their jobs images are kept up for as long as they are needed."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also a model that is not the champion.")] = False,
    output: Annotated[Literal["values", "command"], typer.Option(help="A values file, or helm's command.")] = "values",
    name: Annotated[str, typer.Option("--release", help="Name of the release.")] = "holdfast",
    namespace: Annotated[str | None, typer.Option(help="Its namespace; default: the one that helm takes.")] = None,
    chart_path: Annotated[str, typer.Option("--chart", help="Where the chart is.")] = str(CHART),
    values: Annotated[
        list[str] | None,
        typer.Option(help="Values files of your own, for the command; without, those of the last one."),
    ] = None,
    timeout: Annotated[str, typer.Option(help="How long helm waits before it goes back.")] = "5m",
) -> None:
    """Print what releases a promoted model: its image, its tag, its features, and the feature sets to keep up.

    What the journal says is still served, or would be gone back to, has rows of its own in the online store where its
    features differ; the jobs image that keeps them up is found in the values of earlier releases.
    """
    workspace, known = Workspace.open(usecase), _known(previous or [])
    _are_there(values or [])
    own = workspace.usecase
    tag = workspace.registry.resolve(model or f"{own.name}@{CANDIDATE if canary else CHAMPION}")
    decided = workspace.registry.decided(own.name)
    if not canary and not force and (decided is None or decided.tag != tag):
        champion = f"{own.name}@{CHAMPION} is {decided.tag}" if decided else "there is no champion"
        raise ReleaseError(
            f"{tag} is not promoted, {champion}: `holdfast models promote {tag}` lets it pass the gate first; --canary "
            "tries it beside the stable version, --force releases it all the same"
        )
    manifest = read_manifest(workspace.models.path(tag))
    serving, notes = _images(image, jobs_image, None if from_archive else tag)
    digest = _pushed(workspace, tag) if from_archive else ""
    features = own.features
    made = chart.Release(own.name, features.events is not None, tag, manifest.fingerprint, *serving, digest)
    if manifest.fingerprint != features.fingerprint:
        notes.append(
            f"the code here computes features {features.fingerprint[:16]}, not those of {tag}: the images have to be "
            "of the code that it was trained with"
        )
    if canary and from_archive:
        notes.append("the stable version has to come from the archive too: both have one `model.source`")
    kept = list[chart.Kept]()
    if made.events and not canary:
        kept, missing = _kept(workspace, made, known)
        notes += missing
    for note in notes:
        sys.stderr.write(f"holdfast: {note}\n")
    said = chart.canary(made) if canary else chart.stable(made, kept)
    text = chart.written(said, _header(made, decided, kept, canary))
    sys.stdout.write(text if output == "values" else _command(text, name, namespace, chart_path, values or [], timeout))


def _images(image: str, jobs: str | None, model: str | None) -> tuple[tuple[Image, Image | None], list[str]]:
    """Both images, and what is to be known of them."""
    serving = Image.parse(image)
    beside = serving.jobs() if jobs is None else Image.parse(jobs)
    notes = [looked_at(serving, "--image", model)]
    if beside is None:
        notes.append("no --jobs-image: jobs keep the one of other values, which has to be of the same code")
    else:
        notes.append(looked_at(beside, "--jobs-image", model))
    notes += [
        f"{one} has no digest: whoever gives that tag away again changes what a rollback brings"
        for one in (serving, beside)
        if one is not None and not one.digest
    ]
    return (serving, beside), notes


def _pushed(workspace: Workspace, tag: str) -> str:
    """The digest of the model's archive, which is there then."""
    url = workspace.settings.archive_url
    if url is None:
        raise ArchiveError("--archive: where? Set HOLDFAST_ARCHIVE_URL: a directory, s3://BUCKET/PREFIX")
    return archive.push(url, tag).reference.rpartition("@sha256:")[2]


def _known(previous: Iterable[Path]) -> dict[str, str]:
    """Jobs images of earlier releases, by the fingerprint of their features."""
    known: dict[str, str] = {}
    for path in previous:
        try:
            known |= chart.jobs_images(path.read_text(), str(path))
        except OSError as error:
            raise chart.ValuesError(f"--previous {path} cannot be read: {error.strerror}") from None
    return known


def _are_there(files: Iterable[str]) -> None:
    """Helm's files of values; it also takes addresses."""
    for file in files:
        if "://" not in file and not Path(file).is_file():
            raise chart.ValuesError(f"--values {file} is no file here: helm would not find it either")


def _kept(workspace: Workspace, made: chart.Release, known: Mapping[str, str]) -> tuple[list[chart.Kept], list[str]]:
    """Feature sets to keep up by the jobs images that are known, and what cannot be."""
    needed, notes = [], []
    for tag, why in workspace.registry.live(made.usecase):
        try:
            needed.append((tag, read_manifest(workspace.models.path(tag)).fingerprint))
        except ModelNotFound:
            notes.append(f"{tag} ({why}) is not in the store: whether its features are kept up was not looked at")
    kept, missing = chart.keep(dict.fromkeys(needed), known, made.fingerprint)
    return kept, notes + [
        f"{tag} has other features, and the digest of their jobs image is not known: its online rows grow old, and a "
        "way back to it would have to wait for new ones; --previous FILE with the values of its release keeps them up"
        for tag in missing
    ]


def _header(made: chart.Release, decided: Entry | None, kept: Iterable[chart.Kept], canary: bool) -> list[str]:
    """What the values are, for who reads them."""
    lines = [f"{made.tag}, written by `holdfast release`."]
    if decided is not None and decided.tag == made.tag:
        why = f": {decided.why}" if decided.why else ""
        lines.append(f"{CHAMPION} since {decided.time} ({decided.action}, {decided.who}{why})")
    elif canary:
        lines.append("Not promoted: it is tried beside the stable version.")
    else:
        lines.append("Not promoted: forced.")
    lines += [f"Kept up by {one.image}: the features of {', '.join(one.tags)}" for one in kept]
    return lines


def _command(text: str, name: str, namespace: str | None, path: str, files: list[str], timeout: str) -> str:
    """helm's command with the values in it; without values of one's own it takes those of the last release."""
    others: list[Any] = [word for file in files for word in ("-f", file)] or ["--reset-then-reuse-values"]
    words = ["helm", "upgrade", "--install", name, path, *(["--namespace", namespace] if namespace else []), *others]
    words += ["-f", "-", "--rollback-on-failure", "--timeout", timeout]
    return f"{shlex.join(words)} <<'VALUES'\n{text}VALUES\n"
