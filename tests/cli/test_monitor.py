"""`holdfast monitor run|show|rebase`, and a request for a new model that `holdfast retrain --verdict` takes up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from benchmarks.servers import Server
from cli.console import Out
from cli.main import app
from cli.monitor.alarms import Alarms
from cli.retrain import Verdict
from features.store.base import StoreError
from monitoring.ledger import Closed, open_ledger
from monitoring.passes import asking
from monitoring.verdict import Finding
from settings import HoldfastError
from tests.cli.studio import START, Studio, member, said, told

DAY = 250.0


@dataclass(frozen=True)
class Served:
    """A studio whose model answered members who are not those it was trained on."""

    studio: Studio
    tag: str
    environ: dict[str, str]

    def answer(self, rows: int, **changed: Any) -> None:
        """So many answers more, in bulk requests."""
        asked: Sequence[Any] = [
            [member(number % 97) for number in range(first, first + 500)] for first in range(0, rows, 500)
        ]
        self.studio.answer(self.tag, DAY, asked, **changed)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A studio with a model, which answered so many that a new one is asked for."""
    studio = Studio(tmp_path_factory.mktemp("studio"))
    studio.members(0)
    studio.visits((0, DAY), DAY)
    tag = studio.train(DAY, "logistic")
    made = Served(studio, tag, studio.environ(DAY))
    made.answer(3_500)
    return made


def refused(*words: str, environ: dict[str, str]) -> BaseException:
    """What a command ends with."""
    return CliRunner().invoke(app, words, env=environ).exception or AssertionError(f"{words} ended well")


