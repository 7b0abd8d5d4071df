"""`python -m benchmarks.kills`: every command that writes is struck at random moments, and then run once more.

A blow is SIGKILL, or with `--blow restart` its server going away and coming back, after which the command has to end
well or with one clear line. Either way the outcome of the second run must equal an uninterrupted one: files by their
bytes, tables by a sorted dump; and after the blow every online row must be what the event store says as of the time
that the row claims.

A command runs in a fork of this process, which has imported everything: so a kill falls into its work, not into the
import of pandas.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import psycopg
import typer
from redis import Redis

from benchmarks.servers import Server, postgresql, redis
from cli import main as command_line
from cli.console import Json, Out, table
from cli.workspace import Workspace
from features.clock import DAY, parse, rfc3339
from features.store.base import Spine, StoreError
from settings import HoldfastError

CUSTOMERS, ORDERS, SEED = 400, 4_000, 7
START = parse("2024-01-01T00:00:00Z")
FIRST, SECOND = START + 500 * DAY, START + 501 * DAY
COMMANDS = ("ingest", "materialize", "train", "score")
TIMES = ("committed_at", "created_at", "finished_at", "started_at", "git_commit")
"""Fields that say when something was written, and by which state of the code."""
Blow = Callable[[int], None]
"""Called with the process id of the command that is struck."""


@dataclass(frozen=True)
class Place:
    """Where one run keeps everything: a directory, and a database on each server that the stores need."""

    home: Path
    environ: dict[str, str]

    def words(self, command: str) -> list[str]:
        """The command under test."""
        target = ["--to", f"{self.environ['HOLDFAST_EVENTS_URL']}/scores"] if self.on_postgresql else ["--out", "out"]
        target[1] = target[1] if self.on_postgresql else str(self.home / "out")
        return {
            "ingest": ["ingest", str(self.home.parent / "second.csv"), "--backfill"],
            "materialize": ["materialize"],
            "train": ["train", "cdnow", "--algorithm", "logistic"],
            "score": ["score", "cdnow", "--model", "cdnow@champion", "--rows-per-part", "50", *target],
        }[command]

    @property
    def on_postgresql(self) -> bool:
        """Whether events and scores go to PostgreSQL."""
        return "HOLDFAST_EVENTS_URL" in self.environ


def run(place: Place, words: list[str], blow: Blow | None = None, after: float = 0.0) -> tuple[float, bool]:
    """Run a command in a fork; how long it took, and whether the blow, struck `after` so many seconds, kept it from
    ending well.

    Raises:
        HoldfastError: if it ends with an error that no blow excuses, or that is not one clear line.
    """
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _child(place, words)
    if blow is not None:
        while time.monotonic() - started < after:
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
            time.sleep(0.001)
        blow(child)
    _, status = os.waitpid(child, 0)
    log = (place.home / "log").read_text()
    if status and not os.WIFSIGNALED(status) and (blow is None or not log.splitlines()[-1].startswith("holdfast: ")):
        raise HoldfastError(f"holdfast {' '.join(words)}: {log[-2000:]}")
    if os.WIFSIGNALED(status) and blow is not kill:
        raise HoldfastError(f"holdfast {' '.join(words)} died of signal {os.WTERMSIG(status)}: {log[-2000:]}")
    return time.monotonic() - started, bool(status)


def kill(child: int) -> None:
    """The end without a warning."""
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def _child(place: Place, words: list[str]) -> None:
    """What the fork does; it never returns."""
    os.environ.update(place.environ)
    log = os.open(place.home / "log", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = ["holdfast", *words]
    code = 1
    try:
        command_line.main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception:  # a fork that must not go on as this process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def asked(place: Place, question: Callable[[Workspace], Any]) -> Any:
    """The answer to a question that opens stores, from a fork, so that this process stays without threads."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.environ.update(place.environ)
        try:
            told = json.dumps(question(Workspace.open("cdnow")))
        except Exception as error:  # told to the parent, which raises
            told = json.dumps({"error": f"{type(error).__name__}: {error}"})
        with os.fdopen(write, "w") as pipe:
            pipe.write(told)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        answer = json.loads(pipe.read())
    os.waitpid(child, 0)
    if isinstance(answer, dict) and "error" in answer:
        raise HoldfastError(answer["error"])
    return answer


