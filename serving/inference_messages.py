"""The messages and the service of the Open Inference Protocol V2 over gRPC, made at start, without protoc.

Names and numbers are the protocol's own. Of what is optional in it (streams, repositories, statistics) nothing is here;
`parameters` of metadata are where MLServer has them, and clients that do not know them pass over them.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
METHODS = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")

_MESSAGES = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "bool live",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "bool ready",
    "ModelReadyRequest": "string name, string version",
    "ModelReadyResponse": "bool ready",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "string name, string version, string* extensions",
    "ModelMetadataRequest": "string name, string version",
    "ModelMetadataResponse": "string name, string* versions, string platform, TensorMetadata* inputs, "
    "TensorMetadata* outputs, map parameters",
    "ModelMetadataResponse.TensorMetadata": "string name, string datatype, int64* shape, map parameters",
    "ModelInferRequest": "string model_name, string model_version, string id, map parameters, "
    "InferInputTensor* inputs, InferRequestedOutputTensor* outputs, bytes* raw_input_contents",
    "ModelInferRequest.InferInputTensor": "string name, string datatype, int64* shape, map parameters, "
    "InferTensorContents contents",
    "ModelInferRequest.InferRequestedOutputTensor": "string name, map parameters",
    "ModelInferResponse": "string model_name, string model_version, string id, map parameters, "
    "InferOutputTensor* outputs, bytes* raw_output_contents",
    "ModelInferResponse.InferOutputTensor": "string name, string datatype, int64* shape, map parameters, "
    "InferTensorContents contents",
    "InferParameter": "bool bool_param, int64 int64_param, string string_param, double double_param, "
    "uint64 uint64_param",
    "InferTensorContents": "bool* bool_contents, int32* int_contents, int64* int64_contents, uint32* uint_contents, "
    "uint64* uint64_contents, float* fp32_contents, double* fp64_contents, bytes* bytes_contents",
}
"""Type and name of each field, by their numbers from 1 on; `*` is repeated, `map` is InferParameters by name."""
_TYPES = {
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "float": FieldDescriptorProto.TYPE_FLOAT,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "string": FieldDescriptorProto.TYPE_STRING,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
    "uint64": FieldDescriptorProto.TYPE_UINT64,
}


def file() -> FileDescriptorProto:
    """The file that describes them."""
    made = FileDescriptorProto(name="inference/grpc_predict_v2.proto", package=PACKAGE, syntax="proto3")
    messages: dict[str, DescriptorProto] = {}
    for name, fields in _MESSAGES.items():
        outer, _, inner = name.rpartition(".")
        message = messages[outer].nested_type.add(name=inner) if outer else made.message_type.add(name=inner)
        messages[name] = message
        for number, field in enumerate(filter(None, fields.split(", ")), 1):
            _add(message, name, number, *field.split())
    parameter = messages["InferParameter"]
    parameter.oneof_decl.add(name="parameter_choice")
    for choice in parameter.field:
        choice.oneof_index = 0
    service = made.service.add(name=SERVICE.rpartition(".")[2])
    for method in METHODS:
        request, response = (f".{PACKAGE}.{method}{end}" for end in ("Request", "Response"))
        service.method.add(name=method, input_type=request, output_type=response)
    return made


def classes() -> dict[str, Any]:
    """The classes of all messages, by name; in a pool of their own, for a client's may be in the process too."""
    pool = DescriptorPool()
    pool.Add(file())
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in _MESSAGES}


def _add(message: DescriptorProto, owner: str, number: int, kind: str, name: str) -> None:
    repeated = kind.endswith("*") or kind == "map"
    label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, label=label)
    kind = kind.rstrip("*")
    if kind in _TYPES:
        field.type = _TYPES[kind]
        return
    field.type = FieldDescriptorProto.TYPE_MESSAGE
    if kind == "map":
        entry = message.nested_type.add(name="ParametersEntry")
        entry.options.map_entry = True
        _add(entry, owner, 1, "string", "key")
        _add(entry, owner, 2, "InferParameter", "value")
        kind = "ParametersEntry"
    nested = f"{owner}.{kind}" if kind == "ParametersEntry" or f"{owner}.{kind}" in _MESSAGES else kind
    field.type_name = f".{PACKAGE}.{nested}"
