"""Models that the store lacks: where they come from, what is taken for them, and what is remembered of those missed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model import gate, store
from model.archive import Away, push
from model.artefact import ArtefactError
from model.fetching import MEMORY, Models
from model.store import ModelNotFound
from tests.model.conftest import Model
from tests.model.places import another_store
from tests.model.toys import edit_json

OTHER = "0" * 64


def carried(model: Model, root: Path) -> Path:
    """A directory of models as an image has them, with that one."""
    directory = root / "models"
    shutil.copytree(model.directory, directory / model.manifest.tag.replace(":", "/"))
    return directory


@pytest.fixture(params=["directory", "archive"])
def source(request: pytest.FixtureRequest, boosted: Model, tmp_path: Path) -> Iterator[Callable[[str], Models]]:
    """Models in an empty store, with one source that holds a model: made from what the journal has of it."""
    url = str(tmp_path / "archives")
    if request.param == "archive":
        push(url, boosted.manifest.tag)
    directory = carried(boosted, tmp_path) if request.param == "directory" else None
    with another_store(tmp_path / "fresh"):
        yield lambda content: Models(directory, url if directory is None else None, lambda _: content)


def test_a_model_that_is_nowhere_here_is_brought_into_the_store(
    source: Callable[[str], Models], boosted: Model
) -> None:
    tag = boosted.manifest.tag
    found = source(boosted.manifest.content_digest).path(tag)
    assert found == store.path(tag)
    assert store.tags() == [tag]
    assert "agree to the last bit" in gate.load(found, boosted.toy.usecase.features).proof
    assert source(OTHER).path(tag) == found  # it is there: nobody is asked


def test_what_no_journal_knows_is_taken_as_it_is(source: Callable[[str], Models], boosted: Model) -> None:
    assert source("").path(boosted.manifest.tag) == store.path(boosted.manifest.tag)


def test_another_content_than_the_journal_s_is_refused(source: Callable[[str], Models], boosted: Model) -> None:
    tag, content = boosted.manifest.tag, boosted.manifest.content_digest
    with pytest.raises(ArtefactError, match=f"{content}, and the journal says that {tag} has {OTHER}"):
        source(OTHER).path(tag)
    assert store.tags() == []


def test_the_directory_comes_first_and_what_is_broken_there_is_not_passed_over(boosted: Model, tmp_path: Path) -> None:
    tag, url = boosted.manifest.tag, str(tmp_path / "archives")
    push(url, tag)
    directory = carried(boosted, tmp_path)
    edit_json(directory / tag.replace(":", "/") / "decision.json", lambda decision: decision.update(threshold=0.5))
    with another_store(tmp_path / "fresh"), pytest.raises(ArtefactError, match=r"decision\.json: sha256"):
        Models(directory, url, lambda _: "").path(tag)


def test_those_of_the_directory_are_told_until_they_are_in_the_store(boosted: Model, tmp_path: Path) -> None:
    tag, name = boosted.manifest.tag, boosted.manifest.name
    directory = carried(boosted, tmp_path)
    (directory / name / "latest").write_text(boosted.manifest.version)  # as BentoML has it
    with another_store(tmp_path / "fresh"):
        models = Models(directory, None, lambda _: "")
        assert (models.carried(name), models.carried("other")) == ([tag], [])
        models.path(tag)
        assert models.carried(name) == []
        assert Models(None, None, lambda _: "").carried(name) == []


def test_one_of_another_tag_is_not_taken(boosted: Model, tmp_path: Path) -> None:
    directory, name = carried(boosted, tmp_path), boosted.manifest.name
    (directory / boosted.manifest.tag.replace(":", "/")).rename(directory / name / "20200101-00000000")
    with (
        another_store(tmp_path / "fresh"),
        pytest.raises(ArtefactError, match=f"holds {boosted.manifest.tag}, not {name}:20200101"),
    ):
        Models(directory, None, lambda _: "").path(f"{name}:20200101-00000000")


def test_one_that_is_nowhere_is_told_with_every_place_and_asked_for_again_after_a_while(
    boosted: Model, tmp_path: Path
) -> None:
    tag, url, time = boosted.manifest.tag, tmp_path / "archives", [0.0]
    url.mkdir()
    (tmp_path / "models").mkdir()
    with another_store(tmp_path / "fresh"):
        models = Models(tmp_path / "models", str(url), lambda _: "", lambda: time[0])
        with pytest.raises(ModelNotFound, match=f"{url} holds no model {tag}.*models push.*store.*HOLDFAST_MODELS"):
            models.path(tag)
    push(str(url), tag)
    with another_store(tmp_path / "fresh"):
        time[0] = MEMORY - 1
        with pytest.raises(ModelNotFound):
            models.path(tag)
        time[0] = MEMORY
        assert models.path(tag) == store.path(tag)


def test_an_archive_out_of_reach_is_no_missing_model(boosted: Model, tmp_path: Path) -> None:
    tag, share, time = boosted.manifest.tag, tmp_path / "share", [0.0]
    with another_store(tmp_path / "fresh"):
        models = Models(carried(boosted, tmp_path), str(share), lambda _: "", lambda: time[0])
        other = f"{boosted.manifest.name}:20200101-00000000"
        with pytest.raises(Away, match="no directory"):
            models.path(other)
        share.mkdir()
        with pytest.raises(Away):  # for a while it is not asked, whatever for
            models.path(f"{other}1")
        assert models.path(tag) == store.path(tag)  # what needs no archive is there
        time[0] = MEMORY
        with pytest.raises(ModelNotFound):
            models.path(other)


def test_an_archive_that_was_changed_is_refused_as_such(boosted: Model, tmp_path: Path) -> None:
    tag, url = boosted.manifest.tag, tmp_path / "archives"
    push(str(url), tag)
    (url / f"{tag.replace(':', '/')}.tar").write_bytes(b"another one")
    with another_store(tmp_path / "fresh"), pytest.raises(ArtefactError, match="was not opened"):
        Models(None, str(url), lambda _: "").path(tag)


def test_what_a_directory_holds_beside_an_artefact_stays_there(boosted: Model, tmp_path: Path) -> None:
    directory = carried(boosted, tmp_path)
    own = directory / boosted.manifest.tag.replace(":", "/")
    (own / "custom_objects.pkl").write_bytes(b"")  # BentoML would unpickle it
    with another_store(tmp_path / "fresh"):
        assert not (Models(directory, None, lambda _: "").path(boosted.manifest.tag) / "custom_objects.pkl").exists()
