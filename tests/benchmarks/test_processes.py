"""Processes under measurement: all of a server's work is its own, children included."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.processes import Process, pinned

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
print(child.stdout.readline().decode(), flush=True)
sys.stdin.read()
child.stdin.close()
child.wait()
"""
CHILD = """
import sys, time
while time.process_time() < 0.5: pass
held = bytearray(50_000_000)
print("done", flush=True)
sys.stdin.read()
"""


def test_what_a_child_does_counts() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "done"
        measured = Process(process.pid)
        assert len(measured.tree()) == 2
        assert measured.cpu() >= 0.5
        assert measured.memory() > 50
        assert process.stdin is not None
        process.stdin.close()
    assert Process(process.pid).tree() == []


def test_a_core_is_for_those_that_start_inside() -> None:
    before = os.sched_getaffinity(0)
    core = max(before)
    with pinned(core):
        asked = "import os; print(os.sched_getaffinity(0))"
        assert subprocess.check_output([sys.executable, "-c", asked], text=True).strip() == f"{{{core}}}"
    assert os.sched_getaffinity(0) == before
