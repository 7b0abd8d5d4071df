"""The model store: what is there, where it lies, and what BentoML's own commands show of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bentoml
import pytest

from model import artefact, store
from model.store import ModelNotFound
from tests.model.conftest import Model


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
