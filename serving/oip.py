"""The Open Inference Protocol V2, whatever carries it: one model of one version, whose inputs and outputs are tensors.

The model is the use case, its version what stands behind the ":" of the artefact's tag. Every row is answered or none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from features import clock
from features.contract import Column
from serving.call import Call
from serving.core import Core
from serving.datatypes import datatype, optional
from serving.errors import Failed, NotAccepted, NotFound
from serving.parts import Batch, Part, Scored
from serving.rows import Rows
from serving.tensors import Tensors
from settings import VERSION

Parameter = str | bool | float
SERVER = "holdfast"
EXTENSIONS = ("binary_tensor_data",)
MISSING = (
    "Where a tensor's parameters say `missing`, a value may be missing: NaN of FP64, empty BYTES, null in JSON. "
    "Everywhere else it has to be there."
)
_UNITS = {"money": "minor units (cents)", "time": "microseconds since the epoch, UTC"}


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor of n elements: an array, or texts where it is BYTES."""

    name: str
    datatype: str
    cells: np.ndarray[Any, Any] | list[str]

    def plain(self) -> list[Any]:
        """The elements as plain values."""
        return self.cells if isinstance(self.cells, list) else self.cells.tolist()

    def raw(self) -> bytes:
        """The elements as bytes, little-endian; of BYTES each with its length before it in 4 bytes."""
        if not isinstance(self.cells, list):
            return self.cells.tobytes()
        coded = {text: _counted(text.encode()) for text in set(self.cells)}
        return b"".join(map(coded.__getitem__, self.cells))


@dataclass(frozen=True, slots=True)
class Inferred:
    """The answer of a request for n rows."""

    n: int
    outputs: Sequence[Output]
    parameters: Mapping[str, Parameter]


class Inference:
    """What both transports of the protocol ask.

    Attributes:
        tensors: reads inputs.
    """

    def __init__(self, core: Core) -> None:
        self.core, self.name, self.version = core, core.usecase.name, core.tag.partition(":")[2]
        self.tensors = Tensors(core.usecase.key, core.fields, core.decoder)
        self.outputs = {
            "probability": ("FP64", f"of: {core.usecase.title}", True),
            "decision": ("BYTES", f"{core.usecase.decisions[1]} or {core.usecase.decisions[0]}", True),
            "known": ("BOOL", "false where no event of the key is known", True),
            core.usecase.key: ("BYTES", "as it was asked for", False),
            "prediction_id": ("BYTES", "the row's id in the prediction log", False),
        }

    def find(self, model: str, version: str = "") -> None:
        """Nothing, if that is what is served; without a version it is.

        Raises:
            NotFound: naming what is.
        """
        if model != self.name or version not in ("", self.version):
            asked = f"{model[:100]!r}{f', version {version[:100]!r}' if version else ''}"
            raise NotFound(f"there is no model {asked}; here is {self.name!r}, version {self.version!r}")

    def server(self) -> dict[str, Any]:
        """The server's metadata."""
        return {"name": SERVER, "version": VERSION, "extensions": list(EXTENSIONS)}

    def metadata(self) -> dict[str, Any]:
        """The model's metadata."""
        key = {"name": self.core.usecase.key, "datatype": "BYTES", "shape": [-1], "parameters": {"kind": "key"}}
        inputs = [
            {"name": f.name, "datatype": datatype(f), "shape": [-1], "parameters": _told(f)} for f in self.core.fields
        ]
        outputs = [
            {"name": name, "datatype": kind, "shape": [-1], "parameters": {"description": about, "default": default}}
            for name, (kind, about, default) in self.outputs.items()
        ]
        plain = {"name": self.name, "versions": [self.version], "platform": SERVER}
        about = {"title": self.core.usecase.title, "missing": MISSING}
        return {**plain, "inputs": [key, *inputs], "outputs": outputs, "parameters": about}

    def wanted(self, names: Sequence[str]) -> Sequence[str]:
        """The outputs of a request that names these; those of one that names none.

        Raises:
            NotAccepted: if there is no such output, or one is named twice.
        """
        if not names:
            return [name for name, (_, _, default) in self.outputs.items() if default]
        unknown = [name for name in names if name not in self.outputs]
        if unknown or len(set(names)) != len(names):
            told = [{"field": name[:100], "problem": "no output of the model"} for name in unknown[:100]]
            raise NotAccepted(f"the outputs are {', '.join(self.outputs)}, each at most once", told)
        return names

    def inferred(self, scored: Scored, names: Sequence[str], call: Call) -> Inferred:
        """The outputs of that name.

        Raises:
            Failed: if any row could not be scored.
        """
        if scored.errors:
            raise Failed(
                f"{len(scored.errors)} rows cannot be scored, and this protocol answers all or none", scored.errors
            )
        loaded, parts = self.core.loaded, scored.parts
        assert loaded is not None  # noqa: S101  # or nothing had been scored
        rule = loaded.scorer.decision
        cells: dict[str, np.ndarray[Any, Any] | list[str]] = {}
        if "probability" in names:
            cells["probability"] = _whole(parts, lambda batch: batch.scores.probability)
        if "decision" in names:
            words = (rule.negative, rule.positive)
            positive = _whole(parts, lambda batch: batch.scores.positive)
            cells["decision"] = list(map(words.__getitem__, positive.tolist()))
        if "known" in names:
            cells["known"] = _whole(parts, lambda batch: batch.found.known)
        if self.core.usecase.key in names:
            cells[self.core.usecase.key] = [key for rows, _ in parts for key in rows.keys]
        if "prediction_id" in names:
            cells["prediction_id"] = [f"{call.id}-{place}" for rows, _ in parts for place in rows.places or ()]
        as_of = _whole(parts, lambda batch: batch.found.as_of)
        oldest = int(as_of[0] if len(as_of) == 1 else as_of.min())
        parameters: dict[str, Parameter] = {
            "threshold": rule.threshold,
            "fingerprint": loaded.manifest.fingerprint,
            "as_of": clock.rfc3339(oldest),
            "degraded": any(p.batch.found.degraded for _, p in parts),
            "prediction_id": call.id,
        }
        outputs = [Output(name, self.outputs[name][0], cells[name]) for name in names]
        return Inferred(len(as_of), outputs, parameters)


def _whole(parts: Sequence[tuple[Rows, Part]], array: Callable[[Batch], np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Of all rows, what their batches have in that array."""
    if len(parts) == 1:
        part = parts[0][1]
        return array(part.batch)[part.start : part.stop]
    return np.concatenate([array(part.batch)[part.start : part.stop] for _, part in parts])


def _counted(text: bytes) -> bytes:
    return len(text).to_bytes(4, "little") + text


def _told(field: Column) -> dict[str, Parameter]:
    """What the contract says of a field, as parameters of its tensor."""
    told: dict[str, Parameter] = {"kind": field.kind}
    if field.kind in _UNITS:
        told["unit"] = _UNITS[field.kind]
    told |= {name: bound for name, bound in (("minimum", field.low), ("maximum", field.high)) if bound is not None}
    if field.levels:
        told["levels"] = ", ".join(field.levels)
    if optional(field):
        told["missing"] = "empty" if datatype(field) == "BYTES" else "NaN"
    if field.blank is not None:
        told["missing_means"] = field.blank.value
    if field.description:
        told["description"] = field.description
    return told
