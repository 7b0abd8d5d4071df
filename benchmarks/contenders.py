"""The servers that are compared: how each is started, on which ports it listens, and what it is asked.

Each is one worker and serves the same model file. Those that are not ours run in environments of their own, made from
locks in benchmarks/peers when they are first wanted.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import asking
from benchmarks.plan import Request
from benchmarks.processes import Process, started
from benchmarks.workload import Workload
from cli.server import free_port, serve

PEERS = Path(__file__).parent / "peers"
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Running:
    """A server that answers: its process with all its children, and its ports."""

    process: Process
    http: int
    grpc: int = 0


Asking = Callable[[Workload, slice], Request]
"""One request with those rows of the workload."""


@dataclass(frozen=True)
class Contender:
    """A server, and how it is asked; what it cannot be asked is None.

    Args:
        start: (workload, directory for its files, where environments are kept) -> a running server.
        one, rows, columns, grpc: a request of one row, of many as rows, of many as columns, of one over gRPC.
    """

    name: str
    about: str
    start: Callable[[Workload, Path, Path], Any]
    one: Asking
    rows: Asking | None = None
    columns: Asking | None = None
    grpc: Asking | None = None

    def ask(self, how: str) -> Asking | None:
        """The asking of that name."""
        found: Asking | None = getattr(self, how)
        return found


def environment(name: str, cache: Path, locks: Path = PEERS) -> Path:
    """The programs of a peer's environment, made from its lock unless it is there already.

    Raises:
        RuntimeError: with the installer's words.
    """
    lock = locks / f"{name}.txt"
    directory, done = cache / name, cache / name / "made-from.txt"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # another process may be making it
        if not done.exists() or done.read_text() != lock.read_text():
            uv = str(BIN / "uv")
            made = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(directory)]
            filled = [uv, "pip", "install", "--quiet", "--python", str(directory / "bin" / "python"), "--no-deps"]
            for command in (made, [*filled, "--require-hashes", "-r", str(lock)]):
                ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own
                if ran.returncode:
                    raise RuntimeError(f"{' '.join(command)}: {ran.stderr[-2000:]}")
            done.write_text(lock.read_text())
    return directory / "bin"


@contextmanager
def holdfast(workload: Workload, directory: Path, _: Path) -> Iterator[Running]:
    """This service with everything on."""
    grpc, metrics = free_port(), free_port()
    ports = {"HOLDFAST_GRPC_PORT": str(grpc), "HOLDFAST_METRICS_PORT": str(metrics)}
    with serve({**workload.environ, **ports}, log=directory / "log") as server:
        yield Running(Process(server.process.pid), int(server.url.rpartition(":")[2]), grpc)


@contextmanager
def _article(workload: Workload, directory: Path, cache: Path) -> Iterator[Running]:
    programs, pipeline = environment("fastapi", cache), directory / "pipeline.joblib"
    make = [str(programs / "python"), str(PEERS / "article.py"), str(workload.model), str(pipeline)]
    subprocess.run(make, check=True)  # noqa: S603  # our own
    with _uvicorn(programs, "article:app", directory, {"PIPELINE": str(pipeline)}, "/health") as running:
        yield running


@contextmanager
def _lean(workload: Workload, directory: Path, cache: Path) -> Iterator[Running]:
    environ = {"MODEL": str(workload.model), "PYTHONPATH": str(PEERS.parent.parent)}
    with _uvicorn(environment("fastapi", cache), "lean:app", directory, environ, "/health") as running:
        yield running


@contextmanager
def _floor(_: Workload, directory: Path, __: Path) -> Iterator[Running]:
    with _uvicorn(BIN, "floor:app", directory, {}, "/") as running:
        yield running


@contextmanager
def _uvicorn(programs: Path, app: str, directory: Path, environ: dict[str, str], path: str) -> Iterator[Running]:
    port = free_port()
    command = [str(programs / "uvicorn"), "--app-dir", str(PEERS), app, "--port", str(port), "--no-access-log"]
    with started(command, directory, environ, f"http://127.0.0.1:{port}{path}") as process:
        yield Running(process, port)


@contextmanager
def _batchable(workload: Workload, directory: Path, _: Path) -> Iterator[Running]:
    port = free_port()
    command = [str(BIN / "bentoml"), "serve", "batchable:Batchable", "--port", str(port), "--host", "127.0.0.1"]
    environ = {"MODEL": str(workload.model), "BENTOML_DO_NOT_TRACK": "True"}
    command += ["--working-dir", str(PEERS)]
    with started(command, directory, environ, f"http://127.0.0.1:{port}/readyz") as process:
        yield Running(process, port)


def _mlserver(**batching: float) -> Callable[[Workload, Path, Path], Any]:
    @contextmanager
    def start(workload: Workload, directory: Path, cache: Path) -> Iterator[Running]:
        http, grpc, metrics = free_port(), free_port(), free_port()
        settings: dict[str, Any] = {"debug": False, "host": "127.0.0.1", "http_port": http, "grpc_port": grpc}
        settings |= {"metrics_port": metrics, "parallel_workers": 0}  # a process for the model costs it more
        model = {"name": "twenty", "implementation": "mlserver_xgboost.XGBoostModel", **batching}
        model |= {"parameters": {"uri": str(workload.model), "version": "1"}}
        (directory / "settings.json").write_text(json.dumps(settings))
        (directory / "model-settings.json").write_text(json.dumps(model))
        command = [str(environment("mlserver", cache) / "mlserver"), "start", str(directory)]
        with started(command, directory, {}, f"http://127.0.0.1:{http}/v2/health/ready") as process:
            yield Running(process, http, grpc)

    return start


CONTENDERS = (
    Contender(
        "holdfast",
        "this service, everything on",
        holdfast,
        asking.one,
        rows=asking.rows,
        columns=asking.columns,
        grpc=asking.typed,
    ),
    Contender("article", "FastAPI, DataFrame, scikit-learn", _article, asking.article_one, rows=asking.article_rows),
    Contender("lean", "FastAPI, the same ModelRunner", _lean, asking.article_one, rows=asking.lean_rows),
    Contender("batchable", "BentoML, batchable=True", _batchable, asking.array, rows=asking.array),
    Contender("mlserver", "MLServer", _mlserver(), asking.v2, rows=asking.v2, grpc=asking.v2_grpc),
    Contender(
        "mlserver-batching",
        "MLServer, adaptive batching",
        _mlserver(max_batch_size=16, max_batch_time=0.001),  # its best of 8 to 64 rows and 1 to 5 ms
        asking.v2,
        rows=asking.v2,
        grpc=asking.v2_grpc,
    ),
    Contender("floor", "uvicorn answering a constant", _floor, asking.constant),
)
