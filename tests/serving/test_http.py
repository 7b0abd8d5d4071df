"""What HTTP answers, from a real `bentoml serve`: predictions, and every kind of bad request."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cli.parity import requests
from cli.workspace import Workspace
from features import clock
from features.store.base import Spine
from model.predictions.reading import open_log
from training.dataset import frame


def rows(workspace: Workspace, count: int) -> list[dict[str, Any]]:
    """Requests for the first customers there are."""
    keys = workspace.events.keys(workspace.as_of)[:count]
    inputs = frame(workspace.usecase, workspace.events, Spine.at(keys, workspace.as_of))
    return list(requests(workspace.usecase, keys, inputs))


def test_a_prediction_says_everything_about_itself(cdnow: Workspace, cdnow_http: httpx.Client) -> None:
    answer = cdnow_http.post("/v1/predict", json={"customer_id": "1"})
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {
        "customer_id", "probability", "decision", "threshold", "model", "fingerprint", "as_of", "known", "degraded",
        "request_id", "prediction_id",
    }  # fmt: skip
    assert body["customer_id"] == "1"
    assert 0 < body["probability"] < 1
    assert body["decision"] == ("churn" if body["probability"] >= body["threshold"] else "stay")
    assert body["model"] == cdnow.champion()
    assert body["fingerprint"] == cdnow.usecase.features.fingerprint
    assert body["as_of"] == "1998-07-01T00:00:00Z"
    assert (body["known"], body["degraded"]) == (True, False)


def test_an_unknown_customer_is_answered_and_flagged(cdnow_http: httpx.Client) -> None:
    body = cdnow_http.post("/v1/predict", json={"customer_id": "nobody"}).json()
    assert body["known"] is False
    assert 0 < body["probability"] < 1


@pytest.mark.parametrize("name", ["cdnow", "telco"])
def test_single_rows_bulk_rows_and_columns_give_the_same_bits(name: str, request: pytest.FixtureRequest) -> None:
    workspace: Workspace = request.getfixturevalue(name)
    client: httpx.Client = request.getfixturevalue(f"{name}_http")
    asked = rows(workspace, 50)
    single = [client.post("/v1/predict", json=row).json()["probability"] for row in asked]
    bulk = client.post("/v1/predict/bulk", json={"rows": asked}).json()
    columns: dict[str, Any] = {"customer_id": [row["customer_id"] for row in asked]}
    if "attributes" in asked[0]:
        columns["attributes"] = {field: [row["attributes"][field] for row in asked] for field in asked[0]["attributes"]}
    turned = client.post("/v1/predict/bulk", json={"columns": columns}).json()
    assert bulk["errors"] == turned["errors"] == []
    assert single == [one["probability"] for one in bulk["predictions"]]
    assert single == [one["probability"] for one in turned["predictions"]]
    assert len(set(single)) > 10


def test_bulk_answers_the_good_rows_and_tells_the_bad_ones(cdnow_http: httpx.Client) -> None:
    asked = [{"customer_id": "1"}, {"customer_id": 5, "age": 3}, {"customer_id": "2"}, "x"]
    answer = cdnow_http.post("/v1/predict/bulk", json={"rows": asked})
    assert answer.status_code == 200
    body = answer.json()
    assert [(one["row"], one["customer_id"]) for one in body["predictions"]] == [(0, "1"), (2, "2")]
    assert [one["row"] for one in body["errors"]] == [1, 3]
    assert {problem["field"] for problem in body["errors"][0]["problems"]} == {"customer_id", "age"}


def test_null_means_what_the_contract_says(telco: Workspace, telco_http: httpx.Client) -> None:
    row = rows(telco, 1)[0]
    blank = {**row, "attributes": {**row["attributes"], "total_charges": None}}
    zero = {**row, "attributes": {**row["attributes"], "total_charges": 0}}
    answers = [telco_http.post("/v1/predict", json=one).json()["probability"] for one in (blank, zero)]
    assert answers[0] == answers[1]


BAD_BODIES = {
    "malformed JSON": (b'{"customer_id":', 400),
    "empty": (b"", 400),
    "not UTF-8": (b'{"customer_id":"\xff"}', 400),
    "lone surrogate": (b'{"customer_id":"\\ud800"}', 400),
    "NaN": (b'{"customer_id":NaN}', 400),
    "Infinity": (b'{"customer_id":Infinity}', 400),
    "nested without end": (b'{"customer_id":' + b"[" * 100_000, 400),
    "a list": (b"[]", 422),
    "a string": (b'"1"', 422),
    "null": (b"null", 422),
    "no key": (b"{}", 422),
    "a number as key": (b'{"customer_id":1}', 422),
    "an empty key": (b'{"customer_id":""}', 422),
    "a key too long": (b'{"customer_id":"' + b"x" * 129 + b'"}', 422),
    "a control character": (b'{"customer_id":"a\\u0000b"}', 422),
    "unknown field": (b'{"customer_id":"1","x":2}', 422),
    "unknown attribute": (b'{"customer_id":"1","attributes":{"x":2}}', 422),
    "attributes of another type": (b'{"customer_id":"1","attributes":[1]}', 422),
}


@pytest.mark.parametrize("kind", BAD_BODIES)
def test_a_bad_body_is_a_problem_and_never_a_5xx(kind: str, cdnow_http: httpx.Client) -> None:
    body, status = BAD_BODIES[kind]
    answer = cdnow_http.post("/v1/predict", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == status
    assert told["detail"]
    assert told["request_id"] == answer.headers["x-request-id"]
    assert told["problems"] or status == 400


def test_every_reason_of_a_row_is_told_at_once(telco: Workspace, telco_http: httpx.Client) -> None:
    row = rows(telco, 1)[0]
    wrong = {
        **row["attributes"],
        "tenure": -1,
        "contract": "weekly",
        "monthly_charges": 29.85,
        "partner": "Yes",
        "x": 1,
    }
    del wrong["gender"]
    answer = telco_http.post("/v1/predict", json={"customer_id": 7, "attributes": wrong})
    assert answer.status_code == 422
    told = {problem["field"]: problem for problem in answer.json()["problems"]}
    fields = ("tenure", "contract", "monthly_charges", "partner", "x", "gender")
    assert set(told) == {"customer_id", *(f"attributes.{field}" for field in fields)}
    assert "given" not in told["attributes.gender"]
    assert told["attributes.contract"]["given"] == "weekly"
    assert told["customer_id"]["given"] == 7
    assert "whole number of minor units (cents)" in told["attributes.monthly_charges"]["problem"]
    assert "Month-to-month" in told["attributes.contract"]["problem"]


@pytest.mark.parametrize(
    "value", ["1e400", "-1e400", "123456789012345678901234567890", "1.5", "true", '"5"', "null", "[]"]
)
def test_no_number_that_is_none_gets_through(value: str, telco: Workspace, telco_http: httpx.Client) -> None:
    row = rows(telco, 1)[0]
    row["attributes"]["tenure"] = "HERE"
    body = json.dumps(row).replace('"HERE"', value)
    answer = telco_http.post("/v1/predict", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422), answer.text


BAD_BULKS = {
    "no rows": ({"rows": []}, 422),
    "rows that are none": ({"rows": {"customer_id": "1"}}, 422),
    "both": ({"rows": [{"customer_id": "1"}], "columns": {"customer_id": ["1"]}}, 422),
    "neither": ({}, 422),
    "another word": ({"lines": []}, 422),
    "a bare list": ([{"customer_id": "1"}], 422),
    "empty columns": ({"columns": {"customer_id": []}}, 422),
    "columns that are none": ({"columns": [1]}, 422),
    "a column that is none": ({"columns": {"customer_id": "1"}}, 422),
    "no column at all": ({"columns": {}}, 422),
    "uneven columns": ({"columns": {"customer_id": ["1", "2"], "x": [1]}}, 422),
    "unknown column": ({"columns": {"customer_id": ["1"], "x": [1]}}, 422),
    "attributes that are none": ({"columns": {"customer_id": ["1"], "attributes": 3}}, 422),
    "only bad rows": ({"rows": [{"customer_id": 1}, {"x": 1}, None]}, 422),
    "too many rows": ({"rows": [{"customer_id": "1"}] * 10_001}, 413),
}


@pytest.mark.parametrize("kind", BAD_BULKS)
def test_a_bad_bulk_is_a_problem_and_never_a_5xx(kind: str, cdnow_http: httpx.Client) -> None:
    body, status = BAD_BULKS[kind]
    answer = cdnow_http.post("/v1/predict/bulk", json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    if kind == "only bad rows":
        assert [one["row"] for one in answer.json()["problems"]] == [0, 1, 2]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_413(chunked: bool, cdnow_http: httpx.Client) -> None:
    body = b'{"customer_id":"' + b"x" * 1_000_001 + b'"}'
    sent: Any = iter([body[:700_000], body[700_000:]]) if chunked else body
    answer = cdnow_http.post("/v1/predict", content=sent, headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert "1000000" in answer.json()["detail"]


@pytest.mark.parametrize(
    "media", ["text/plain", "multipart/form-data", "application/vnd.bentoml+pickle", "application/xml"]
)
def test_only_json_is_read(media: str, cdnow_http: httpx.Client) -> None:
    answer = cdnow_http.post("/v1/predict", content=b'{"customer_id":"1"}', headers={"content-type": media})
    assert answer.status_code == 415


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("content-type", "application/json; charset=UTF-8", 200),
        ("content-type", 'application/json;charset="us-ascii"; v=1', 200),
        ("content-type", "application/json; charset=utf-16", 415),
        ("content-encoding", "gzip", 415),
        ("content-encoding", "identity", 200),
    ],
)
def test_json_is_read_plain_and_in_utf_8(header: str, value: str, status: int, cdnow_http: httpx.Client) -> None:
    headers = {"content-type": "application/json", header: value}
    answer = cdnow_http.post("/v1/predict", content=b'{"customer_id":"1"}', headers=headers)
    assert answer.status_code == status
    assert status == 200 or value.rpartition("=")[2].encode() in answer.content


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/predict", 405), ("POST", "/readyz", 405), ("POST", "/v1/nothing", 404), ("GET", "/V1/predict", 404)],
)
def test_other_methods_and_paths_are_problems(method: str, path: str, status: int, cdnow_http: httpx.Client) -> None:
    answer = cdnow_http.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert ("allow" in answer.headers) == (status == 405)


def test_a_trace_goes_on_and_one_begins_where_there_is_none(cdnow_http: httpx.Client) -> None:
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

    def sent(given: str) -> list[str]:
        return str(cdnow_http.get("/livez", headers={"traceparent": given}).headers["traceparent"]).split("-")

    version, same, own, flags = sent(f"00-{trace}-{span}-01")
    assert (version, same, flags) == ("00", trace, "01")
    assert own != span
    for odd in ("", "00-" + "0" * 32 + f"-{span}-01", f"ff-{trace}-{span}-01", f"00-{trace}-{span}", "x"):
        _, new, own, flags = sent(odd)
        assert (len(new), len(own), flags) == (32, 16, "00")
        assert new not in (trace, "0" * 32)


def test_what_is_live_is_told_in_full(cdnow: Workspace, cdnow_http: httpx.Client) -> None:
    (live,) = cdnow_http.get("/v1/models").json()["models"]
    answer = cdnow_http.post("/v1/predict", json={"customer_id": "1"}).json()
    assert live["name"] == answer["model"] == cdnow.champion()
    assert live["fingerprint"] == answer["fingerprint"] == live["manifest"]["fingerprint"]
    assert live["decision"]["threshold"] == answer["threshold"]
    assert repr(answer["threshold"]) in live["decision"]["rule"]
    assert "golden rows agree" in live["proof"]


def test_a_prediction_is_in_the_log_when_its_answer_is_there(cdnow: Workspace, cdnow_http: httpx.Client) -> None:
    answer = cdnow_http.post("/v1/predict", json={"customer_id": "7"}).json()
    (one,) = open_log(None, cdnow.home, "cdnow").find(answer["prediction_id"])
    assert (one.key, one.probability, one.decision) == ("7", answer["probability"], answer["decision"])
    assert (one.route, one.known, one.batch) == ("/v1/predict", True, len(cdnow.events.batches()))
    assert one.features["orders"] == one.aggregates["orders"] > 0
    assert one.features["recency_days"] == (one.request_time - one.aggregates["last_order_at"]) / clock.DAY


def test_requests_are_counted_by_route_and_outcome_and_unknown_paths_as_one(cdnow_http: httpx.Client) -> None:
    def counts() -> dict[tuple[str, str], float]:
        families = text_string_to_metric_families(cdnow_http.get("/metrics").text)
        return {
            (sample.labels["route"], sample.labels["outcome"]): sample.value
            for family in families
            for sample in family.samples
            if sample.name == "holdfast_requests_total"
        }

    before = counts()
    for path in ("/a", "/b", "/v1/predict/c"):
        cdnow_http.post(path, json={})
    cdnow_http.post("/v1/predict", json={"customer_id": "1"})
    cdnow_http.post("/v1/predict", json={"customer_id": 1})
    cdnow_http.post("/v1/predict/bulk", json={"rows": [{"customer_id": "1"}, {}]})
    after = counts()
    grown = {name: count - before.get(name, 0) for name, count in after.items() if count != before.get(name, 0)}
    assert grown == {
        ("other", "not-found"): 3,
        ("/v1/predict", "ok"): 1,
        ("/v1/predict", "not-what-the-contract-asks-for"): 1,
        ("/v1/predict/bulk", "partial"): 1,
        ("/metrics", "ok"): 1,
    }


def test_a_request_keeps_its_id(cdnow_http: httpx.Client) -> None:
    answer = cdnow_http.post("/v1/predict", json={"customer_id": "1"}, headers={"x-request-id": "order-77"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "order-77"
    odd = cdnow_http.post("/v1/predict", json={"customer_id": "1"}, headers={"x-request-id": "a b\tc"})
    assert odd.json()["request_id"] != "a b\tc"


def test_probes(cdnow: Workspace, cdnow_http: httpx.Client) -> None:
    assert cdnow_http.get("/livez").status_code == 200
    ready = cdnow_http.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["model"] == cdnow.champion()
    assert "golden rows agree to the last bit" in ready.json()["proof"]
