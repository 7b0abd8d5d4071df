"""Answers as bytes: what is shared and encoded once reads as if each answer had been encoded whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from model.scorer import Decision, Scores
from serving.answers import Answers, encode
from serving.call import Call
from serving.online import Found
from serving.parts import Batch, Part
from serving.rows import FEW, Rows
from tests.effort import examples

FIELDS = "probability decision threshold model fingerprint as_of known degraded request_id prediction_id".split()
odd = st.sampled_from(['say "no"', "back\\slash", "é\u2028", "stay", ""])


@st.composite
def parts(draw: st.DrawFn) -> tuple[Any, Rows, Part]:
    """A model, and rows with their part of a batch that has others before and behind them."""
    n = draw(st.sampled_from([1, 2, FEW - 1, FEW, 40, 1_200]))
    bulk = n > 1 or draw(st.booleans())
    start, size = draw(st.integers(0, 3)), n + 5
    random = np.random.default_rng(draw(st.integers(0, 99)))
    probability = random.random(size)
    scores = Scores({}, np.empty((size, 0)), probability, probability, random.random(size) < 0.5)
    as_of = np.full(size, 1_700_000_000_000_000, np.int64)
    if draw(st.booleans()):
        as_of += random.integers(0, 3, size) * 1_500_000
    known = random.random(size) < draw(st.sampled_from([0, 0.5, 1]))
    batch = Batch(0, Found({}, known, as_of, degraded=draw(st.booleans())), scores, np.empty((size, 0)))
    first = draw(st.sampled_from([0, 0, 7]))
    places = range(first, first + n) if draw(st.booleans()) else sorted(random.permutation(3 * n)[:n].tolist())
    explain = draw(st.sampled_from([0, 1]))
    reasons = [{"base": float(number)} for number in range(n)] if explain else ()
    rows = Rows([draw(odd)] * n, (), places if bulk else None, (), explain)
    manifest = SimpleNamespace(tag=draw(odd), fingerprint="f" * 64)
    decision = Decision(0.1 + 0.2, draw(odd), draw(odd), {})
    loaded = SimpleNamespace(scorer=SimpleNamespace(decision=decision), manifest=manifest)
    return loaded, rows, Part(batch, start, start + n, reasons)


@settings(max_examples=examples(150), deadline=None)
@given(parts(), odd)
def test_packed_answers_are_the_same_bytes(made: tuple[Any, Rows, Part], request: str) -> None:
    answers, call = Answers(SimpleNamespace(key="who")), Call("/v1/predict/bulk", "0a", request, "")  # type: ignore[arg-type]  # all it asks for
    told = answers.told(*made, call)
    assert encode(answers.told(*made, call, packed=True)) == encode(told)
    loaded, rows, part = made
    read = msgspec.json.decode(encode(told))
    names = [*["row"] * (rows.places is not None), "who", *FIELDS, *["explanation"] * bool(rows.explain)]
    assert all(list(one) == names for one in read)
    scores = part.batch.scores
    for number, one in enumerate(read):
        place = part.start + number
        assert one["probability"] == scores.probability[place]
        rule = loaded.scorer.decision
        assert one["decision"] == (rule.positive if scores.positive[place] else rule.negative)
        assert one["known"] is bool(part.batch.found.known[place])
        assert one["prediction_id"] == ("0a" if rows.places is None else f"0a-{rows.places[number]}")
        assert one.get("row") == (None if rows.places is None else rows.places[number])
    assert len(read) == len(rows)
