"""`holdfast rollout check`: whether a running service answers as it should. It is what `helm test` runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import settings as holdfast_settings
from cli.console import Json, Out
from cli.rollout.app import RolloutError, rollout
from settings import HoldfastError


class KeyFileError(HoldfastError, OSError):
    """The file with the API key cannot be read."""


@rollout.command("check")
def check_command(
    url: Annotated[str, typer.Argument(help="http://HOST:PORT or https://HOST:PORT.")],
    grpc: Annotated[str | None, typer.Option("--grpc", help="HOST:PORT; without, gRPC is left out.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="NAME:VERSION that has to be served.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="File with an API key.")] = None,
    cacert: Annotated[
        Path | None, typer.Option(help="Certificates to believe, as PEM; the server's own, whatever its names.")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Believe whatever certificate is shown.")] = False,
    rows: Annotated[int, typer.Option(min=0, help="Most golden rows that are asked again from here.")] = 64,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Whether a service lives, is ready, serves the model that is meant and answers the same over HTTP and gRPC.

    Where the use case has attributes only, and its model is at hand (in the store, or in HOLDFAST_MODELS), its golden
    rows are asked again and compared with what training recorded, to the last bit. Exit code 1: something is wrong.
    Answers go to the prediction log like any, about keys that begin with `holdfast-check`.
    """
    from cli.rollout.asking import service  # late: what asks pulls in gRPC, the model's libraries and more
    from cli.rollout.checking import proofs

    out, settings, key = Out(as_json), holdfast_settings.load(), _key(key_file)
    found = []
    with service(url, grpc, key, cacert, insecure) as asked:
        for proof in proofs(asked, grpc is not None, model, rows, settings):
            found.append(proof)
            state = {True: "", False: "NOT SO: ", None: "not looked at: "}[proof.passed]
            out.proved(proof.name, f"{state}{proof.said}")
    wrong = [f"{proof.name}: {proof.said}" for proof in found if proof.passed is False]
    out.result({"passed": not wrong, "proofs": [asdict(proof) for proof in found]})
    if wrong:
        raise RolloutError(f"{url} is not as it should be: {'; '.join(wrong)}")


def _key(path: Path | None) -> str | None:
    try:
        return None if path is None else path.read_text().strip()
    except OSError as error:
        raise KeyFileError(f"--key-file {path} cannot be read: {error.strerror}") from None
