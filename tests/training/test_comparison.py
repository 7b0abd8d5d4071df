"""Two models on the same held-out examples: which they are, and that neither has seen one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features import clock
from features.clock import DAY
from model import gate, heldout, store
from model.artefact import ArtefactError, check_files, read_manifest
from tests.model.toys import AS_OF, Toy, copy_of, plan_toy, pulse, pulse_toy, recency_weeks
from training.comparison import ComparisonError, Contender, Examples, differences, examples
from training.dataset import build, label_times
from training.split import split

OLD = Path(__file__).parents[1] / "model" / "format1"


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """`plan`, whose keys are split."""
    return plan_toy(tmp_path_factory.mktemp("plan"))


@pytest.fixture(scope="module")
def visitors(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """`pulse`, whose label times are split."""
    return pulse_toy(tmp_path_factory.mktemp("pulse"))


def other_code(toy: Toy) -> Toy:
    """The same events under features of other code."""
    return Toy(pulse(recency=recency_weeks), toy.store, toy.cache, toy.as_of)


_TAGS: dict[tuple[str, int, str], str] = {}


def contender(toy: Toy, algorithm: str = "xgboost", at: Toy | None = None) -> Contender:
    """A model trained by one code, once, as it is seen by another (`at`)."""
    made_of = (toy.usecase.features.fingerprint, toy.as_of, algorithm)
    if made_of not in _TAGS:
        _TAGS[made_of] = toy.train(algorithm).manifest.tag
    return Contender.of(store.path(_TAGS[made_of]), (at or toy).usecase)


def common(toy: Toy, first: Contender, second: Contender) -> Examples:
    """What they are compared on."""
    return examples(toy.usecase, toy.store, first, second, as_of=toy.as_of, cache=toy.cache)


def test_members_are_compared_on_keys_that_no_training_took(members: Toy) -> None:
    first, second = contender(members), contender(members, "logistic")
    found = common(members, first, second)
    whole, _ = build(members.usecase, members.store, [AS_OF], AS_OF, members.cache)
    parts = split(members.usecase, whole)
    assert found.dataset is not None
    assert sorted(found.dataset.key.tolist()) == sorted(parts.test.key.tolist())
    assert not set(found.dataset.key.tolist()) & {*parts.train.key.tolist(), *parts.valid.key.tolist()}
    truth = dict(zip(whole.key.tolist(), whole.label.tolist(), strict=True))
    assert [truth[key] for key in found.dataset.key.tolist()] == found.label.tolist()
    for side, probability in ((first, found.first), (second, found.second)):
        assert side.scorer is not None
        assert (side.scorer.score_features(found.dataset.features).probability == probability).all()


def test_visitors_are_compared_at_the_newest_label_time(visitors: Toy) -> None:
    earlier = Toy(visitors.usecase, visitors.store, visitors.cache, AS_OF - 30 * DAY)
    found = common(visitors, contender(visitors), contender(earlier))
    assert found.dataset is not None
    assert set(found.dataset.t.tolist()) == {label_times(visitors.usecase, visitors.store, AS_OF)[-1]}
    assert clock.rfc3339(int(found.dataset.t[0])) in found.source


def test_a_model_is_not_compared_on_what_it_was_trained_on(visitors: Toy) -> None:
    first, second = contender(visitors), contender(visitors, "logistic")
    before = Toy(visitors.usecase, visitors.store, visitors.cache, AS_OF - 60 * DAY)
    with pytest.raises(ComparisonError, match=r"has seen what happened until 2020-0.* not held out"):
        common(before, first, second)


def test_a_model_of_other_features_answers_as_it_did_when_it_was_trained(visitors: Toy) -> None:
    today = other_code(visitors)
    champion, candidate = contender(visitors, at=today), contender(today)
    assert champion.scorer is None
    assert "fingerprint" in champion.refused
    found = common(today, candidate, champion)
    then = gate.load(store.path(champion.manifest.tag), visitors.usecase.features).scorer
    dataset, _ = build(visitors.usecase, visitors.store, [int(found.dataset.t[0])], AS_OF, visitors.cache)  # type: ignore[union-attr]
    answers = dict(zip(dataset.key.tolist(), then.score_features(dataset.features).probability, strict=True))
    assert found.dataset is not None
    assert len(found) == len(dataset)
    assert [answers[key] for key in found.dataset.key.tolist()] == found.second.tolist()
    assert candidate.scorer is not None
    assert (candidate.scorer.score_features(found.dataset.features).probability == found.first).all()
    turned = common(today, champion, candidate)
    assert (turned.first == found.second).all()
    assert (turned.second == found.first).all()


def test_two_models_of_other_features_have_what_both_have_stored(visitors: Toy) -> None:
    today = other_code(visitors)
    first, second = contender(visitors, at=today), contender(visitors, "logistic", at=today)
    found = common(today, first, second)
    assert found.dataset is None
    direct = common(visitors, contender(visitors), contender(visitors, "logistic"))
    assert sorted(found.first.tolist()) == sorted(direct.first.tolist())
    assert differences(found)["roc_auc"].difference == pytest.approx(differences(direct)["roc_auc"].difference)


def test_stored_answers_of_other_times_are_no_common_examples(visitors: Toy) -> None:
    today = other_code(visitors)
    earlier = Toy(visitors.usecase, visitors.store, visitors.cache, AS_OF - 30 * DAY)
    with pytest.raises(ComparisonError, match="no held-out example in common"):
        common(today, contender(visitors, at=today), contender(earlier, at=today))


def test_a_model_that_stored_no_answers_is_named(visitors: Toy) -> None:
    today = other_code(visitors)
    old = replace(contender(visitors, at=today), stored=None)
    for first, second in ((contender(today), old), (old, contender(today)), (old, old)):
        with pytest.raises(ComparisonError, match=f"{old.manifest.tag}.*(older format|not both have stored)"):
            common(today, first, second)


def test_an_artefact_of_format_1_is_whole_and_has_no_stored_answers() -> None:
    manifest = read_manifest(OLD)
    assert manifest.format == 1
    assert manifest.search is None
    assert check_files(OLD, manifest) == []
    assert heldout.read(OLD) is None


def test_broken_files_are_not_compared(visitors: Toy, tmp_path: Path) -> None:
    directory = copy_of(store.path(visitors.train().manifest.tag), tmp_path)
    (directory / heldout.FILE).write_bytes(b"x" + (directory / heldout.FILE).read_bytes()[1:])
    with pytest.raises(ArtefactError, match=r"heldout\.npy.*restore"):
        Contender.of(directory, visitors.usecase)


def test_equal_answers_do_not_differ_and_worse_ones_do() -> None:
    random = np.random.default_rng(3)
    margin = random.normal(0, 2, 4_000)
    label = random.random(4_000) < 1 / (1 + np.exp(-margin))
    good, noisy = 1 / (1 + np.exp(-margin)), 1 / (1 + np.exp(-margin - random.normal(0, 2, 4_000)))
    none = differences(Examples(label, good, good, None, ""))
    assert all(one.difference == one.error == 0 == one.interval[0] == one.interval[1] for one in none.values())
    worse = differences(Examples(label, noisy, good, None, ""))
    assert worse["roc_auc"].interval[1] < 0 < worse["log_loss"].interval[0]
    assert worse["roc_auc"].interval[0] < worse["roc_auc"].difference < worse["roc_auc"].interval[1]


def test_held_out_keys_are_found_again_by_their_hash() -> None:
    key = np.array([f"k{n}" for n in range(1_000)])
    kept = heldout.record(key, np.zeros(1_000, np.int64), np.arange(1_000) % 2 == 0, np.linspace(0, 1, 1_000))
    assert len(np.unique(kept["key"])) == 1_000
    of = dict(zip(heldout.hashed(key).tolist(), np.linspace(0, 1, 1_000).tolist(), strict=True))
    assert all(of[int(row["key"])] == row["probability"] for row in kept)
