"""The artefact: equal models have equal digests, others have others, and anyone may read it."""

from __future__ import annotations

import json
import os
import pickletools
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import bentoml
import pytest

from model import artefact, store
from model.artefact import CARDS, NOT_CONTENT, Manifest, content_digest
from tests.model.conftest import Model
from tests.model.toys import Toy, copy_of, pulse, pulse_toy, recency_weeks, reseal
from training import fit
from training.publish import git_commit

ROOT = Path(__file__).parent.parent.parent
CHANGED: dict[str, Any] = {
    "created_at": "2001-01-01T00:00:00Z",
    "version": "20010101-00000000",
    "parent": "pulse:20000101-00000000",
    "git_commit": "0" * 40,
    "libraries": {"numpy": {"version": "9.9", "accepts": ">=9"}},
    "numeric": {"machine": "another", "probe": "0"},
}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Both toys trained anew in two other processes, with other hash seeds, threads, zones and locales."""
    variants = [
        {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1", "TZ": "UTC"},
        {"PYTHONHASHSEED": "4242", "OMP_NUM_THREADS": "2", "TZ": "Asia/Kolkata", "OPENBLAS_NUM_THREADS": "2"},
    ]
    running = []
    for variant in variants:
        root = tmp_path_factory.mktemp("elsewhere")
        environ = os.environ | variant | {"BENTOML_HOME": str(root / "bentoml"), "OMP_WAIT_POLICY": "passive"}
        Path(environ["BENTOML_HOME"]).mkdir()
        command = [sys.executable, "-c", f"from tests.model.toys import retrain; print(retrain({str(root)!r}))"]
        running.append(subprocess.Popen(command, env=environ, cwd=ROOT, stdout=subprocess.PIPE, text=True))
    answers = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    return [json.loads(answer) for answer in answers]


def test_two_other_processes_make_the_same_artefacts_file_for_file(elsewhere: list[dict[str, Any]]) -> None:
    assert elsewhere[0] == elsewhere[1]
    digests = [digest for digest, _ in elsewhere[0].values()]
    assert len(digests) == len(set(digests)) == 2


def test_and_so_does_this_process(elsewhere: list[dict[str, Any]], boosted: Model, linear: Model) -> None:
    for name, model in (("pulse", boosted), ("plan", linear)):
        digest, files = elsewhere[0][name]
        assert digest == model.manifest.content_digest
        assert set(files) == set(model.manifest.files)
        other = {file for file in files if files[file] != model.manifest.files[file]}
        assert other <= (set() if model.manifest.git_commit == git_commit() else set(CARDS))  # they tell the commit


def test_other_data_gives_another_digest(boosted: Model, tmp_path: Path) -> None:
    other = pulse_toy(tmp_path, seed=2).train().manifest
    assert other.content_digest != boosted.manifest.content_digest
    assert other.dataset.content != boosted.manifest.dataset.content


def test_other_features_give_another_digest(boosted: Model, tmp_path: Path) -> None:
    other = pulse_toy(tmp_path, usecase=pulse(recency=recency_weeks)).train().manifest
    assert other.content_digest != boosted.manifest.content_digest


def test_other_parameters_give_another_digest(boosted: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fit.PARAMETERS, "max_depth", 2)
    other = boosted.toy.train().manifest
    assert other.content_digest != boosted.manifest.content_digest
    assert other.dataset.content == boosted.manifest.dataset.content


def test_every_field_is_content_or_a_time_a_version_a_parent_or_a_machine(boosted: Model) -> None:
    fields = boosted.manifest.model_dump()
    files = boosted.manifest.files
    assert content_digest(fields, files) == boosted.manifest.content_digest
    for name in CHANGED:
        assert content_digest(fields | {name: CHANGED[name]}, files) == boosted.manifest.content_digest, name
    content = set(Manifest.model_fields) - set(CHANGED) - {"files", "content_digest"}
    assert content == set(Manifest.model_fields) - set(NOT_CONTENT)
    for name in content:
        assert content_digest(fields | {name: "another"}, files) != boosted.manifest.content_digest, name
    for name in files:
        same = content_digest(fields, files | {name: "0" * 64}) == boosted.manifest.content_digest
        assert same == (name in CARDS), name


def test_a_resealed_copy_of_another_time_and_machine_is_the_same_model(boosted: Model, tmp_path: Path) -> None:
    again = reseal(copy_of(boosted.directory, tmp_path), **CHANGED)
    assert again.content_digest == boosted.manifest.content_digest
    assert again.tag != boosted.manifest.tag


def test_anyone_may_read_it(boosted: Model, linear: Model) -> None:
    for model in (boosted, linear):
        assert stat.S_IMODE(model.directory.stat().st_mode) == 0o755
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in model.directory.iterdir()}
        assert set(modes.values()) == {0o644}, modes


def test_even_if_its_maker_shares_nothing(boosted: Model) -> None:
    manifest = boosted.manifest.model_copy(update={"name": "private", "version": "20200101-00000000"})

    def write(directory: Path) -> None:
        for name in boosted.manifest.files:
            (directory / name).write_bytes((boosted.directory / name).read_bytes())
        artefact.seal(directory, manifest)

    before = os.umask(0o077)
    try:
        assert store.save(manifest, write)
    finally:
        os.umask(before)
    directory = store.path(manifest.tag)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o644}


def test_nothing_is_pickled(boosted: Model, linear: Model) -> None:
    for path in [*boosted.directory.iterdir(), *linear.directory.iterdir()]:
        assert path.suffix in (".json", ".ubj", ".npy", ".md", ".html", ".sha256", ".yaml"), path
        with pytest.raises(ValueError):  # noqa: PT011  # its words are those of whichever byte is no opcode
            list(pickletools.genops(path.read_bytes()))


def test_the_seal_is_one_that_sha256sum_reads(boosted: Model) -> None:
    done = subprocess.run(["sha256sum", "--check", "manifest.sha256"], cwd=boosted.directory, capture_output=True)
    assert done.returncode == 0


def test_a_model_that_is_there_is_not_stored_again(boosted: Model) -> None:
    before = store.tags("pulse")
    again = boosted.toy.train(parent="pulse:20000101-00000000")
    assert not again.stored
    assert again.manifest == boosted.manifest
    assert store.tags("pulse") == before


def test_the_tag_is_the_day_and_the_content(boosted: Model) -> None:
    day, content = boosted.manifest.version.split("-")
    assert day == boosted.manifest.created_at[:10].replace("-", "")
    assert boosted.manifest.content_digest.startswith(content)
    assert len(content) == 8


def test_a_broken_model_in_the_store_does_not_keep_another_from_being_trained(boosted: Model) -> None:
    usecase = replace(boosted.toy.usecase, name="frail")
    broken = boosted.manifest.model_copy(update={"name": "frail", "version": "20200101-00000000"})

    def write(directory: Path) -> None:
        artefact.seal(directory, broken)
        (directory / "manifest.json").write_text("{}")

    assert store.save(broken, write)
    trained = Toy(usecase, boosted.toy.store, boosted.toy.cache).train("logistic")
    assert trained.stored
    assert store.tags("frail") == [broken.tag, trained.manifest.tag]
    for tag in store.tags("frail"):
        bentoml.models.delete(tag)
