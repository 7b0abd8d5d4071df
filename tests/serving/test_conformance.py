"""Servers are what their OpenAPI documents say, in the eyes of schemathesis; `make prove` sends many more requests."""

from __future__ import annotations

import httpx
import pytest

from benchmarks.conformance import check


@pytest.mark.parametrize("name", ["cdnow", "telco"])
def test_every_answer_is_as_documented(name: str, request: pytest.FixtureRequest) -> None:
    http: httpx.Client = request.getfixturevalue(f"{name}_http")
    found = check(str(http.base_url).rstrip("/"), 10)
    assert not found.failures, found.said
    assert found.cases >= 500
