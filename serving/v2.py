"""The Open Inference Protocol V2 over REST: /v2, tensors as JSON or as raw bytes behind it.

Tensors as bytes are the extension that Triton calls binary tensor data: the header `inference-header-content-length`
says where the JSON ends, and each tensor's parameter `binary_data_size` how many bytes behind it are its own. Fields
that the protocol does not have are passed over, for clients add some. A problem has the protocol's `error` beside what
RFC 9457 says, and is plain JSON: KServe's client reads it of no other media type.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from pydantic_core import from_json

from serving import metrics
from serving.answers import encode
from serving.core import Core
from serving.datatypes import SOURCES
from serving.errors import Malformed, NotAccepted
from serving.oip import Inference, Inferred
from serving.readiness import Readiness
from serving.routing import JSON, Answer, Asked, Route

BINARY, LENGTH = b"application/octet-stream", b"inference-header-content-length"


class _Size(msgspec.Struct):
    binary_data_size: int | None = None


class _Binary(msgspec.Struct):
    binary_data: bool | None = None


class _All(msgspec.Struct):
    binary_data_output: bool = False


class _Wanted(msgspec.Struct):
    name: str
    parameters: _Binary | None = None


class _Loose(msgspec.Struct):
    """An input whose data may be anything."""

    name: str
    shape: list[int]
    datatype: str
    parameters: _Size | None = None
    data: list[Any] | UnsetType = UNSET


def _input(datatype: str, element: Any) -> Any:
    """An input of that datatype, whose data are a flat list of what it has, or None."""
    data: Any = list[element | None]
    size: Any = _Size | None
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [("name", str), ("shape", list[int])]
    fields += [("parameters", size, None), ("data", data | UnsetType, UNSET)]
    own = {"datatype": datatype}  # so that it is a tensor as it stands
    return msgspec.defstruct(datatype, fields, tag_field="datatype", tag=datatype, namespace=own)


def _request(kind: Any) -> Any:
    inputs: Any = list[kind]
    everything: Any = _All | None
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [("inputs", inputs), ("id", str, "")]
    fields += [("parameters", everything, None), ("outputs", list[_Wanted], [])]
    return msgspec.defstruct("Request", fields)


def _element(datatype: str) -> type:
    return bool if datatype == "BOOL" else float if datatype.startswith("FP") else int


_ANY: Any = _input("BYTES", str)
for _name in SOURCES:
    _ANY |= _input(_name, _element(_name))
_TYPED, _UNTYPED = msgspec.json.Decoder(_request(_ANY)), _request(_Loose)


def told(problem: dict[str, Any]) -> dict[str, Any]:
    """A problem with the protocol's own word for what went wrong."""
    return {**problem, "error": problem["detail"]}


_PROBLEMS: dict[str, Any] = {"problem": told, "problem_media": JSON}


class V2:
    """Handlers over a core; `core` is asked for it, and raises NotReady while the service starts."""

    def __init__(self, core: Callable[[], Core], readiness: Readiness) -> None:
        self.core, self.readiness = core, readiness
        self._inference: Inference | None = None

    def routes(self) -> list[Route]:
        """What it answers."""
        model = "/v2/models/{model}"
        found = [
            Route("GET", "/v2", self.server, **_PROBLEMS),
            Route("GET", "/v2/health/live", self.live, open=True, **_PROBLEMS),
            Route("GET", "/v2/health/ready", self.ready, open=True, **_PROBLEMS),
        ]
        for path in (model, f"{model}/versions/{{version}}"):
            found += [
                Route("GET", path, self.metadata, **_PROBLEMS),
                Route("GET", f"{path}/ready", self.model_ready, **_PROBLEMS),
                Route("POST", f"{path}/infer", self.infer, media=(JSON, BINARY), **_PROBLEMS),
            ]
        return found

    async def server(self, _: Asked) -> Answer:
        """What the server is."""
        return Answer(encode(self._served().server()))

    async def live(self, _: Asked) -> Answer:
        """Whether the process lives."""
        return Answer(b'{"live":true}')

    async def ready(self, _: Asked) -> Answer:
        """Whether predictions can be asked for."""
        await self.readiness()
        return Answer(b'{"ready":true}')

    async def model_ready(self, asked: Asked) -> Answer:
        """The same of the model, which is the only one."""
        self._named(asked)
        await self.readiness()
        return Answer(encode({"name": asked.path["model"], "ready": True}))

    async def metadata(self, asked: Asked) -> Answer:
        """The model's tensors."""
        return Answer(json.dumps(self._named(asked).metadata(), allow_nan=False, separators=(",", ":")).encode())

    async def infer(self, asked: Asked) -> Answer:
        """The outputs of some rows."""
        inference = self._named(asked)
        started = perf_counter()
        end = _end(asked)
        request, typed = _read(asked.body, end)
        wanted = inference.wanted([one.name for one in request.outputs])
        rows = inference.tensors.rows(request.inputs, typed=typed)
        metrics.stage["decode"](perf_counter() - started)
        inferred = inference.inferred(await self.core().scored(rows, asked.call), wanted, asked.call)
        started = perf_counter()
        head = {"model_name": inference.name, "model_version": inference.version}
        answer = _answer({**head, "id": request.id or asked.call.request_id}, inferred, request)
        metrics.stage["encode"](perf_counter() - started)
        return answer

    def _served(self) -> Inference:
        if self._inference is None:
            self._inference = Inference(self.core())
        return self._inference

    def _named(self, asked: Asked) -> Inference:
        """What is served, if it is what the path names."""
        inference = self._served()
        inference.find(asked.path["model"], asked.path.get("version", ""))
        return inference


