"""The model store: what is there, where it lies, and what BentoML's own commands show of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bentoml
import pytest

from model import artefact, store
from model.artefact import ArtefactError
from model.store import ModelNotFound
from tests.model.conftest import Model
from tests.model.racing import save, variant

STAGING = store.home() / "holdfast" / "staging"


def test_bentoml_shows_the_main_figures(boosted: Model) -> None:
    info = bentoml.models.get(boosted.manifest.tag).info
    shown: dict[str, Any] = info.metadata
    assert shown["metrics"]["roc_auc"] == boosted.manifest.metrics["model"]["roc_auc"]
    assert shown["content_digest"] == boosted.manifest.content_digest
    assert shown["dataset"] == boosted.manifest.dataset.id
    assert info.labels["usecase"] == "pulse"
    assert info.labels["algorithm"] == "xgboost"
    assert boosted.manifest.fingerprint.startswith(info.labels["fingerprint"])


def test_the_home_is_the_tests_own(boosted: Model) -> None:
    assert store.home() == Path(os.environ["BENTOML_HOME"])
    assert store.home() in boosted.directory.parents
    assert store.home() != Path.home() / "bentoml"


def test_tags_are_listed_by_name_oldest_first(boosted: Model, linear: Model) -> None:
    assert boosted.manifest.tag in store.tags("pulse")
    assert linear.manifest.tag not in store.tags("pulse")
    assert {boosted.manifest.tag, linear.manifest.tag} <= set(store.tags())
    assert store.tags("nothing-of-that-name") == []
    times = [bentoml.models.get(tag).info.creation_time for tag in store.tags()]
    assert times == sorted(times)


def test_a_tag_that_is_not_there_is_told_with_those_that_are(boosted: Model) -> None:
    with pytest.raises(ModelNotFound) as caught:
        store.path("pulse:19990101-00000000")
    assert boosted.manifest.tag in str(caught.value)
    with pytest.raises(ModelNotFound, match="of nothing there are: none"):
        store.path("nothing:19990101-00000000")


@pytest.mark.parametrize("text", ["", "pulse@champion", "pulse:a/b"])
def test_what_cannot_be_a_tag_is_not_there(text: str) -> None:
    with pytest.raises(ModelNotFound):
        store.path(text)


def test_manifests_pass_over_models_that_are_not_ours(boosted: Model) -> None:
    with bentoml.models.create("stranger:1") as model:
        Path(model.path_of("weights.bin")).write_bytes(b"\x00")
    found, broken = store.manifests()
    assert broken == []
    assert boosted.manifest in found
    assert all(manifest.name != "stranger" for manifest in found)
    assert store.manifests("stranger") == ([], [])
    bentoml.models.delete("stranger:1")


def test_the_same_tag_is_stored_once(boosted: Model) -> None:
    def write(directory: Path) -> None:
        raise AssertionError(f"{directory} must not be written")

    assert not store.save(boosted.manifest, write)


def test_a_write_that_fails_leaves_nothing_behind(boosted: Model) -> None:
    manifest = boosted.manifest.model_copy(update={"name": "halfway", "version": "20200101-00000000"})

    def write(directory: Path) -> None:
        artefact.seal(directory, manifest)
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        store.save(manifest, write)
    assert store.tags("halfway") == []
    assert not (store.home() / "models" / "halfway").exists()
    assert [path for path in STAGING.iterdir() if path.is_dir()] == []


def latest(name: str) -> str:
    """What BentoML takes for the newest one, by its file and by its own reading."""
    version = (store.home() / "models" / name / "latest").read_text()
    assert str(bentoml.models.get(name).tag) == f"{name}:{version}"
    return version


def test_latest_is_the_one_that_was_made_last_whatever_is_stored_or_deleted_last(linear: Model) -> None:
    made = {"b-middle": "2020-01-02", "a-newest": "2020-01-03", "c-oldest": "2020-01-01"}
    for version, day in made.items():
        assert save(linear.directory, variant(linear.directory, "ages", version, created_at=f"{day}T00:00:00.000Z"))
    assert store.tags("ages") == ["ages:c-oldest", "ages:b-middle", "ages:a-newest"]
    assert latest("ages") == "a-newest"
    store.delete("ages:a-newest")
    assert latest("ages") == "b-middle"
    store.delete("ages:c-oldest")
    assert latest("ages") == "b-middle"
    with pytest.raises(ModelNotFound, match="of ages there are: ages:b-middle"):
        store.delete("ages:c-oldest")
    store.delete("ages:b-middle")
    assert not (store.home() / "models" / "ages").exists()


def test_a_directory_that_was_filled_out_of_sight_is_put_in_its_place(linear: Model) -> None:
    manifest = variant(linear.directory, "unpacked", "1")
    for stored in (True, False):
        with store.staging() as staging:
            directory = staging / "inner"
            directory.mkdir(mode=0o700)
            for name in manifest.files:
                (directory / name).write_bytes((linear.directory / name).read_bytes())
            artefact.seal(directory, manifest)
            (directory / "card.md").chmod(0o600)
            with pytest.raises(ArtefactError, match="holds unpacked:1, not unpacked:2"):
                store.put(directory, "unpacked:2")
            assert store.put(directory, manifest.tag) is stored
        assert not staging.exists()
    found = store.path("unpacked:1")
    assert artefact.check_files(found, store.manifest("unpacked:1")) == []
    assert {path.stat().st_mode & 0o777 for path in found.iterdir()} == {0o644}
    assert found.stat().st_mode & 0o777 == 0o755
    assert bentoml.models.get("unpacked:1").info.labels["algorithm"] == "logistic"
    store.delete("unpacked:1")


def test_half_a_model_that_something_else_left_is_no_model_and_is_replaced(linear: Model) -> None:
    half = store.home() / "models" / "half" / "1"
    half.mkdir(parents=True)
    (half / "manifest.json").write_text("{")
    assert store.tags("half") == []
    assert not store.there("half:1")
    assert save(linear.directory, variant(linear.directory, "half", "1"))
    assert store.tags("half") == ["half:1"]
    assert artefact.check_files(half, store.manifest("half:1")) == []
    store.delete("half:1")


def test_a_part_of_a_version_is_no_tag(boosted: Model) -> None:
    with pytest.raises(ModelNotFound):
        store.path(boosted.manifest.tag[:-1])
    assert not store.there(boosted.manifest.name)
