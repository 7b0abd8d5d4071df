"""Where commands are struck: homes and databases of their own, with a shop's orders in two files."""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import psycopg
from redis import Redis

from benchmarks.servers import BUCKET, Server, object_storage, postgresql, redis, s3, s3_client
from features.clock import DAY, parse, rfc3339

CUSTOMERS, ORDERS, SEED = 400, 4_000, 7
START = parse("2024-01-01T00:00:00Z")
FIRST, SECOND = START + 500 * DAY, START + 501 * DAY


MODELS = ("promote", "rollback")
COMMANDS = {
    "files": ("ingest", "materialize", "train", "score", *MODELS, "push", "pull"),
    "postgresql": ("ingest", "materialize", "train", "score", *MODELS),
    "redis": ("ingest", "materialize", "train", "score"),
    "s3": ("push", "pull"),
}
"""Where commands are struck, and which ones: those that write there, or that read there and write elsewhere."""


@dataclass(frozen=True)
class Place:
    """Where one run keeps everything: a directory, and a database on each server that the stores need."""

    home: Path
    environ: dict[str, str]

    def words(self, command: str) -> list[str]:
        """The command under test; those over models are about the one that the file `subject` names."""
        target = ["--to", f"{self.environ['HOLDFAST_EVENTS_URL']}/scores"] if self.on_postgresql else ["--out", "out"]
        target[1] = target[1] if self.on_postgresql else str(self.home / "out")
        subject = (self.home / "subject").read_text() if (self.home / "subject").exists() else ""
        return {
            "ingest": ["ingest", str(self.home.parent / "second.csv"), "--backfill"],
            "materialize": ["materialize"],
            "train": ["train", "cdnow", "--algorithm", "logistic"],
            "score": ["score", "cdnow", "--model", "cdnow@champion", "--rows-per-part", "50", *target],
            "promote": ["models", "promote", subject, "--force", "--why", "whatever the gate says of it"],
            "rollback": ["models", "rollback", "cdnow", "--to", subject],
            "push": ["models", "push", subject],
            "pull": ["models", "pull", subject],
        }[command]

    @property
    def on_postgresql(self) -> bool:
        """Whether events and scores go to PostgreSQL."""
        return "HOLDFAST_EVENTS_URL" in self.environ


class Ground:
    """Where places are made: on `files` (Parquet and SQLite, archives in a directory), `postgresql` (the journal too),
    `redis` (with Parquet), or `s3` (files, with archives in a bucket)."""

    def __init__(self, root: Path, stores: str, server: Server | None) -> None:
        self.root, self.stores, self.server = root, stores, server
        _orders(root)

    def place(self, name: str, like: Place | None = None) -> Place:
        """A place of that name: new, or a copy of what another one holds."""
        home = self.root / f"place-{name}"
        shutil.rmtree(home, ignore_errors=True)
        if like is None:
            (home / "bentoml").mkdir(parents=True)
        else:
            shutil.copytree(like.home, home)
        environ = {
            "HOLDFAST_HOME": str(home / "var"),
            "BENTOML_HOME": str(home / "bentoml"),
            "HOLDFAST_NOW": rfc3339(SECOND),
            "HOLDFAST_ARCHIVE_URL": str(home / "archives"),
            "OMP_NUM_THREADS": "1",
        }
        return Place(home, environ | self._urls(name, like))

    def restart(self, _: int) -> None:
        """The server goes away at once, and is back."""
        if self.server is not None:
            self.server.restart(signal.SIGQUIT if self.stores == "postgresql" else signal.SIGKILL)

    def _urls(self, name: str, like: Place | None) -> dict[str, str]:
        if self.server is None:
            return {}
        if self.stores == "postgresql":
            made = f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{like.home.name[6:]}"' if like is not None else "")
            with psycopg.connect(self.server.url, autocommit=True) as connection:
                connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
                connection.execute(made)
            own = self.server.url.removesuffix("/postgres") + f"/{name}"
            return {"HOLDFAST_EVENTS_URL": own, "HOLDFAST_ONLINE_URL": own, "HOLDFAST_REGISTRY_URL": own}
        if self.stores == "s3":
            return self._archives(name, like)
        own = self.server.url.removesuffix("/0") + f"/{NAMES.index(name)}"
        with Redis.from_url(own) as to:
            to.flushdb()
        if like is not None:
            with Redis.from_url(like.environ["HOLDFAST_ONLINE_URL"]) as of:
                for key in of.scan_iter():
                    of.copy(key, key, destination_db=NAMES.index(name))
        return {"HOLDFAST_ONLINE_URL": own}

    def _archives(self, name: str, like: Place | None) -> dict[str, str]:
        assert self.server is not None  # noqa: S101  # as its only caller has seen
        environ = object_storage(self.server.url)
        client, own = s3_client(self.server.url), f"{name}/"
        for one in client.list_objects_v2(Bucket=BUCKET, Prefix=own).get("Contents", []):
            client.delete_object(Bucket=BUCKET, Key=one["Key"])
        others = "" if like is None else f"{like.home.name[6:]}/"
        for one in client.list_objects_v2(Bucket=BUCKET, Prefix=others).get("Contents", []) if others else []:
            source = {"Bucket": BUCKET, "Key": one["Key"]}
            client.copy_object(Bucket=BUCKET, Key=own + one["Key"].removeprefix(others), CopySource=source)
        return environ | {"HOLDFAST_ARCHIVE_URL": f"s3://{BUCKET}/{name}"}


NAMES = ("prepared", "reference", "trial")


@contextmanager
def ground(stores: str) -> Iterator[Ground]:
    """The stores, for as long as the block runs."""
    servers: dict[str, AbstractContextManager[Server]] = {"postgresql": postgresql(), "redis": redis(), "s3": s3()}
    with (
        tempfile.TemporaryDirectory(prefix="holdfast-kills-") as directory,
        servers.get(stores, nullcontext()) as running,
    ):
        yield Ground(Path(directory), stores, running)


def _orders(root: Path) -> None:
    """Two files of orders, of up to a day before FIRST and of the day after; a few rows are bad."""
    chance = random.Random(SEED)  # noqa: S311  # data, no secret
    header = "customer_id date number_of_cds dollar_value\n"
    for name, begin, end, count in (("first", START, FIRST, ORDERS), ("second", FIRST, SECOND, ORDERS // 10)):
        with (root / f"{name}.csv").open("w") as file:
            file.write(header)
            for number in range(count):
                day = rfc3339(chance.randrange(begin, end))[:10].replace("-", "")
                cds = "many" if number % 97 == 0 else chance.randrange(1, 9)
                file.write(f"c{chance.randrange(CUSTOMERS)} {day} {cds} {chance.randrange(9_999) / 100:.2f}\n")