def honest(workspace: Workspace) -> int:
    """Compare every online row with the event store as of the time it claims; how many were compared.

    Raises:
        HoldfastError: naming a row that is not what it says, or a watermark ahead of the data.
    """
    events = workspace.events
    with closing(workspace.online()) as online:
        try:
            held = online.as_of()
        except StoreError:
            return 0
        last = max((batch.number for batch in events.batches()), default=0)
        if held.batch > last:
            raise HoldfastError(f"the online rows claim batch {held.batch}, and there are {last}")
        keys = events.keys(SECOND)
        found = online.read(keys.tolist())
        true = events.aggregate(Spine(keys, found.as_of))
        behind = len(events.batches()) > held.batch
        for name, values in found.aggregates.items():
            wrong = ~(
                (values == true.aggregates[name])
                | ((values != values) & (true.aggregates[name] != true.aggregates[name]))
            )
            if wrong[found.known].any() and not behind:
                raise HoldfastError(f"{name} of {keys[found.known & wrong][0]} is not what the event store says")
    return len(keys)


def outcome(workspace: Workspace) -> dict[str, str]:
    """Everything that commands leave behind, by name: digests of files without times of writing, dumps of tables."""
    found: dict[str, str] = {}
    with closing(workspace.online()) as online:
        try:
            held = online.as_of()
            keys = workspace.events.keys(SECOND)
            rows = online.read(keys.tolist())
            values = {name: column.tolist() for name, column in rows.aggregates.items()}
            found["online rows"] = _digest([keys.tolist(), rows.known.tolist(), rows.as_of.tolist(), repr(values)])
            found["online as_of"] = repr(held)
            found["online events"] = _digest(
                [column.tolist() for column in online.compute(keys.tolist(), SECOND).aggregates.values()]
            )
        except StoreError:
            found["online rows"] = "none"
    url = workspace.settings.events_url
    if url is not None:
        found |= _tables(url)
    for path in sorted(workspace.settings.home.parent.rglob("*")):
        if path.is_file() and _kept(path):
            found[_name(path, workspace.settings.home.parent)] = _file(path)
    return found


def _kept(path: Path) -> bool:
    """Whether a file is an outcome: logs, locks and SQLite's own files (compared by their rows) are not."""
    if (
        path.name in ("log", "model.yaml", "manifest.sha256", "journal.jsonl")
        or path.suffix == ".lock"
        or path.name == ".lock"
    ):
        return False
    return (".sqlite" not in path.name and "bentoml" not in path.parts) or path.parent.parent.name == "cdnow"


def _name(path: Path, root: Path) -> str:
    return str(path.relative_to(root))


def _file(path: Path) -> str:
    if path.suffix == ".json":
        return _digest(_timeless(json.loads(path.read_text())))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _timeless(value: Any) -> Any:
    """Without the times at which something was written, and what is derived from them."""
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in TIMES}
    if isinstance(value, str) and value.startswith("{"):
        return _timeless(json.loads(value))
    return [_timeless(one) for one in value] if isinstance(value, list) else value


def _tables(url: str) -> dict[str, str]:
    sql = (
        "SELECT table_schema, table_name FROM information_schema.tables "
        "WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
    )
    found = {}
    with psycopg.connect(url) as connection:
        for schema, name in connection.execute(sql).fetchall():
            own = [row for (row,) in connection.execute(f'SELECT to_jsonb(r) FROM "{schema}"."{name}" r').fetchall()]
            found[f"{schema}.{name}"] = _digest(sorted(json.dumps(_timeless(row), sort_keys=True) for row in own))
    return found


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


