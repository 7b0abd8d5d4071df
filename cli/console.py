"""What a command says: progress on a terminal, plain lines in a log, one JSON object with `--json`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from training.progress import Step

Json = typer.Option("--json", help="Print one JSON object on stdout; everything else goes to stderr.")
Wide = typer.Option("--engine", help="What answers wide questions; default: what keeps the events.")
Master = typer.Option("--master", help="Spark's master: local[*] (default), spark://HOST:PORT, k8s://URL.")


class Out:
    """Where a command's words go."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(stderr=as_json, highlight=False, soft_wrap=True)

    def say(self, line: str = "") -> None:
        """One line for people."""
        self.console.print(line, markup=False)

    def proved(self, what: str, line: str) -> None:
        """One line that says what a step proved."""
        self.console.print(f"[bold]{what:<12}[/bold]", end="")
        self.console.print(line, markup=False)

    def result(self, value: Any) -> None:
        """The figures, for programs; nothing without `--json`."""
        if self.as_json:
            sys.stdout.write(json.dumps(value, indent=2) + "\n")

    @contextmanager
    def progress(self, *, lines: bool = True) -> Iterator[Step]:
        """A callback (what, done, total): a bar on a terminal, a line every tenth in a log, or there none."""
        if not self.console.is_terminal:
            yield self._line if lines else lambda *_: None
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task("", total=None)
            yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)

    def _line(self, what: str, done: int, total: int) -> None:
        step = max(1, total // 10)
        if done and (done % step == 0 or done == total):
            self.console.print(f"{what}: {done:,} of {total:,}", markup=False, style="dim")


def many(number: int, noun: str) -> str:
    """So many of them, in words."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def table(rows: list[list[str]], header: list[str]) -> str:
    """A plain table: columns aligned, two blanks between them, nothing cut."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]]
    return "\n".join(line.rstrip() for line in lines)
