"""`holdfast demo-drift`, in a tenth of its requests: what appears does so by itself, and what does not fails it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest

from cli import demo, demo_drift
from cli.console import Out
from cli.demo import Demo, DemoError, People
from cli.server import Server
from cli.workspace import Workspace


def test_alarms_page_and_request_appear_by_themselves(
    telco: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_drift, "ACTS", (1_000, 900, 3_700, 1_100))
    tag = str(telco.champion())
    told = demo_drift.drift(telco, tag, Out(as_json=True))
    tracks = {one["number"]: set(one["tracks"]) for one in told["windows"]}
    begins = told["begins"]
    assert begins == 3
    assert not any(tracks[number] for number in range(1, begins))
    assert all("inputs" in tracks[number] for number in range(begins + 1, len(tracks) + 1))
    assert "outcomes" in tracks[len(tracks)]
    assert told["retrain"]["model"] == tag
    assert {one["track"] for one in told["retrain"]["findings"]} <= {"inputs", "answers"}
    assert told["skew"] == 0
    words = capsys.readouterr().err
    assert f'holdfast_monitor_alarm{{model="{tag}",track="outcomes"}} 1' in words
    assert "1,000 requests for 1,095 answers" in words
    assert 'outcomes_total{kind="matched"} 1095' in words
    assert told["page"] is None  # by then nobody answers there
    assert "holdfast demo-drift --keep" in words
    file = re.search(r"taken? .*up by: holdfast retrain telco --verdict (\S+)", words)
    assert file is not None
    assert json.loads(Path(file[1]).read_text()) == told["retrain"]


def test_what_does_not_appear_fails_with_the_monitors_last_words(
    telco: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "PATIENCE", 0.3)
    log = tmp_path / "monitor.log"
    log.write_text("the last words")
    nothing = Demo(People.of(telco), Server("http://127.0.0.1:9", "", "", None), "http://127.0.0.1:9", log)  # type: ignore[arg-type]  # no process is needed

    def away() -> str | None:
        raise httpx.ConnectError("nobody there")

    for look in (away, lambda: None):
        with pytest.raises(DemoError, match=r"(?s)a sign: it did not appear in 0 s.*the last words"):
            nothing.until("a sign", look)
    assert nothing.appeared == []
