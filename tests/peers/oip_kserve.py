"""Asks a server for rows by KServe's own clients, and writes what each of them was told.

oip_kserve.py HTTP GRPC MODEL ROWS.json ANSWERS.json: rows as /v1 takes them; answers by client, output and row.
"""

import asyncio
import json
import sys
from pathlib import Path

import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

DTYPES = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}
MISSING = {"FP64": np.nan, "BYTES": ""}


async def main(http, grpc, model, rows, answers):
    """Ask by every client."""
    asked, base = json.loads(Path(rows).read_text()), f"http://{http}"
    rest, rpc = InferenceRESTClient(RESTConfig(protocol="v2")), InferenceGRPCClient(grpc)
    assert await rest.is_server_live(base)
    assert await rest.is_server_ready(base)
    assert await rest.is_model_ready(base, model)
    assert await rpc.is_model_ready(model)
    metadata = httpx.get(f"{base}/v2/models/{model}").json()

    def request(binary):
        inputs = []
        for one in metadata["inputs"]:
            name, datatype = one["name"], one["datatype"]
            values = [row["attributes"].get(name, row.get(name)) for row in asked]
            values = [MISSING[datatype] if value is None else value for value in values]
            tensor = InferInput(name, [len(values)], datatype)
            tensor.set_data_from_numpy(np.array(values, dtype=DTYPES[datatype]), binary_data=binary)
            inputs.append(tensor)
        return InferRequest(model, inputs, request_id="7")

    found = {
        "REST, binary": await rest.infer(base, request(True), model_name=model),
        "REST, JSON": await rest.infer(base, request(False), model_name=model),
        "gRPC, raw": await rpc.infer(request(True)),
        "gRPC, contents": await rpc.infer(request(False)),
    }
    assert {result.id for result in found.values()} == {"7"}
    plain = {
        client: {output.name: output.as_numpy().tolist() for output in result.outputs}
        for client, result in found.items()
    }
    try:
        await rest.infer(base, request(False), model_name="nobody")
    except httpx.HTTPStatusError as error:
        plain["errors"] = [str(error)]
    await rest.close()
    await rpc.close()
    Path(answers).write_text(json.dumps(plain, default=bytes.decode))


asyncio.run(main(*sys.argv[1:]))
