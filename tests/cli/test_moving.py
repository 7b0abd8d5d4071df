"""`holdfast models push` and `pull`: a model leaves one machine and answers on another."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from benchmarks.servers import BUCKET
from cli.workspace import ROOT, Workspace
from model import artefact, gate, golden, store
from model.archive import push
from tests.cli.conftest import figures, holdfast
from tests.model.places import another_store, s3
from tests.model.toys import copy_of, reseal


@pytest.fixture(scope="module")
def protocol() -> Iterator[dict[str, str]]:
    """A server of S3's protocol; its environment."""
    with s3() as environ:
        yield environ


def champion(workspace: Workspace) -> str:
    """Its tag."""
    tag = workspace.champion()
    assert tag is not None
    return tag


def test_a_model_answers_on_another_machine_as_on_its_own(
    cdnow: Workspace, homes: dict[str, str], protocol: dict[str, str]
) -> None:
    url, tag = f"s3://{BUCKET}/commands", champion(cdnow)
    environ = {**protocol, "HOLDFAST_ARCHIVE_URL": url}
    pushed = figures("models", "push", "cdnow@champion", environ=environ)
    assert (pushed["stored"], pushed["url"]) == (True, f"{url}/{tag.replace(':', '/')}.tar")
    words = pushed["pull"].split()
    assert words[:3] == ["holdfast", "models", "pull"]
    assert words[3].startswith(f"{tag}@sha256:")
    pulled = figures(*words[1:], environ={**environ, **homes})
    assert (pulled["tag"], pulled["stored"], pulled["gate"]["passed"]) == (tag, True, True)
    assert "golden rows agree to the last bit" in pulled["gate"]["told"]
    with another_store(Path(homes["BENTOML_HOME"])):
        arrived = gate.load(store.path(tag), cdnow.usecase.features)
    rows = artefact.read_golden(store.path(tag))
    assert golden.compare(rows, arrived.scorer, exact=True) == []
    listed = subprocess.run(
        [str(Path(sys.executable).with_name("bentoml")), "models", "list"],
        env={**os.environ, **homes},
        capture_output=True,
        text=True,
        check=True,
    )
    assert tag in listed.stdout
    again = figures("models", "pull", tag, environ={**environ, **homes})
    assert (again["stored"], again["digest"]) == (False, pulled["digest"])


def test_models_that_came_with_an_image_are_listed_before_they_are_used(
    cdnow: Workspace, homes: dict[str, str]
) -> None:
    tag = champion(cdnow)
    environ = {**homes, "HOLDFAST_MODELS": str(store.path(tag).parent.parent)}
    listed = figures("models", "list", "cdnow", environ=environ)
    assert listed["models"] == []
    assert tag in listed["carried"]
    said = holdfast("models", "list", "cdnow", environ=environ).stdout
    assert f"{tag} is in {environ['HOLDFAST_MODELS']} (HOLDFAST_MODELS)" in said
    assert "no models" not in said
    assert tag in holdfast("models", "show", tag, environ=environ).stdout
    after = figures("models", "list", "cdnow", environ=environ)
    assert [f"{one['name']}:{one['version']}" for one in after["models"]] == [tag]
    assert tag not in after["carried"]


def other(tag: str, to: Path, home: Path, **changes: str) -> None:
    """A store in `home` with a sound artefact of that tag whose manifest was changed."""
    directory = copy_of(store.path(tag), to)
    (directory / "model.yaml").unlink()
    reseal(directory, **changes)
    with another_store(home), store.staging() as staging:
        shutil.copytree(directory, staging / "model")
        assert store.put(staging / "model", tag)


def test_a_model_of_other_features_is_stored_and_the_remedy_told(
    cdnow: Workspace, homes: dict[str, str], tmp_path: Path
) -> None:
    tag, url = champion(cdnow), str(tmp_path / "archives")
    other(tag, tmp_path / "changed", tmp_path / "other", fingerprint="0" * 64)
    with another_store(tmp_path / "other"):
        pushed = push(url, tag)
    told = holdfast("models", "pull", pushed.reference, url, environ=homes).stdout
    assert f"pull        {tag}: sha256:{pushed.reference.rpartition(':')[2]}, stored" in told
    assert "gate        it is stored, and cannot be used here" in told
    assert "fingerprint: the model was trained on features 0000000000000000" in told
    assert "run the code it was trained with, or `holdfast train cdnow`" in told
    with another_store(Path(homes["BENTOML_HOME"])):
        assert store.manifest(tag).fingerprint == "0" * 64


def test_of_two_models_pushed_at_once_under_one_name_one_is_there_and_the_other_is_told(
    cdnow: Workspace, tmp_path: Path
) -> None:
    tag, url = champion(cdnow), str(tmp_path / "archives")
    started = []
    for number in range(2):
        home = tmp_path / f"store-{number}"
        other(tag, tmp_path / f"changed-{number}", home, fingerprint=str(number) * 64)
        command = [str(Path(sys.executable).with_name("holdfast")), "models", "push", tag, url]
        environ = {**os.environ, "BENTOML_HOME": str(home)}
        started.append(subprocess.Popen(command, cwd=ROOT, env=environ, stdout=PIPE, stderr=PIPE, text=True))
    ended = [(process.communicate(), process.returncode) for process in started]
    assert sorted(code for _, code in ended) == [0, 1]
    won = next(told[0] for told, code in ended if code == 0)
    for (_, told), code in ended:
        assert code == 0 or "with another content" in told
        assert code == 0 or len(told.splitlines()) == 1
    line = Path(url, *tag.split(":")).with_suffix(".tar.sha256")
    assert line.read_text().split()[0] in won
    checked = subprocess.run(["sha256sum", "--check", line.name], cwd=line.parent, capture_output=True, check=False)
    assert checked.returncode == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("pull", "cdnow:1"), "set HOLDFAST_ARCHIVE_URL"),
        (("push", "cdnow@champion", "/nowhere"), "holdfast train cdnow"),
    ],
)
def test_what_a_user_can_mend_is_one_line(words: tuple[str, ...], told: str, homes: dict[str, str]) -> None:
    done = holdfast("models", *words, environ=homes, code=1)
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_driver_is_told_with_what_brings_it(homes: dict[str, str]) -> None:
    program = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "s3fs":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
sys.argv = ["holdfast", "models", "pull", "cdnow:1", "s3://bucket"]
from cli.main import main
main()
"""
    command = [sys.executable, "-c", program]
    environ = {**os.environ, **homes}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "holdfast: s3://bucket: the driver of s3:// is not installed: `pip install -e '.[jobs,s3]'`\n"
    )
