"""`holdfast rollout check` of real servers: what it proves, and what it does not let pass."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from cli.server import Server, free_port, serve
from cli.workspace import Workspace
from tests.cli.conftest import figures, holdfast

KEY = "a-key-that-is-long-enough"


@dataclass(frozen=True)
class Guarded:
    """telco's champion behind TLS and keys, the words that check it, and files."""

    server: Server
    tag: str
    words: tuple[str, ...]
    directory: Path


@pytest.fixture(scope="module")
def guarded(telco: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A server whose certificate names another host than the one it is asked by, as a Service's does."""
    directory = tmp_path_factory.mktemp("check")
    authority = trustme.CA()
    certificate = authority.issue_cert("predictions.shop.example")
    certificate.private_key_pem.write_to_path(directory / "tls.key")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(directory / "tls.crt", append=True)
    authority.cert_pem.write_to_path(directory / "ca.crt")
    (directory / "key").write_text(f"{KEY}\n")
    environ = {
        "HOLDFAST_USECASE": "telco",
        "HOLDFAST_API_KEYS": f"tests={KEY}",
        "HOLDFAST_TLS_CERT": str(directory / "tls.crt"),
        "HOLDFAST_TLS_KEY": str(directory / "tls.key"),
    }
    tag = telco.champion()
    assert tag is not None
    with serve(environ, log=directory / "log") as server:
        words = ("rollout", "check", server.url, "--grpc", server.grpc, "--key-file", str(directory / "key"))
        yield Guarded(server, tag, words, directory)


def test_everything_is_proved_to_the_last_bit(guarded: Guarded) -> None:
    told = figures(*guarded.words, "--model", guarded.tag, "--cacert", str(guarded.directory / "tls.crt"))
    assert told["passed"]
    proofs = {proof["name"]: proof["said"] for proof in told["proofs"]}
    assert all(proof["passed"] for proof in told["proofs"])
    assert list(proofs) == ["livez", "readyz", "model", "gate", "prediction", "golden rows"]
    assert "the same bits" in proofs["prediction"]
    assert "asked again over HTTP and gRPC: 0 differing bits" in proofs["golden rows"]
    assert guarded.tag in proofs["model"]


def test_whatever_certificate_is_shown_may_be_believed(guarded: Guarded) -> None:
    done = holdfast(*guarded.words, "--insecure", "--rows", "1")
    assert "golden rows 1 row asked again" in done.stdout


def test_a_certificate_for_another_host_is_not_believed(guarded: Guarded) -> None:
    done = holdfast(*guarded.words, "--cacert", str(guarded.directory / "ca.crt"), code=1)
    assert "certificate verify failed" in done.stderr


def test_another_model_than_the_one_that_is_meant_is_told(guarded: Guarded) -> None:
    done = holdfast(*guarded.words, "--insecure", "--model", "telco:19700101-00000000", code=1)
    assert f"model: {guarded.tag} is served, not telco:19700101-00000000" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_the_key_it_is_refused(guarded: Guarded) -> None:
    done = holdfast("rollout", "check", guarded.server.url, "--insecure", code=1)
    assert "/v1/models answers 401" in done.stderr
    missing = holdfast("rollout", "check", guarded.server.url, "--key-file", "/nowhere/key", code=1)
    assert "/nowhere/key cannot be read" in missing.stderr


def test_golden_rows_come_from_the_image_too_and_one_other_bit_is_seen(guarded: Guarded, tmp_path: Path) -> None:
    own = Path(os.environ["BENTOML_HOME"]) / "models" / guarded.tag.replace(":", "/")
    copy = tmp_path / "models" / guarded.tag.replace(":", "/")
    shutil.copytree(own, copy)
    (tmp_path / "bentoml").mkdir()
    fresh = {"BENTOML_HOME": str(tmp_path / "bentoml")}
    beside = {**fresh, "HOLDFAST_MODELS": str(tmp_path / "models")}
    words = (*guarded.words, "--insecure")
    assert "0 differing bits" in holdfast(*words, environ=beside).stdout
    assert "not looked at: " in holdfast(*words, environ=fresh).stdout
    golden = json.loads((copy / "golden.json").read_text())
    first = float.fromhex(golden[5]["probability"])
    golden[5]["probability"] = (first * (1 + 2**-52)).hex()
    (copy / "golden.json").write_text(json.dumps(golden))
    assert "row 5, HTTP says" in holdfast(*words, environ=beside, code=1).stderr


def test_of_aggregates_the_gate_counts(cdnow: Workspace, tmp_path: Path) -> None:
    with serve({"HOLDFAST_USECASE": cdnow.usecase.name}, log=tmp_path / "log") as server:
        told = figures("rollout", "check", server.url, "--grpc", server.grpc)
        alone = figures("rollout", "check", server.url)
    assert [proof["passed"] for proof in told["proofs"]] == [True] * 5 + [None]
    assert "golden rows agreed to the last bit" in told["proofs"][3]["said"]
    assert "gRPC was not asked" in alone["proofs"][4]["said"]


def test_nobody_there_is_told() -> None:
    done = holdfast("rollout", "check", f"http://127.0.0.1:{free_port()}", code=1)
    assert "answer: http://127.0.0.1" in done.stderr
    assert "is no http://HOST:PORT" in holdfast("rollout", "check", "localhost:3000", code=1).stderr
