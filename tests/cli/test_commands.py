"""Every command once, as a newcomer would use it, on a fresh home and on the real data."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.server import free_ports, in_use
from cli.workspace import ROOT, Workspace
from model import store as model_store
from tests.cli.conftest import figures, holdfast

CSV = """customer_id date number_of_cds dollar_value
00001 19970101 1 11.77
00002 19970112 1 12.00
00002 19970112 x 12.00
00003 19971312 1 12.00
"""


def test_help_names_every_command() -> None:
    told = holdfast("--help").stdout
    for command in (
        "data", "ingest", "quarantine", "materialize", "train", "evaluate", "models", "parity", "run", "demo-skew",
        "settings", "features",
    ):  # fmt: skip
        assert command in told


def test_settings_are_told_with_their_values() -> None:
    assert figures("settings", environ={"HOLDFAST_USECASE": "telco"})["usecase"] == "telco"
    assert "HOLDFAST_ONLINE_READ" in holdfast("settings").stdout
    for as_json in ((), ("--json",)):
        told = holdfast("settings", *as_json, environ={"HOLDFAST_ONLINE_URL": "redis://u:secret@host:6379/0"}).stdout
        assert "redis://u:***@host:6379/0" in told
        assert "secret" not in told


@pytest.mark.parametrize(
    ("words", "environ", "told"),
    [
        (("train", "nothing"), {}, "there are cdnow, telco"),
        (("ingest", "no-such-file.csv"), {}, "no such file"),
        (("train", "x"), {"HOLDFAST_USECASES": "/nowhere"}, "HOLDFAST_USECASES=/nowhere: no such directory"),
        (("settings",), {"HOLDFAST_NOW": "yesterday"}, "HOLDFAST_NOW='yesterday'"),
        (("settings",), {"HOLDFAST_NOW": "1998-07-01T00:00:00"}, "HOLDFAST_NOW"),
        (("settings",), {"HOLDFAST_GATE": "off"}, "HOLDFAST_GATE='off'"),
        (("models", "promote", "cdnow:none"), {}, "no model cdnow:none in the store"),
        (("models", "rollback", "cdnow"), {}, "nothing to go back to"),
        (("models", "show", "cdnow@champion"), {}, "holdfast train cdnow"),
        (("models", "history", "cdnow", "--at", "noon"), {}, "'noon' is no time"),
        (("ingest", "README.md"), {"HOLDFAST_EVENTS_URL": "mysql://x"}, "no engine for it"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_exit_code_1(
    words: tuple[str, ...], environ: dict[str, str], told: str, homes: dict[str, str]
) -> None:
    done = holdfast(*words, environ={**homes, **environ}, code=1)
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_ingest_quarantine_and_replay(homes: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "orders.txt"
    path.write_text(CSV)
    first = figures("ingest", str(path), "--backfill", environ=homes)
    assert (first["read"], first["new"], first["quarantined"]) == (4, 2, 2)
    again = figures("ingest", str(path), "--backfill", environ=homes)
    assert (again["read"], again["new"], again["known"], again["quarantined"]) == (4, 0, 2, 2)
    waiting = figures("quarantine", "list", environ=homes)["waiting"]
    assert [row["row"] for row in waiting] == [3, 4]
    assert "cds" in waiting[0]["reasons"][0]
    assert waiting[1]["original"] == "00003 19971312 1 12.00"
    assert "no whole number" in holdfast("quarantine", "list", environ=homes).stdout
    replayed = figures("quarantine", "replay", environ=homes)
    assert (replayed["new"], replayed["quarantined"]) == (0, 2)


def test_a_file_of_which_nothing_is_accepted_is_a_failure_that_says_why(homes: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "orders.txt"
    path.write_text(CSV.replace(" 1997", " 97"))
    done = holdfast("ingest", str(path), "--backfill", environ=homes, code=1)
    assert "4 x ordered_at: '...' is no time, %Y%m%d in UTC" in done.stdout
    assert "no row of" in done.stderr
    assert "no accepted row" in holdfast("train", "cdnow", environ=homes, code=1).stderr
    assert holdfast("quarantine", "list", "--limit", "1", environ=homes).stdout.endswith("1 of 4 waiting rows\n")


def test_history_without_backfill_is_told_to_training(cdnow: Workspace, homes: dict[str, str]) -> None:
    sample = cdnow.usecase.sample
    assert sample is not None
    path = cdnow.settings.home / "data" / Path(sample.member).name
    holdfast("ingest", str(path), environ=homes)
    assert "again with --backfill" in holdfast("train", "cdnow", environ=homes, code=1).stderr


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def broken(:\n", "SyntaxError"),
        ("import no_such_module\n", "No module named 'no_such_module'"),
        ("x = 1\n", "it has no USECASE"),
        ("from usecases.cdnow import USECASE\n", "its USECASE is named 'cdnow'"),
        ("1 / 0\n", "line 1"),
    ],
)
def test_a_module_that_is_no_use_case_is_told_in_one_line(code: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(code)
    done = holdfast("features", "show", "mine", environ={"HOLDFAST_USECASES": str(tmp_path)}, code=1)
    assert told in done.stderr
    assert "mine.py" in done.stderr
    assert "Traceback" not in done.stderr


def test_version() -> None:
    assert holdfast("--version").stdout.startswith("holdfast 0.")


def test_materialize_says_what_it_wrote_and_repeats_nothing(homes: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "orders.txt"
    path.write_text(CSV)
    holdfast("ingest", str(path), "--backfill", environ=homes)
    first, second = (figures("materialize", environ=homes) for _ in range(2))
    assert first == {"rows": 2, "as_of": "1998-07-01T00:00:00Z", "computed": 2, "full": True}
    assert second == {**first, "computed": 0, "full": False}
    assert figures("materialize", "--full", environ=homes) == first


def test_before_a_rollout_rows_that_are_fresh_enough_stay_as_they_are(homes: dict[str, str], tmp_path: Path) -> None:
    asked = ("materialize", "--fresh", "36", "--wait", "60")
    assert "nobody has events yet" in holdfast(*asked, environ=homes).stdout
    path = tmp_path / "orders.txt"
    path.write_text(CSV)
    holdfast("ingest", str(path), "--backfill", environ=homes)
    first = figures(*asked, environ=homes)
    assert first == {"rows": 2, "as_of": "1998-07-01T00:00:00Z", "computed": 2, "full": False}
    path.write_text(CSV.splitlines()[0] + "\n00004 19970113 1 12.00\n")
    holdfast("ingest", str(path), "--backfill", environ=homes)
    assert figures(*asked, environ=homes) == {**first, "computed": 0}
    later = figures(*asked, environ=homes | {"HOLDFAST_NOW": "1998-07-02T13:00:00Z"})
    assert (later["rows"], later["as_of"]) == (3, "1998-07-02T00:00:00Z")


def test_an_address_may_be_in_a_file(homes: dict[str, str], tmp_path: Path) -> None:
    held = tmp_path / "address"
    refused = holdfast("ingest", f"@{held}", environ=homes, code=1).stderr
    assert f"@{held} cannot be read: No such file" in refused
    held.write_text("\n")
    assert "is empty" in holdfast("score", "cdnow", "--to", f"@{held}", environ=homes, code=1).stderr
    held.write_text("postgresql://me:secret@localhost:1/shop\n")
    refused = holdfast("ingest", f"@{held}", environ=homes, code=1).stderr
    assert "localhost" in refused
    assert "secret" not in refused


def test_features_prints_the_one_sql_text(cdnow: Workspace) -> None:
    told = figures("features", "show", "cdnow")
    assert told["fingerprint"] == cdnow.usecase.features.fingerprint
    assert told["sql"].startswith("SELECT")


def test_train_promote_rollback_and_history(telco: Workspace, homes: dict[str, str]) -> None:
    environ = {**homes, "HOLDFAST_HOME": str(telco.settings.home), "HOLDFAST_USER": "maria"}
    trees = figures("train", "telco", environ=environ)
    assert trees["stored"] is True
    repeated = figures("train", "telco", environ=environ)
    assert repeated["stored"] is False
    assert repeated["manifest"]["content_digest"] == trees["manifest"]["content_digest"]
    linear = figures("train", "telco", "--algorithm", "logistic", environ=environ)
    tags = [run["manifest"]["name"] + ":" + run["manifest"]["version"] for run in (trees, linear)]
    for tag in tags:
        assert figures("models", "promote", tag, "--why", "a trial", environ=environ)["model"] == tag
    listed = figures("models", "list", "telco", environ=environ)
    assert listed["champion"] == tags[1]
    assert len(listed["models"]) == 2
    back = figures("models", "rollback", "telco", "--why", "worse", environ=environ)
    assert (back["before"], back["tag"], back["who"], back["why"]) == (tags[1], tags[0], "maria", "worse")
    entries = figures("models", "history", "telco", environ=environ)["entries"]
    assert [entry["action"] for entry in entries] == ["promote", "promote", "rollback"]
    for entry, tag in zip(entries, [tags[0], tags[1], tags[0]], strict=True):
        assert figures("models", "history", "telco", "--at", entry["time"], environ=environ)["champion"] == tag
    assert figures("models", "show", "telco@champion", environ=environ)["version"] == trees["manifest"]["version"]
    shown = holdfast("models", "show", tags[1], environ=environ).stdout
    assert "ROC-AUC" in shown
    assert "tenure" in shown


def test_evaluate_reaches_the_bars(cdnow: Workspace, telco: Workspace) -> None:
    assert cdnow.champion()
    assert telco.champion()
    own = figures("evaluate", "cdnow")
    assert set(own) == {"model", "logistic"}
    assert own["model"]["roc_auc"] >= 0.80
    assert own["model"]["log_loss"] <= 0.350
    assert own["model"]["ece"] <= 0.025
    own = figures("evaluate", "telco")
    assert own["model"]["roc_auc"] >= 0.838
    assert own["model"]["pr_auc"] >= 0.65
    assert own["model"]["log_loss"] <= 0.420
    assert own["model"]["ece"] <= 0.035


def test_run_from_nothing_and_again(homes: dict[str, str]) -> None:
    environ = {**homes, "HOLDFAST_USECASE": "telco"}
    first = figures("run", "--no-stay", "--port", "3997", environ=environ)
    assert first["answer"]["customer_id"]
    assert 0 < first["answer"]["probability"] < 1
    again = holdfast("run", "--no-stay", "--port", "3997", environ=environ).stdout
    assert again.count("already there") == 2
    curl = again[again.index("curl -s") : again.index("\n\n{")]
    assert "localhost:3997/v1/predict" in curl
    assert subprocess.run(["bash", "-n", "-c", curl], check=False).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_run_and_its_server(number: signal.Signals, telco: Workspace) -> None:
    assert telco.champion()
    port = free_ports(3)[0]
    command = [str(Path(sys.executable).with_name("holdfast")), "run", "--port", str(port)]
    environ = {**os.environ, "HOLDFAST_USECASE": "telco"}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(line.startswith("Serving telco") for line in process.stdout)
        assert in_use(port)
        process.send_signal(number)
        assert process.stdout.read().endswith("stopping\nstopped\n")
        assert process.wait() == 0
    assert not in_use(port)


def test_run_says_when_its_port_is_taken(homes: dict[str, str]) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = holdfast("run", "--no-stay", "--port", port, environ=homes, code=1)
    assert f"port {port} (HTTP) is taken" in done.stderr


def test_demo_skew_tells_the_story(cdnow: Workspace) -> None:
    told = figures("demo-skew")
    assert told["customers"] == 23_570
    assert all(0 < variant["feature"] <= told["customers"] for variant in told["variants"])
    assert any(variant["decision"] > 0 for variant in told["variants"])
    assert told["proof"].endswith("0 differing bits")
    assert told["model"] in model_store.tags(cdnow.usecase.name)