def test_a_pass_asks_for_a_new_model_once_and_retrain_takes_it_up(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "asked.json"
    run = ["monitor", "run", "studio", "--verdict", str(file)]
    first = told(*run, environ=served.environ, code=10)
    assert first["records"] == {"counted": 3_500}
    assert [(one["number"], one["rows"], one["alarm"]) for one in first["windows"]] == [
        (n, 1_000, True) for n in (1, 2, 3)
    ]
    assert first["retrain"]["windows"] == [1, 3]
    assert first["retrain"]["file"] == str(file)
    tracks = ("inputs", "answers", "outcomes")  # quality is no reason for a new model
    found = [one for one in first["windows"][-1]["findings"] if one["track"] in tracks]
    assert json.loads(file.read_text())["findings"] == found
    assert 0 < len(found) < len(first["windows"][-1]["findings"])
    assert Verdict.read(file).alarm
    again = told(*run, environ=served.environ)  # 0: it was told
    assert (again["records"], again["windows"], again["retrain"]) == ({}, [], None)

    served.studio.visits((DAY, DAY + 60), DAY + 60)
    later = served.studio.environ(DAY + 60)
    done = CliRunner().invoke(app, ["retrain", "studio", "--verdict", str(file), "--promote", "--json"], env=later)
    assert json.loads(done.stdout)["outcome"] in ("promoted", "refused")  # whatever the gate thinks of it
    assert told(*run, environ=later)["retrain"] is None
    standing = asking.standing(open_ledger(None, served.studio.home / "var" / "studio", "studio"))
    assert standing is not None
    assert standing["open"] is False
    assert standing["answer"].startswith(("promote of studio:", "refuse of studio:"))
    assert told("retrain", "studio", "--verdict", str(file), environ=later)["outcome"] == "quiet"  # it was answered


def test_a_killed_telling_is_told_again(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {**served.environ, "HOLDFAST_MONITOR_URL": f"file://{tmp_path}/ledger"}

    def killed(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(asking, "told", killed)
        said("monitor", "run", "studio", environ=environ, code=1)
    file = served.studio.home / "var" / "studio" / "monitor" / "retrain.json"
    asked = json.loads(file.read_text())
    assert told("monitor", "run", "studio", environ=environ, code=10)["retrain"]["windows"] == asked["windows"]
    assert json.loads(file.read_text()) == asked
    assert told("monitor", "run", "studio", environ=environ)["retrain"] is None


def test_people_read_what_a_pass_proved_and_what_there_is(served: Served, tmp_path: Path) -> None:
    environ = {**served.environ, "HOLDFAST_MONITOR_URL": f"file://{tmp_path}/ledger"}
    nothing = said("monitor", "show", "studio", environ=environ).output
    assert f"nothing was counted yet in file://{tmp_path}/ledger:" in nothing
    output = said("monitor", "run", "studio", environ=environ, code=10).output
    assert "3,500 answers counted; 3 windows closed, 3 with an alarm" in output
    assert f"ALARM       {served.tag}, window 1 (1,000 answers, " in output
    assert "holdfast retrain studio --verdict " in output
    shown = said("monitor", "show", "studio", "--limit", "2", environ=environ).output.splitlines()
    assert shown[0] == f"{served.tag}: 500 answers in the open window"
    assert [line.split()[0] for line in shown[1:]] == ["window", "2", "3"]
    assert "training      ALARM fee: shape, " in shown[-1]
    figures = told("monitor", "show", "studio", environ=environ)
    assert figures["models"][served.tag]["open"] == 500
    assert [one["alarm"] for one in figures["models"][served.tag]["windows"]] == [True] * 3
    assert figures["counters"]["records counted"] == 3_500

    rebased = said("monitor", "rebase", "studio", "--windows", "2", "--why", "a new town", environ=environ).output
    assert f"reference   of {served.tag}, from the next window on: windows 2 to 3" in rebased
    with pytest.raises(HoldfastError, match="3 closed windows, not 9"):
        raise refused("monitor", "rebase", "studio", "--windows", "9", environ=environ)
    with pytest.raises(HoldfastError, match="--windows and --training"):
        raise refused("monitor", "rebase", "studio", "--windows", "2", "--training", environ=environ)
    with pytest.raises(HoldfastError, match="studio:gone is not in the model store"):
        raise refused("monitor", "rebase", "studio", "--training", "--model", "studio:gone", environ=environ)
    back = told("monitor", "rebase", "studio", "--training", "--model", served.tag, environ=environ)
    assert (back["windows"], back["model"]) == (None, served.tag)


def test_in_postgresql_it_is_the_same(served: Served, postgresql: Server) -> None:
    with psycopg.connect(postgresql.url, autocommit=True) as connection:  # studio answers in other tests too
        connection.execute("CREATE DATABASE monitor")
    url = postgresql.url.rpartition("/")[0] + "/monitor"
    own = {"predictions_url": url, "monitor_url": url}
    environ = served.environ | {f"HOLDFAST_{name.upper()}": url for name, url in own.items()}
    made = told("migrate", environ=environ)
    assert "windows and verdicts" in made["monitor"]
    served.answer(1_500, **own)
    first = told("monitor", "run", "studio", environ=environ)
    assert first["records"] == {"counted": 1_500}
    assert [one["rows"] for one in first["windows"]] == [1_000]
    assert told("monitor", "run", "studio", environ=environ)["records"] == {}


def test_what_cannot_be_read_is_an_error(served: Served, tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_text("no ledger at all, whatever it is called")
    damaged = {**served.environ, "HOLDFAST_MONITOR_URL": f"file://{tmp_path}"}
    nowhere = {**served.environ, "HOLDFAST_PREDICTIONS_URL": "none:"}
    for environ, words in (
        (damaged, r"ledger\.sqlite: file is not a database"),
        (nowhere, "no prediction is recorded"),
    ):
        with pytest.raises(StoreError, match=words):
            raise refused("monitor", "run", "studio", environ=environ)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///proc/nope", r"^/proc/nope cannot be the directory of the ledger: .*; set HOLDFAST_MONITOR_URL to "),
        ("file://{file}", r"file cannot be the directory of the ledger: it is a file; set HOLDFAST_MONITOR_URL to "),
        ("none:", r"^HOLDFAST_MONITOR_URL is 'none:', and has to be file:///DIRECTORY or "),
    ],
)
def test_where_no_ledger_can_be_is_an_error_that_says_what_to_set(
    url: str, words: str, served: Served, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StoreError, match=words):
        raise refused(
            "monitor", "run", "studio", environ={**served.environ, "HOLDFAST_MONITOR_URL": url.format(file=file)}
        )


@pytest.mark.parametrize(("place", "why"), [("/proc/nope/asked.json", "No such file"), ("{home}", "is a directory")])
def test_a_request_that_could_not_be_written_fails_before_anything_is_counted(
    place: str, why: str, served: Served, tmp_path: Path
) -> None:
    environ = {**served.environ, "HOLDFAST_MONITOR_URL": f"file://{tmp_path}/ledger"}
    file = place.format(home=tmp_path)
    with pytest.raises(HoldfastError, match=rf"{file}: a request .* cannot be written there: .*{why}.*--verdict"):
        raise refused("monitor", "run", "studio", "--verdict", file, environ=environ)
    assert told("monitor", "show", "studio", environ=environ)["counters"] == {}


def closed(number: int, column: str | None, model: str = "m:1") -> Closed:
    """A window of which that column alarms."""
    found = Finding(column or "", "inputs", "mix", 1, 500, 0.3, 1e-9, 1e-7, 0.1, "", 0.1, 0.2)
    findings = [] if column is None else [asdict(found)]
    verdict = {"alarm": bool(findings), "findings": findings}
    return Closed(model, number, START, START + 1, START + 2, 500, 0, 0, b"", verdict, "training")


def test_windows_in_a_row_that_say_the_same_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    alarms = Alarms(Out(as_json=False))
    alarms.tell(500, [closed(1, None), closed(2, "fee"), closed(1, "age", "n:1")])
    assert "m:1, window 2" in capsys.readouterr().out  # at once
    for number in range(3, 13):
        alarms.tell(500, [closed(number, "fee")])
    assert capsys.readouterr().out == ""
    alarms.tell(500, [closed(number, "age") for number in range(13, 18)])
    lines = [line for line in capsys.readouterr().out.splitlines() if "window" in line and "over" not in line]
    assert lines[0].split() == ["9", "windows", "more,", "3", "to", "11,", "say", "the", "same"]
    assert [line.split()[3] for line in lines[1:]] == ["12", "13"]
    alarms.tell(500, [closed(18, None)])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ALARM")]
    assert [line.split()[3] for line in lines] == ["14", "15", "16", "17"]  # five are each told
    alarms.tell(500, [closed(number, "fee") for number in (19, 20)])
    alarms.end()
    assert [line.split()[3] for line in capsys.readouterr().out.splitlines() if "ALARM" in line] == ["19", "20"]
