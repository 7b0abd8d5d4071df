"""The load generator as a benchmark holds it: a process on its own core, told which phase to run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from benchmarks.plan import Plan, Result
from benchmarks.processes import pinned

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Generator:
    """Connected, warmed up, waiting."""

    process: subprocess.Popen[str]

    def run(self, phase: int) -> Result:
        """What came back in the phase of that number.

        Raises:
            RuntimeError: if the generator failed; its words are on stderr.
        """
        self.begin(phase)
        return self.finish()

    def begin(self, phase: int) -> None:
        """Start a phase and do not wait for its end."""
        assert self.process.stdin is not None  # noqa: S101  # a pipe
        self.process.stdin.write(f"{phase}\n")
        self.process.stdin.flush()

    def finish(self) -> Result:
        """Wait for the end of the phase that was begun."""
        return msgspec.json.decode(self.line(), type=Result)

    def line(self) -> str:
        """The next line that it says."""
        assert self.process.stdout is not None  # noqa: S101  # a pipe
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the load generator ended with {self.process.wait()}")
        return line


@contextmanager
def generator(plan: Plan, core: int | None) -> Iterator[Generator]:
    """A generator for the plan while the block runs."""
    with TemporaryDirectory(prefix="holdfast-load-") as directory:
        path = Path(directory) / "plan"
        path.write_bytes(msgspec.msgpack.encode(plan))
        command = [sys.executable, "-m", "benchmarks.load", str(path)]
        with pinned(core):
            process = subprocess.Popen(  # noqa: S603  # our own
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        own = Generator(process)
        try:
            own.line()
            yield own
        finally:
            with process:
                process.kill()
