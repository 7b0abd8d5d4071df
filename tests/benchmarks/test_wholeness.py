"""What looks for half-made models and archives after a blow sees them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import wholeness
from model import store
from model.archive import push
from tests.model.places import another_store
from tests.model.toys import plan_toy

Harm = Callable[[Path], object]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a model in its store, and its archive."""
    root = tmp_path_factory.mktemp("whole")
    with another_store(root / "bentoml"):
        push(str(root / "archives"), plan_toy(root / "toy").train("logistic").manifest.tag)
    return root


def copied(home: Path, to: Path) -> tuple[Path, Path]:
    """The directories of a copy of the model and of its archive's use case."""
    for part in ("bentoml", "archives"):
        shutil.copytree(home / part, to / part)
    (model,) = (to / "bentoml" / "models" / "plan").glob("*/")
    return model, to / "archives" / "plan"


def test_what_is_whole_is_counted(home: Path, tmp_path: Path) -> None:
    copied(home, tmp_path)
    with another_store(tmp_path / "bentoml"):
        assert wholeness.models(tmp_path / "bentoml" / "models") == set(store.tags()) != set()
        assert wholeness.archives(tmp_path / "archives") == set(store.tags())


HARMS: dict[str, Harm] = {
    "a file less": lambda model: (model / "golden.json").unlink(),
    "a file more": lambda model: (model / "more").write_text("x"),
    "a file cut short": lambda model: (model / "golden.json").write_bytes((model / "golden.json").read_bytes()[:-1]),
    "another manifest": lambda model: (model / "manifest.json").write_text("{}"),
    "no seal": lambda model: (model / "manifest.sha256").unlink(),
    "no note of BentoML's": lambda model: (model / "model.yaml").unlink(),
    "an empty version": lambda model: (model.parent / "20200101-00000000").mkdir(),
    "a latest that is nowhere": lambda model: (model.parent / "latest").write_text("20200101-00000000"),
}


@pytest.mark.parametrize("what", HARMS)
def test_a_half_made_model_is_seen(home: Path, tmp_path: Path, what: str) -> None:
    model, _ = copied(home, tmp_path)
    HARMS[what](model)
    with another_store(tmp_path / "bentoml"), pytest.raises(Exception, match=r"plan|golden|manifest|model\.yaml"):
        wholeness.models(tmp_path / "bentoml" / "models")


def _tar(archives: Path) -> Path:
    return next(archives.glob("*.tar"))


def _note(archives: Path) -> Path:
    return next(archives.glob("*.sha256"))


def _cut(archive: Path, note: Path) -> None:
    note.unlink()
    archive.write_bytes(archive.read_bytes()[:5_000])


ODD: dict[str, Harm] = {
    "no archive": lambda archives: _tar(archives).unlink(),
    "an archive cut short": lambda archives: _tar(archives).write_bytes(_tar(archives).read_bytes()[:5_000]),
    "one cut short without a digest": lambda archives: _cut(_note(archives).with_suffix(""), _note(archives)),
    "another digest": lambda archives: _note(archives).write_text(f"{'0' * 64}  {_tar(archives).name}\n"),
    "a digest cut short": lambda archives: _note(archives).write_text(_note(archives).read_text()[:40]),
    "a draft in sight": lambda archives: (archives / "draft").write_text("x"),
}


@pytest.mark.parametrize("what", ODD)
def test_a_half_made_archive_is_seen(home: Path, tmp_path: Path, what: str) -> None:
    _, archives = copied(home, tmp_path)
    ODD[what](archives)
    with pytest.raises(Exception, match=r"plan|unexpected end"):
        wholeness.archives(tmp_path / "archives")
