"""The load gate refuses whatever would answer otherwise than it did when it was trained, and says what to do."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from features.aggregates import Aggregate
from features.clock import DAY
from features.featureset import FeatureSet
from model import gate, numeric, store
from model.artefact import read_manifest
from model.gate import GateRefused
from tests.model.conftest import Model
from tests.model.toys import (
    AGGREGATES,
    Toy,
    above_mean,
    copy_of,
    edit_json,
    ingest_visits,
    plan,
    pulse,
    pulse_toy,
    recency_weeks,
    reseal,
    visits,
)

OWN = (
    "calibration.json",
    "card.html",
    "card.md",
    "heldout.npy",
    "decision.json",
    "golden.json",
    "manifest.json",
    "manifest.sha256",
    "profile.json",
)
BOOSTED, LINEAR = (*OWN, "model.ubj"), (*OWN, "model.json")
PLACES = (0.0, 0.13, 0.5, 0.87, 1.0)


def refused(directory: Path, features: FeatureSet, *, enforce: bool = True) -> str:
    """What the gate says."""
    with pytest.raises(GateRefused) as caught:
        gate.load(directory, features, enforce=enforce)
    return str(caught.value)


def shifted(text: str, steps: int) -> str:
    """A hexadecimal float, so many representable floats further up."""
    value = float.fromhex(text)
    for _ in range(steps):
        value = math.nextafter(value, math.inf)
    return value.hex()


def test_an_untouched_model_passes_and_the_proof_says_what_was_compared(boosted: Model, linear: Model) -> None:
    for model in (boosted, linear):
        loaded = gate.load(model.directory, model.toy.usecase.features)
        golden = json.loads((model.directory / "golden.json").read_text())
        assert loaded.manifest.tag in loaded.proof
        assert f"{len(golden)} golden rows agree to the last bit" in loaded.proof
        assert (loaded.golden.rows, loaded.golden.differing, loaded.golden.exact) == (len(golden), 0, True)
        assert len(golden) >= 20


def test_the_flipped_files_below_are_all_there_are(boosted: Model, linear: Model) -> None:
    for model, files in ((boosted, BOOSTED), (linear, LINEAR)):
        there = {path.name for path in model.directory.iterdir()} - {"model.yaml"}  # BentoML's own
        assert there == set(files)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", BOOSTED)
def test_one_flipped_bit_anywhere_is_refused(boosted: Model, tmp_path: Path, name: str, place: float) -> None:
    copy = copy_of(boosted.directory, tmp_path)
    content = bytearray((copy / name).read_bytes())
    content[round(place * (len(content) - 1))] ^= 1
    (copy / name).write_bytes(content)
    said = refused(copy, boosted.toy.usecase.features)
    assert name in said
    assert boosted.manifest.tag in said
    assert "restore the artefact" in said


@pytest.mark.parametrize("name", LINEAR)
def test_one_changed_byte_of_a_linear_model_is_refused(linear: Model, tmp_path: Path, name: str) -> None:
    copy = copy_of(linear.directory, tmp_path)
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 0x80
    (copy / name).write_bytes(content)
    assert name in refused(copy, linear.toy.usecase.features)


def test_another_line_end_in_the_seal_is_refused(boosted: Model, tmp_path: Path) -> None:
    copy = copy_of(boosted.directory, tmp_path)
    seal = copy / "manifest.sha256"
    seal.write_bytes(seal.read_bytes()[:-1] + b"\r")  # what reading as text would take for a newline
    assert "manifest.sha256" in refused(copy, boosted.toy.usecase.features)


@pytest.mark.parametrize("name", BOOSTED)
def test_a_missing_file_is_refused_by_name(boosted: Model, tmp_path: Path, name: str) -> None:
    copy = copy_of(boosted.directory, tmp_path)
    (copy / name).unlink()
    assert name in refused(copy, boosted.toy.usecase.features)


@pytest.mark.parametrize("name", BOOSTED)
def test_a_file_cut_short_is_refused_by_name(boosted: Model, tmp_path: Path, name: str) -> None:
    copy = copy_of(boosted.directory, tmp_path)
    (copy / name).write_bytes((copy / name).read_bytes()[:-1])
    assert name in refused(copy, boosted.toy.usecase.features)


def test_a_directory_that_is_no_artefact_is_refused(boosted: Model, tmp_path: Path) -> None:
    assert "no Holdfast artefact" in refused(tmp_path, boosted.toy.usecase.features)
    assert "no Holdfast artefact" in refused(tmp_path / "nowhere", boosted.toy.usecase.features)


def test_a_changed_manifest_with_a_right_seal_is_refused_by_its_content(boosted: Model, tmp_path: Path) -> None:
    copy = copy_of(boosted.directory, tmp_path)
    edit_json(copy / "manifest.json", lambda manifest: manifest["parameters"].update(eta=0.3))
    digest = hashlib.sha256((copy / "manifest.json").read_bytes()).hexdigest()
    (copy / "manifest.sha256").write_text(f"{digest}  manifest.json\n")
    assert "content_digest" in refused(copy, boosted.toy.usecase.features)


def _wider(aggregate: Aggregate) -> Aggregate:
    return replace(aggregate, window=31 * DAY) if aggregate.name == "visits_30d" else aggregate


@pytest.mark.parametrize("enforce", [True, False])
@pytest.mark.parametrize("change", ["row feature", "window"])
def test_other_features_are_refused_with_both_fingerprints_and_the_remedy(
    boosted: Model, change: str, enforce: bool
) -> None:
    own = boosted.toy.usecase.features
    other = {
        "row feature": pulse(recency=recency_weeks).features,
        "window": replace(own, aggregates=tuple(map(_wider, AGGREGATES))),
    }[change]
    said = refused(boosted.directory, other, enforce=enforce)
    assert own.fingerprint[:16] in said
    assert other.fingerprint[:16] in said
    assert own.fingerprint != other.fingerprint
    assert "holdfast train pulse" in said


@pytest.mark.parametrize(
    ("library", "accepts"), [("numpy", ">=1.26,<1.27"), ("xgboost", ">=4.0,<4.1"), ("python", ">=3.14,<3.15")]
)
def test_another_library_version_is_refused(boosted: Model, tmp_path: Path, library: str, accepts: str) -> None:
    copy = copy_of(boosted.directory, tmp_path)
    libraries = {name: one.model_dump() for name, one in boosted.manifest.libraries.items()}
    installed = libraries[library]["version"]
    reseal(copy, libraries=libraries | {library: {"version": "0.0.1", "accepts": accepts}})
    said = refused(copy, boosted.toy.usecase.features)
    assert f"library {library}: {installed} is installed, the model accepts {accepts}" in said
    assert "install one of those" in said
    assert len(gate.installed()) == 3
    assert gate.installed()["numpy"].version == metadata.version("numpy")


def test_a_patch_release_of_the_same_minor_version_is_accepted(boosted: Model, tmp_path: Path) -> None:
    copy = copy_of(boosted.directory, tmp_path)
    libraries = {name: one.model_dump() for name, one in boosted.manifest.libraries.items()}
    for library in libraries.values():
        library["version"] = ".".join([*library["version"].split(".")[:2], "99"])
    reseal(copy, libraries=libraries)
    assert "to the last bit" in gate.load(copy, boosted.toy.usecase.features).proof


@pytest.mark.parametrize("kind", ["boosted", "linear"])
def test_a_golden_answer_one_bit_off_is_refused_with_both_values(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    model: Model = request.getfixturevalue(kind)
    copy = copy_of(model.directory, tmp_path)
    right = float.fromhex(json.loads((copy / "golden.json").read_text())[5]["probability"])
    wrong = math.nextafter(right, 1.0)
    edit_json(copy / "golden.json", lambda rows: rows[5].update(probability=wrong.hex()))
    reseal(copy)
    said = refused(copy, model.toy.usecase.features)
    assert "golden row 5" in said
    assert repr(right) in said
    assert repr(wrong) in said
    assert "train again" in said


def test_a_changed_golden_input_is_refused(boosted: Model, tmp_path: Path) -> None:
    copy = copy_of(boosted.directory, tmp_path)

    def busier(rows: list[dict[str, Any]]) -> None:
        rows[0]["aggregates"] = rows[-1]["aggregates"]
        rows[0]["request_time"] = rows[-1]["request_time"]
        rows[-1] |= {"aggregates": rows[7]["aggregates"], "request_time": rows[7]["request_time"]}

    edit_json(copy / "golden.json", busier)
    reseal(copy)
    assert "golden row" in refused(copy, boosted.toy.usecase.features)


def test_changed_trees_with_right_digests_are_refused_by_the_golden_rows(
    boosted: Model, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = pulse_toy(tmp_path_factory.mktemp("other"), seed=9)
    stranger = store.path(other.train().manifest.tag)
    copy = copy_of(boosted.directory, tmp_path)
    (copy / "model.ubj").write_bytes((stranger / "model.ubj").read_bytes())
    reseal(copy)
    said = refused(copy, boosted.toy.usecase.features)
    assert "golden row 0" in said
    assert "more" in said


def test_a_changed_decision_is_refused_by_the_golden_rows(linear: Model, tmp_path: Path) -> None:
    copy = copy_of(linear.directory, tmp_path)
    edit_json(copy / "decision.json", lambda decision: decision.update(threshold=0.9))
    reseal(copy)
    assert "golden row" in refused(copy, linear.toy.usecase.features)


@pytest.mark.parametrize(("steps", "passes"), [(0, True), (4, True), (5, False)])
def test_on_another_numeric_baseline_margins_may_be_4_ulp_apart(
    linear: Model, tmp_path: Path, steps: int, passes: bool
) -> None:
    copy = copy_of(linear.directory, tmp_path)
    edit_json(copy / "golden.json", lambda rows: rows[3].update(margin=shifted(rows[3]["margin"], steps)))
    reseal(copy, numeric={"machine": "another", "probe": "0" * 16})
    features = linear.toy.usecase.features
    if passes:
        proof = gate.load(copy, features).proof
        assert "within 4 ulp" in proof
        assert numeric.baseline()["probe"] in proof
    else:
        said = refused(copy, features)
        assert "golden row 3" in said
        assert "5 ulp apart" in said


def test_on_another_numeric_baseline_decisions_must_be_equal(linear: Model, tmp_path: Path) -> None:
    copy = copy_of(linear.directory, tmp_path)
    edit_json(copy / "golden.json", lambda rows: rows[2].update(positive=not rows[2]["positive"]))
    reseal(copy, numeric={"machine": "another", "probe": "0" * 16})
    assert "golden row 2" in refused(copy, linear.toy.usecase.features)


def test_on_the_same_baseline_one_ulp_of_a_margin_is_refused(linear: Model, tmp_path: Path) -> None:
    copy = copy_of(linear.directory, tmp_path)
    edit_json(copy / "golden.json", lambda rows: rows[3].update(margin=shifted(rows[3]["margin"], 1)))
    reseal(copy)
    assert "1 ulp apart" in refused(copy, linear.toy.usecase.features)


def test_for_debugging_libraries_and_golden_rows_may_differ_but_that_is_logged(
    linear: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = copy_of(linear.directory, tmp_path)
    libraries = {name: one.model_dump() for name, one in linear.manifest.libraries.items()}
    libraries["numpy"]["accepts"] = "<1"
    edit_json(copy / "golden.json", lambda rows: rows[3].update(margin=shifted(rows[3]["margin"], 1)))
    reseal(copy, libraries=libraries)
    assert "numpy" in refused(copy, linear.toy.usecase.features)
    with caplog.at_level(logging.WARNING, logger="holdfast.gate"):
        loaded = gate.load(copy, linear.toy.usecase.features, enforce=False)
    assert "HOLDFAST_GATE=warn" in loaded.proof
    assert loaded.golden.differing == 1
    assert any("library numpy" in record.message for record in caplog.records)
    assert any("golden row 3" in record.message for record in caplog.records)


@pytest.mark.parametrize("name", BOOSTED)
def test_a_broken_artefact_never_passes(boosted: Model, tmp_path: Path, name: str) -> None:
    copy = copy_of(boosted.directory, tmp_path)
    (copy / name).write_bytes((copy / name).read_bytes() + b" ")
    assert name in refused(copy, boosted.toy.usecase.features, enforce=False)


def test_an_artefact_of_a_later_format_is_refused_with_what_to_do(boosted: Model, tmp_path: Path) -> None:
    copy = copy_of(boosted.directory, tmp_path)
    edit_json(copy / "manifest.json", lambda manifest: manifest.update(format=3, novelty={"a": 1}))
    digest = hashlib.sha256((copy / "manifest.json").read_bytes()).hexdigest()
    (copy / "manifest.sha256").write_text(f"{digest}  manifest.json\n")
    said = refused(copy, boosted.toy.usecase.features)
    assert "no format this release reads (1 to 2)" in said
    assert "run the release that wrote it" in said


def test_a_feature_that_depends_on_the_rows_beside_it_is_named_and_not_stored(tmp_path: Path) -> None:
    toy = pulse_toy(tmp_path, usecase=pulse(more=[above_mean]))
    before = store.tags("pulse")
    with pytest.raises(GateRefused, match="feature 'above_mean' depends on the rows beside it"):
        toy.train("logistic")
    with pytest.raises(GateRefused, match="feature 'above_mean' depends on the rows beside it"):
        toy.train("xgboost")
    assert store.tags("pulse") == before


def test_such_a_feature_is_named_even_where_it_changes_no_golden_score(tmp_path: Path) -> None:
    own = pulse(more=[above_mean])
    inputs = tuple(name for name in own.features.inputs if name != "above_mean")
    usecase = replace(own, features=replace(own.features, inputs=inputs))
    rows = visits(1, 220)
    toy = Toy(usecase, ingest_visits(usecase, tmp_path, rows), tmp_path / "training")
    with pytest.raises(GateRefused, match="feature 'above_mean' depends on the rows beside it"):
        toy.train("logistic")


def test_a_model_of_another_use_case_is_refused(boosted: Model) -> None:
    assert "fingerprint" in refused(boosted.directory, plan().features)
    assert read_manifest(boosted.directory).tag == boosted.manifest.tag
