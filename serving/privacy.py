"""What of an answer goes to the prediction log: all of it, or less where the settings say so."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

from msgspec.structs import replace

from model.predictions import Entry
from model.predictions.pseudonym import Pseudonyms
from model.predictions.sample import Sample
from serving import metrics
from settings import Settings


class Privacy:
    """Entries as they may be kept: of the sample's customers (HOLDFAST_PREDICTIONS_SAMPLE), and with pseudonyms for
    their keys and for the ids that clients gave their requests, which may hold a key (HOLDFAST_ID_HMAC_KEY)."""

    def __init__(self, settings: Settings) -> None:
        self.sample, self.pseudonyms = Sample(settings.predictions_sample), Pseudonyms(settings.id_hmac_key)
        self.off = self.sample.share == 1 and not self.pseudonyms.mark

    def __call__(self, entry: Entry) -> Entry | None:
        """What is kept; None if nothing is."""
        if self.off:
            return entry
        if self.sample.share < 1:
            chosen = [key in self.sample for key in entry.keys]
            kept = sum(chosen)
            metrics.SAMPLED_OUT.inc(len(chosen) - kept)
            if not kept:
                return None
            if kept < len(chosen):
                entry = _chosen(entry, chosen)
        if self.pseudonyms.mark:
            name = self.pseudonyms
            asked = entry.request_id if entry.request_id == entry.id else name(entry.request_id)
            entry = replace(entry, keys=[name(key) for key in entry.keys], request_id=asked)
        return entry


def _chosen(entry: Entry, chosen: Sequence[bool]) -> Entry:
    """The rows that are True; the others leave no trace but their places."""
    n = len(chosen)

    def cut(whole: bytes) -> bytes:
        size = len(whole) // n
        return b"".join(whole[row * size : (row + 1) * size] for row in range(n) if chosen[row])

    return replace(
        entry,
        keys=list(compress(entry.keys, chosen)),
        places=None if entry.places is None else list(compress(entry.places, chosen)),
        attributes={name: list(compress(column, chosen)) for name, column in entry.attributes.items()},
        arrays={name: (cells, cut(data)) for name, (cells, data) in entry.arrays.items()},
        as_of=list(compress(entry.as_of, chosen)),
        **{name: cut(getattr(entry, name)) for name in _ARRAYS},
    )


_ARRAYS = ("aggregates", "features", "margin", "probability", "positive", "known")
