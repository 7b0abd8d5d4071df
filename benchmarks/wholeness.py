"""Whether models, journal and archives are whole, by other eyes than Holdfast's: JSON, sha256 and BentoML's command."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import boto3
import yaml
from bentoml_cli.cli import cli as bentoml
from click.testing import CliRunner

from cli.workspace import Workspace
from settings import HoldfastError

INFO = "model.yaml"


def whole(workspace: Workspace) -> int:
    """Look at every model, line and archive that anybody could see; how many there are.

    Raises:
        HoldfastError: naming what is half-made.
    """
    from model import store

    home = store.home()
    tags = models(home / "models")
    champion = journal(workspace, tags)
    with tempfile.TemporaryDirectory() as temporary:
        there = archives(copied(workspace.settings.archive_url, Path(temporary)))
    return len(tags) + len(there) + champion


def models(root: Path) -> set[str]:
    """Every model of the store, as its directories and as `bentoml models list` tell."""
    found = set()
    for directory in root.glob("*/*/"):
        tag = f"{directory.parent.name}:{directory.name}"
        if not directory.is_dir():
            continue
        info = yaml.safe_load((directory / INFO).read_text())
        if f"{info['name']}:{info['version']}" != tag:
            raise HoldfastError(f"{directory} calls itself {info['name']}:{info['version']}")
        files = {path.name: path.read_bytes() for path in directory.iterdir() if path.name != INFO}
        _sealed(tag, files, str(directory))
        found.add(tag)
    for latest in root.glob("*/latest"):
        if not (latest.parent / latest.read_text().strip() / INFO).exists():
            raise HoldfastError(f"{latest} says {latest.read_text()!r}, which is not there")
    listed = CliRunner().invoke(bentoml, ["models", "list", "-o", "json"])
    if listed.exit_code or {model["tag"] for model in json.loads(listed.output)} != found:
        raise HoldfastError(f"bentoml models list: {listed.output[-500:]}; in the directory are {sorted(found)}")
    return found


def journal(workspace: Workspace, tags: set[str]) -> int:
    """The journal's own check, and whether each alias is a model that is there; how many entries there are."""
    registry = workspace.registry
    entries = registry.verify().entries
    champion = registry.alias(workspace.usecase.name)
    if champion is not None and champion not in tags:
        raise HoldfastError(f"the champion {champion} is not in the store")
    return entries


def decisions(workspace: Workspace) -> list[list[Any]]:
    """What was decided, without the times."""
    entries = workspace.registry.entries()
    return [[e.action, e.usecase, e.alias, e.before, e.tag, e.why, e.forced, e.content] for e in entries]


def archives(root: Path) -> set[str]:
    """Every archive below a directory that a digest beside it calls complete; nobody else sees the others."""
    found = set()
    for note in root.glob("*/*.tar.sha256"):
        said = re.fullmatch(r"([0-9a-f]{64})  (\S+)\n", note.read_text())
        archive = note.with_suffix("")
        if said is None or said[2] != archive.name:
            raise HoldfastError(f"{note} holds {note.read_text()!r}")
        if hashlib.sha256(archive.read_bytes()).hexdigest() != said[1]:
            raise HoldfastError(f"{archive} is not what the digest beside it says")
    for archive in root.glob("*/*.tar"):
        tag = f"{archive.parent.name}:{archive.name.removesuffix('.tar')}"
        with tarfile.open(archive) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]  # files
        _sealed(tag, files, str(archive))
        found.add(tag)
    odd = [
        path
        for path in root.glob("*/*")
        if not path.name.startswith(".") and not re.search(r"\.tar(\.sha256)?$", path.name)
    ]
    if odd:
        raise HoldfastError(f"there are other files among the archives: {odd}")
    return found


def _sealed(tag: str, files: dict[str, bytes], where: str) -> None:
    """The seal is that of the manifest, and the manifest's digests are those of exactly the other files."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    manifest = json.loads(files["manifest.json"])
    if files["manifest.sha256"].decode() != f"{digests.pop('manifest.json')}  manifest.json\n":
        raise HoldfastError(f"{where}: the manifest is not what was sealed")
    del digests["manifest.sha256"]
    if digests != manifest["files"] or f"{manifest['name']}:{manifest['version']}" != tag:
        raise HoldfastError(f"{where}: the files are not those of the manifest")


def copied(url: str | None, to: Path) -> Path:
    """The archives as a directory: those of a bucket are copied."""
    if url is None or not url.startswith("s3://"):
        return Path(url or to)
    name, _, prefix = url.removeprefix("s3://").partition("/")
    bucket = boto3.resource("s3").Bucket(name)
    for one in bucket.objects.filter(Prefix=f"{prefix}/"):
        path = to / one.key.removeprefix(f"{prefix}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.get()["Body"].read())
    return to
