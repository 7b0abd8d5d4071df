"""The Open Inference Protocol V2 over gRPC: inference.GRPCInferenceService.

Tensors are raw bytes for all inputs or typed contents for all; the outputs come as the inputs did.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from serving import metrics
from serving.call import Call
from serving.core import Core
from serving.datatypes import SOURCES, Tensor
from serving.errors import Malformed, NotAccepted, RequestError
from serving.gathering import Gathering
from serving.inference_messages import METHODS, SERVICE, classes, file
from serving.oip import Inference, Inferred, Parameter
from serving.readiness import Readiness

_CONTENTS = {
    "BOOL": "bool_contents",
    **{f"INT{bits}": "int_contents" for bits in (8, 16, 32)},
    "INT64": "int64_contents",
    **{f"UINT{bits}": "uint_contents" for bits in (8, 16, 32)},
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where a datatype's elements are; FP16 has raw ones only."""


class Grpc:
    """The service over a core.

    Attributes:
        name: of the service. files: serialized descriptions.
    """

    def __init__(self, core: Core) -> None:
        self.core, self.inference = core, Inference(core)
        self.name, self.files = SERVICE, (file().SerializeToString(),)
        self._classes = classes()
        self._request = self._classes["ModelInferRequest"]
        self._response, self._output = self._classes["ModelInferResponse"], "ModelInferResponse.InferOutputTensor"
        self._gathering = Gathering(core.settings.max_batch_size)
        self._readiness = Readiness(lambda: core)

    def methods(self) -> Mapping[str, Callable[[bytes, Call], Awaitable[tuple[bytes, str]]]]:
        """What it answers."""
        own = (self.live, self.ready, self.model_ready, self.server, self.metadata, self.infer)
        return dict(zip(METHODS, own, strict=True))

    async def live(self, data: bytes, call: Call) -> tuple[bytes, str]:  # noqa: ARG002  # a method has both
        """Whether the process lives."""
        _read(self._classes["ServerLiveRequest"], data)
        return self._made("ServerLiveResponse", live=True)

    async def ready(self, data: bytes, call: Call) -> tuple[bytes, str]:  # noqa: ARG002
        """Whether predictions can be asked for."""
        _read(self._classes["ServerReadyRequest"], data)
        return self._made("ServerReadyResponse", ready=await self._ready())

    async def model_ready(self, data: bytes, call: Call) -> tuple[bytes, str]:  # noqa: ARG002
        """The same of the model, which is the only one."""
        asked = _read(self._classes["ModelReadyRequest"], data)
        self.inference.find(asked.name, asked.version)
        return self._made("ModelReadyResponse", ready=await self._ready())

    async def server(self, data: bytes, call: Call) -> tuple[bytes, str]:  # noqa: ARG002
        """What the server is."""
        _read(self._classes["ServerMetadataRequest"], data)
        return self._made("ServerMetadataResponse", **self.inference.server())

    async def metadata(self, data: bytes, call: Call) -> tuple[bytes, str]:  # noqa: ARG002
        """The model's tensors."""
        asked = _read(self._classes["ModelMetadataRequest"], data)
        self.inference.find(asked.name, asked.version)
        found = self.inference.metadata()
        for tensor in (found, *found["inputs"], *found["outputs"]):
            tensor["parameters"] = {name: _parameter(value) for name, value in tensor["parameters"].items()}
        return self._made("ModelMetadataResponse", **found)

    async def infer(self, data: bytes, call: Call) -> tuple[bytes, str]:
        """The outputs of some rows."""
        self.core.runner.admit(1, call.deadline)  # refused before it is read, where it would be refused behind it
        asked = _read(self._request, data)
        self.inference.find(asked.model_name, asked.model_version)
        wanted = self.inference.wanted([output.name for output in asked.outputs])
        raw = bool(asked.raw_input_contents)
        rows = self.inference.tensors.rows(_raw(asked) if raw else [_typed(one) for one in asked.inputs])
        metrics.stage["decode"](time.perf_counter() - call.started)
        if len(rows) == 1:
            await self._gathering.join()
        inferred = self.inference.inferred(await self.core.scored(rows, call), wanted, call)
        began = time.perf_counter()
        answer = self._answer(asked.id or call.request_id, inferred, raw)
        metrics.stage["encode"](time.perf_counter() - began)
        return answer, "ok"

    def _answer(self, id_: str, inferred: Inferred, raw: bool) -> bytes:
        made = self._response(
            model_name=self.inference.name,
            model_version=self.inference.version,
            id=id_,
            parameters={name: _parameter(value) for name, value in inferred.parameters.items()},
            outputs=[
                {"name": one.name, "datatype": one.datatype, "shape": (inferred.n,)}
                if raw
                else {
                    "name": one.name,
                    "datatype": one.datatype,
                    "shape": (inferred.n,),
                    "contents": {_CONTENTS[one.datatype]: _contents(one.plain())},
                }
                for one in inferred.outputs
            ],
            raw_output_contents=[one.raw() for one in inferred.outputs] if raw else (),
        )
        return bytes(made.SerializeToString())

    def _made(self, name: str, /, **fields: Any) -> tuple[bytes, str]:
        return bytes(self._classes[name](**fields).SerializeToString()), "ok"

    async def _ready(self) -> bool:
        try:
            await self._readiness()
        except RequestError:
            return False
        return True


def _read(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise Malformed(f"these bytes are no {kind.DESCRIPTOR.full_name}: {error}") from None


def _raw(asked: Any) -> list[Tensor]:
    """The tensors of a request whose inputs are raw."""
    inputs, raws = asked.inputs, asked.raw_input_contents
    if len(inputs) != len(raws):
        raise NotAccepted(f"{len(raws)} raw_input_contents for {len(inputs)} inputs: all are raw, or none is")
    return [Tensor(one.name, one.datatype, one.shape[:], raw) for one, raw in zip(inputs, raws, strict=True)]


def _typed(one: Any) -> Tensor:
    """A tensor with typed contents."""
    datatype = one.datatype
    field = _CONTENTS.get(datatype)
    data = [] if field is None else getattr(one.contents, field)[:]
    if not data and (found := one.contents.ListFields()):
        given = ", ".join(each.name for each, _ in found)
        wanted = f"elements of {datatype[:100]} are in {field}" if field else _no_contents(datatype)
        raise NotAccepted(f"input {one.name[:100]!r} has {given}; {wanted}")
    return Tensor(one.name, datatype, one.shape[:], data)


def _no_contents(datatype: str) -> str:
    return "FP16 can only be raw" if datatype in SOURCES else f"{datatype[:100]!r} is no datatype"


def _contents(values: list[Any]) -> list[Any]:
    return [value.encode() for value in values] if isinstance(values[0], str) else values


def _parameter(value: Parameter) -> dict[str, Parameter]:
    if isinstance(value, bool):
        return {"bool_param": value}
    return {"string_param": value} if isinstance(value, str) else {"double_param": value}
