"""Where the tests of archives keep them: a directory, and a bucket behind S3's protocol on loopback."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore
from moto.server import ThreadedMotoServer

from benchmarks.servers import BUCKET, object_storage, s3_client


class Spot(Protocol):
    """A place for archives, seen with other eyes than Holdfast's."""

    @property
    def url(self) -> str:
        """Its address."""

    def read(self, name: str) -> bytes:
        """The bytes of a file."""

    def write(self, name: str, content: bytes) -> None:
        """Put a file there, over one of that name."""

    def delete(self, name: str) -> None:
        """Remove a file."""

    def state(self) -> dict[str, Any]:
        """Everything that is there, by name, with what changes when it is written again."""


@dataclass(frozen=True)
class DirectorySpot:
    """A directory."""

    root: Path

    @property
    def url(self) -> str:
        """Its path."""
        return str(self.root)

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_bytes(content)

    def delete(self, name: str) -> None:
        (self.root / name).unlink()

    def state(self) -> dict[str, Any]:
        files = [path for path in self.root.rglob("*") if path.is_file() and path.name != ".lock"]
        return {str(p.relative_to(self.root)): (p.stat().st_ino, p.stat().st_mtime_ns, p.stat().st_mode) for p in files}


@dataclass(frozen=True)
class BucketSpot:
    """A prefix of a bucket."""

    client: Any
    prefix: str

    @property
    def url(self) -> str:
        """Its address."""
        return f"s3://{BUCKET}/{self.prefix}"

    def read(self, name: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=BUCKET, Key=f"{self.prefix}/{name}")["Body"].read()
        return content

    def write(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=f"{self.prefix}/{name}", Body=content)

    def delete(self, name: str) -> None:
        self.client.delete_object(Bucket=BUCKET, Key=f"{self.prefix}/{name}")

    def state(self) -> dict[str, Any]:
        versions = self.client.list_object_versions(Bucket=BUCKET, Prefix=f"{self.prefix}/").get("Versions", [])
        return {v["Key"].removeprefix(f"{self.prefix}/"): v["VersionId"] for v in versions if v["IsLatest"]}


@contextmanager
def s3() -> Iterator[dict[str, str]]:
    """A server that speaks S3's protocol, with a bucket that keeps versions; the environment that leads to it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environ = object_storage(f"http://{host}:{port}")
    try:
        client = bucket(environ)
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield environ
    finally:
        server.stop()


def bucket(environ: dict[str, str]) -> Any:
    """A client of that server."""
    return s3_client(environ["AWS_ENDPOINT_URL"])


@contextmanager
def another_store(root: Path) -> Iterator[Path]:
    """Another model store, as on another machine, while the block runs."""
    own = {
        BentoMLContainer.bentoml_home: str(root),
        BentoMLContainer.model_store_dir: str(root / "models"),
        BentoMLContainer.model_store: ModelStore(root / "models"),
    }
    (root / "models").mkdir(parents=True, exist_ok=True)
    before = {provider: provider.get() for provider in own}
    for provider, value in own.items():
        provider.set(value)
    try:
        yield root
    finally:
        for provider, value in before.items():
            provider.set(value)


def tar(members: list[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar of whatever members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def contents(archive: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
    """The members of a tar of regular files, to be made into another one."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return [(member, opened.extractfile(member).read()) for member in opened]  # type: ignore[union-attr]  # regular
