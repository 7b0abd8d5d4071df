"""A request of the Open Inference Protocol V2 as protobuf writes it: what MLServer reads over gRPC.

Field numbers are those of the protocol's own grpc_predict_v2.proto.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def infer(model: str, rows: NDArray[np.float32]) -> bytes:
    """A ModelInferRequest with one FP32 tensor, (n, p)."""
    shape = b"".join(map(_varint, rows.shape))
    contents = _field(6, rows.astype("<f4").tobytes())
    tensor = _field(1, b"x") + _field(2, b"FP32") + _field(3, shape) + _field(5, contents)
    return _field(1, model.encode()) + _field(5, tensor)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])
