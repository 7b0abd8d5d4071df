"""`holdfast score` as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from cli.workspace import Workspace
from tests.cli.conftest import figures, holdfast


def test_it_says_what_was_asked_and_what_came_of_it(cdnow: Workspace, tmp_path: Path) -> None:
    words = ("score", "cdnow", "--out", str(tmp_path), "--as-of", "1998-01-01T12:00:00+02:00", "--explain", "2")
    told = figures(*words)
    assert told["as_of"] == "1998-01-01T00:00:00Z"
    assert told["model"] == cdnow.champion()
    assert (told["rows"], told["scored"], told["quarantined"], told["resumed"]) == (23_570, 23_570, 0, 0)
    assert told["explain"] == 2
    scores = pd.read_parquet(told["where"])
    assert len(scores) == 23_570
    assert set(scores["explanation"].map(lambda why: len(why["contributions"]))) == {2}
    again = holdfast(*words).stdout
    assert "snapped to the cadence of cdnow" in again
    assert "1 part(s), 1 of them already there" in again
    assert told["run_id"] in again


def test_the_same_command_resumes_although_the_clock_has_moved(telco: Workspace, tmp_path: Path) -> None:
    words = ("score", "telco", "--out", str(tmp_path), "--rows-per-part", "4000")
    noon = {"HOLDFAST_NOW": "2026-07-01T12:00:00Z"}
    first = figures(*words, environ=noon)
    assert first["model"] == telco.champion()
    (Path(first["where"]) / "_SUCCESS").unlink()
    second = figures(*words, environ={"HOLDFAST_NOW": "2026-07-01T13:00:00Z"})
    assert (second["run_id"], second["resumed"]) == (first["run_id"], 2)
    third = figures(*words, environ={"HOLDFAST_NOW": "2026-07-01T14:00:00Z"})
    assert (third["as_of"], third["resumed"]) == ("2026-07-01T14:00:00Z", 0)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "Say either --out DIR or --to"),
        (("--out", "x", "--to", "postgresql://h/d/t"), "Say either --out DIR or --to"),
        (("--to", "postgresql://me:secret@h/t"), "--to postgresql://me:***@h/t: write postgresql://"),
        (("--out", "x", "--as-of", "1998-07-02T00:00:00Z"), "lies after now, 1998-07-01T00:00:00Z"),
        (("--out", "x", "--as-of", "noon"), "'noon' is no time"),
        (("--out", "x", "--model", "cdnow:none"), "no model cdnow:none in the store"),
        (("--out", "x", "--model", "cdnow"), "names no version"),
        (("--out", "README.md"), "--out README.md: Not a directory"),
    ],
)
def test_what_a_user_can_mend_is_one_line(words: tuple[str, ...], told: str, cdnow: Workspace) -> None:
    assert cdnow.champion() is not None
    done = holdfast("score", "cdnow", *words, code=1)
    assert told in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_a_time_before_all_data_is_told(cdnow: Workspace, tmp_path: Path) -> None:
    assert cdnow.champion() is not None
    words = ("score", "cdnow", "--out", str(tmp_path), "--as-of", "1996-01-01T00:00:00Z")
    assert "nobody was known at 1996-01-01T00:00:00Z" in holdfast(*words, code=1).stderr
    assert not list(tmp_path.rglob("_SUCCESS"))


def test_without_a_champion_it_says_how_to_get_one(homes: dict[str, str], tmp_path: Path) -> None:
    told = holdfast("score", "cdnow", "--out", str(tmp_path / "x"), environ=homes, code=1).stderr
    assert "holdfast models promote" in told
    assert not (tmp_path / "x").exists()