def _end(asked: Asked) -> int:
    """Where the JSON ends.

    Raises:
        Malformed: if the header says nothing that can be.
    """
    header = asked.headers.get(LENGTH)
    if header is None:
        return len(asked.body)
    if not header.isdigit() or len(header) > 18 or int(header) > len(asked.body):
        shown = header[:100].decode("latin-1")
        raise Malformed(f"inference-header-content-length is {shown!r}; the body has {len(asked.body)} bytes")
    return int(header)


def _read(body: bytes, end: int) -> tuple[Any, bool]:
    """The request, its inputs as tensors, and whether their lists hold what their datatypes say.

    Raises:
        Malformed: if it is no JSON. NotAccepted: if it is no request.
    """
    head, typed = body if end == len(body) else body[:end], True
    try:
        request = _TYPED.decode(head)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # the last for lists in lists without end
        request, typed = _loose(head), False
    view, at = memoryview(body), end
    for one in request.inputs:
        size = None if one.parameters is None else one.parameters.binary_data_size
        if (size is None) == (one.data is UNSET):
            raise NotAccepted(f"input {one.name[:100]!r} has either `data` or the parameter `binary_data_size`")
        if size is not None:
            if not 0 <= size <= len(body) - at:
                left = f"{len(body) - at} bytes are left behind the JSON"
                raise NotAccepted(f"input {one.name[:100]!r} has binary_data_size {size}, and {left}")
            one.data, at = view[at : at + size], at + size
        elif not typed:
            one.data = _flat(one.data)
    if at != len(body):
        raise NotAccepted(f"{len(body) - at} bytes behind the JSON belong to no input's binary_data_size")
    return request, typed


def _loose(head: bytes) -> Any:
    try:
        return msgspec.convert(from_json(head), _UNTYPED)  # NaN too, as some clients write it
    except msgspec.ValidationError as error:
        raise NotAccepted(f"this is no request of the Open Inference Protocol: {error}") from None
    except ValueError as error:
        raise Malformed(f"the body is no JSON: {error}") from None


def _flat(data: Sequence[Any]) -> list[Any]:
    """The elements of a tensor that is written as lists in a list."""
    return [each for one in data for each in (one if isinstance(one, list) else (one,))]


def _answer(head: dict[str, Any], inferred: Inferred, request: Any) -> Answer:
    binary = request.parameters is not None and request.parameters.binary_data_output
    asked = {one.name: one.parameters.binary_data for one in request.outputs if one.parameters is not None}
    outputs, raws = [], []
    for output in inferred.outputs:
        tensor: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": [inferred.n]}
        wanted = asked.get(output.name)
        if binary if wanted is None else wanted:
            raw = output.raw()
            raws.append(raw)
            tensor["parameters"] = {"binary_data_size": len(raw)}
        else:
            tensor["data"] = output.plain()
        outputs.append(tensor)
    body = encode({**head, "parameters": inferred.parameters, "outputs": outputs})
    if not raws:
        return Answer(body)
    headers = ((b"inference-header-content-length", b"%d" % len(body)),)
    return Answer(b"".join([body, *raws]), media=BINARY, headers=headers)
