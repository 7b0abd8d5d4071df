"""`--engine spark`: the same rows, on a machine whose own Java does not run; and engines that do not go together."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from cli.workspace import Workspace
from features.store import open_online
from tests.cli.conftest import figures, holdfast
from tests.features.test_aggregates import same


def test_spark_materializes_the_same_rows_with_the_java_of_a_wheel(cdnow: Workspace, tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/online.sqlite"
    environ = {"HOLDFAST_ONLINE_URL": url, "JAVA_HOME": "/nowhere"}
    done = figures("materialize", "-u", "cdnow", "--engine", "spark", "--master", "local[2]", "--full", environ=environ)
    assert (done["full"], done["computed"]) == (True, done["rows"])
    keys = cdnow.events.keys(cdnow.as_of).tolist()
    assert done["rows"] == len(keys)
    with (
        closing(cdnow.online()) as own,
        closing(open_online(url, tmp_path, cdnow.usecase.features, name="cdnow")) as made,
    ):
        same(made.read(keys), own.read(keys))


@pytest.mark.parametrize(
    ("words", "environ", "said"),
    [
        (["train", "cdnow", "--master", "local[2]"], {}, "say --engine spark too"),
        (
            ["score", "cdnow", "--out", "scores", "--engine", "duckdb"],
            {"HOLDFAST_EVENTS_URL": "postgresql://u:secret@127.0.0.1/db"},
            "u:***@127.0.0.1",
        ),
    ],
)
def test_engines_that_do_not_go_together_are_refused(words: list[str], environ: dict[str, str], said: str) -> None:
    done = holdfast(*words, environ=environ, code=1)
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