class Ground:
    """Where places are made: on `files` (Parquet and SQLite), `postgresql`, or `redis` (with Parquet)."""

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
            return {"HOLDFAST_EVENTS_URL": own, "HOLDFAST_ONLINE_URL": own}
        own = self.server.url.removesuffix("/0") + f"/{NAMES.index(name)}"
        with Redis.from_url(own) as to:
            to.flushdb()
        if like is not None:
            with Redis.from_url(like.environ["HOLDFAST_ONLINE_URL"]) as of:
                for key in of.scan_iter():
                    of.copy(key, key, destination_db=NAMES.index(name))
        return {"HOLDFAST_ONLINE_URL": own}


NAMES = ("prepared", "reference", "trial")


@contextmanager
def ground(stores: str) -> Iterator[Ground]:
    """The stores, for as long as the block runs."""
    servers: dict[str, AbstractContextManager[Server]] = {"postgresql": postgresql(), "redis": redis()}
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


def prepared(place: Place, command: str) -> None:
    """Everything that comes before the command under test."""
    earlier = dict(place.environ, HOLDFAST_NOW=rfc3339(FIRST))
    before = Place(place.home, earlier)
    run(place, ["migrate"])
    run(before, ["ingest", str(place.home.parent / "first.csv"), "--backfill"])
    run(before, ["materialize"])
    if command == "ingest":
        return
    run(place, place.words("ingest"))
    if command == "score":
        run(before, ["train", "cdnow", "--algorithm", "logistic"])
        tag = asked(place, lambda w: _tags(w)[-1])
        run(place, ["models", "promote", tag])


def _tags(workspace: Workspace) -> list[str]:
    from model import store

    return store.tags(workspace.usecase.name)


def attack(ground: Ground, command: str, blow: Blow, times: int, seed: int) -> tuple[int, int]:
    """Strike a command at random moments and run it again; how many it kept from ending well, and rows compared.

    Raises:
        HoldfastError: naming what differs from an uninterrupted run.
    """
    chance = random.Random(f"{command} {seed}")  # noqa: S311  # a moment, no secret
    before = ground.place("prepared")
    prepared(before, command)
    reference = ground.place("reference", before)
    seconds, _ = run(reference, reference.words(command))
    expected = asked(reference, outcome)
    hits = compared = 0
    for number in range(times):
        trial = ground.place("trial", before)
        after = chance.uniform(0, seconds * 1.05)
        _, struck = run(trial, trial.words(command), blow, after)
        hits += struck
        compared += asked(trial, honest)
        run(trial, trial.words(command))
        found = asked(trial, outcome)
        differing = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
        if differing:
            raise HoldfastError(
                f"{command}, struck after {after:.3f} s of {seconds:.3f} (trial {number}, seed {seed}): "
                f"{', '.join(differing[:5])} is not what an uninterrupted run leaves"
            )
    return hits, compared


def main(
    blow: Annotated[Literal["kill", "restart"], typer.Option(help="What strikes.")] = "kill",
    times: Annotated[int, typer.Option(help="Blows to each command on each store.")] = 50,
    stores: Annotated[str, typer.Option(help="files, postgresql, redis, by commas.")] = "files,postgresql,redis",
    commands: Annotated[str, typer.Option(help="ingest, materialize, train, score, by commas.")] = ",".join(COMMANDS),
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Strike, run again, compare; exit 1 at the first difference."""
    out, rows = Out(as_json), []
    for which in stores.split(","):
        with ground(which) as here:
            for command in commands.split(","):
                hits, compared = attack(here, command, kill if blow == "kill" else here.restart, times, seed)
                rows.append([which, command, f"{hits} of {times}", f"{compared:,}", "0"])
                out.say(f"{which}, {command}: {hits} of {times} blows hit, 0 outcomes differ")
    header = ["stores", "command", "blows that hit", "online rows compared", "outcomes that differ"]
    out.say(table(rows, header))
    out.result({"blow": blow, "rows": rows})


if __name__ == "__main__":
    try:
        typer.run(main)
    except HoldfastError as error:
        sys.exit(f"benchmarks.kills: {error}")
