"""`holdfast contract proto`."""

from __future__ import annotations

import usecases
from serving.proto import Protocol
from tests.cli.conftest import holdfast


def test_the_proto_file_is_printed_as_the_server_has_it() -> None:
    assert holdfast("contract", "proto", "telco").stdout == Protocol(usecases.load("telco")).text()


def test_the_use_case_is_that_of_the_settings_by_default() -> None:
    assert "package holdfast.telco.v1;" in holdfast("contract", "proto", environ={"HOLDFAST_USECASE": "telco"}).stdout


def test_an_unknown_use_case_is_told() -> None:
    assert "no use case 'nothing'" in holdfast("contract", "proto", "nothing", code=1).stderr
