"""What goes to the prediction log where it is to hold less: the sample's rows whole, and pseudonyms for keys."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from pydantic import SecretStr

from model.predictions import Entry, expand
from model.predictions.pseudonym import Pseudonyms
from model.predictions.sample import Sample
from serving import metrics
from serving.privacy import Privacy
from settings import Settings
from tests.effort import examples
from tests.model.answers import HEADER, answered, bits, entry

SECRET = SecretStr("a secret of some length")


def told(made: Entry | None) -> list[Any]:
    """The rows of what is kept, each float as its bytes."""
    return [] if made is None else [bits(one) for one in expand(HEADER, made)]


def test_all_is_kept_as_it_is_by_default() -> None:
    made = entry("a", "b")
    assert Privacy(Settings())(made) is made


@settings(max_examples=examples(150), deadline=None)
@given(answered())
def test_of_a_bulk_request_the_samples_rows_are_kept_and_keep_their_places(
    given_: tuple[Entry, list[dict[str, Any]]],
) -> None:
    made, rows = given_
    before = metrics.SAMPLED_OUT._value.get()
    kept = Privacy(Settings(predictions_sample=0.5))(made)
    expected = [bits(row) for row in rows if row["key"] in Sample(0.5)]
    assert told(kept) == expected
    assert metrics.SAMPLED_OUT._value.get() - before == len(rows) - len(expected)


@settings(max_examples=examples(100), deadline=None)
@given(answered())
def test_keys_and_clients_request_ids_become_pseudonyms_and_nothing_else_changes(
    given_: tuple[Entry, list[dict[str, Any]]],
) -> None:
    made, rows = given_
    name = Pseudonyms(SECRET)
    expected = [bits({**row, "key": name(row["key"]), "request_id": name(made.request_id)}) for row in rows]
    assert told(Privacy(Settings(id_hmac_key=SECRET))(made)) == expected


def test_our_own_request_id_stays() -> None:
    made = entry("a")
    kept = Privacy(Settings(id_hmac_key=SECRET))(made)
    assert kept is not None
    assert (kept.request_id, kept.id) == (made.id, made.id)


def test_who_is_in_the_sample_does_not_depend_on_the_secret() -> None:
    keys = [str(number) for number in range(200)]
    private = Privacy(Settings(id_hmac_key=SECRET, predictions_sample=0.3))
    kept = private(entry(*keys, request_id="for-customer-17"))
    assert kept is not None
    assert kept.keys == [Pseudonyms(SECRET)(key) for key in keys if key in Sample(0.3)]
    whole = msgspec.msgpack.encode(kept)
    assert b"customer-17" not in whole
