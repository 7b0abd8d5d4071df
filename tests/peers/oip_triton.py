"""Asks a server for rows by Triton's own clients, and writes what each of them was told.

oip_triton.py HTTP GRPC MODEL ROWS.json ANSWERS.json: rows as /v1 takes them; answers by client, output and row.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.grpc
import tritonclient.http

DTYPES = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}
MISSING = {"FP64": np.nan, "BYTES": ""}
OUTPUTS = ("probability", "decision", "known", "who", "prediction_id")


def main(http, grpc, model, rows, answers):
    """Ask by every client."""
    asked = json.loads(Path(rows).read_text())
    rest, rpc = tritonclient.http.InferenceServerClient(http), tritonclient.grpc.InferenceServerClient(grpc)
    for client in (rest, rpc):
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(model)
    metadata = rest.get_model_metadata(model)
    told = {tensor.name: tensor.datatype for tensor in rpc.get_model_metadata(model).inputs}
    assert told == {tensor["name"]: tensor["datatype"] for tensor in metadata["inputs"]}
    version = metadata["versions"][0]
    assert rpc.is_model_ready(model, version)

    def inputs(module, **more):
        made = []
        for name, datatype in told.items():
            values = [row["attributes"].get(name, row.get(name)) for row in asked]
            values = [MISSING[datatype] if value is None else value for value in values]
            tensor = module.InferInput(name, [len(values)], datatype)
            made.append(tensor.set_data_from_numpy(np.array(values, dtype=DTYPES[datatype]), **more) or tensor)
        return made

    def outputs(module, **more):
        return [module.InferRequestedOutput(name, **more) for name in OUTPUTS]

    module = tritonclient.http
    found = {
        "http, its defaults": rest.infer(model, inputs(module)),
        "http, JSON": rest.infer(model, inputs(module, binary_data=False), outputs=outputs(module, binary_data=False)),
        "http, mixed": rest.infer(model, inputs(module), version, outputs=outputs(module, binary_data=False)),
        "grpc": rpc.infer(
            model, inputs(tritonclient.grpc), version, outputs=outputs(tritonclient.grpc), request_id="7"
        ),
    }
    assert found["grpc"].get_response().id == "7"
    plain = {client: {name: _plain(result.as_numpy(name)) for name in OUTPUTS} for client, result in found.items()}
    plain["errors"] = [_refused(rest, inputs(module)), _refused(rpc, inputs(tritonclient.grpc))]
    Path(answers).write_text(json.dumps(plain))


def _plain(values):
    if values is None:
        return None
    return [value.decode() if isinstance(value, bytes) else value for value in values.tolist()]


def _refused(client, inputs):
    try:
        client.infer("nobody", inputs)
    except tritonclient.utils.InferenceServerException as error:
        return str(error)
    return None


main(*sys.argv[1:])
