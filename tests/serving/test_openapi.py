"""The OpenAPI document is true: each of its examples is sent to a real server, or provoked from it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import pytest
from pydantic import Field, ValidationError

from cli.workspace import Workspace
from features import clock
from features.contract import SAFE_INTEGER, Blank, Contract, EventId, Key, Money, Timestamp, columns
from model import store
from serving.core import Core
from serving.errors import ERRORS
from serving.examples import value
from serving.openapi import document
from settings import Settings

ROUTES = {
    ("post", "/v1/predict"): {"200", "400", "408", "413", "415", "422", "429", "500", "503"},
    ("post", "/v1/explain"): {"200", "400", "408", "413", "415", "422", "429", "500", "503"},
    ("post", "/v1/predict/bulk"): {"200", "400", "408", "413", "415", "422", "429", "500", "503"},
    ("post", "/v1/feedback"): {"200", "400", "408", "413", "415", "422", "429", "501", "503"},
    ("get", "/v1/models"): {"200", "503"},
    ("get", "/readyz"): {"200", "503"},
    ("get", "/livez"): {"200"},
    ("get", "/metrics"): {"200"},
    ("get", "/docs.json"): {"200"},
}
POSTS = [path for method, path in ROUTES if method == "post"]
GETS = [path for method, path in ROUTES if method == "get"]
TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
    "null": type(None),
}  # fmt: skip
OPEN = {"type": "object", "additionalProperties": True}
PROSE = {"title", "description", "default"}


def wrong(told: dict[str, Any], schema: dict[str, Any], given: Any, place: str = "$") -> Iterator[str]:
    """Where a value is not what the schema says; of objects also what the schema does not know.

    Raises:
        AssertionError: for a keyword that is not looked at here: nothing passes unread.
    """
    if "$ref" in schema:
        yield from wrong(told, told["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], given, place)
        return
    rest = dict(schema)
    kind, properties, items = rest.pop("type", None), rest.pop("properties", {}), rest.pop("items", None)
    either, more = rest.pop("anyOf", None), rest.pop("additionalProperties", False)
    needed, pattern = rest.pop("required", ()), rest.pop("pattern", "")
    levels = [rest.pop("const")] if "const" in rest else rest.pop("enum", None)
    if kind and (not isinstance(given, TYPES[kind]) or (isinstance(given, bool) and kind != "boolean")):
        yield f"{place}: {given!r} is no {kind}"
        return
    if either and all(any(wrong(told, one, given, place)) for one in either):
        yield f"{place}: {given!r} is none of {either}"
    if rest.pop("format", "") == "date-time" and isinstance(given, str):
        clock.parse(given)
    if levels and given not in levels:
        yield f"{place}: {given!r} is none of {levels}"
    if not re.search(pattern, given if isinstance(given, str) else ""):
        yield f"{place}: {given!r} does not match {pattern}"
    if "if" in rest:
        met = not any(wrong(told, {**OPEN, **rest.pop("if")}, given, place))
        then, other = rest.pop("then"), rest.pop("else")
        yield from wrong(told, {**OPEN, **(then if met else other)}, given, place)
    if "not" in rest and not any(wrong(told, {**OPEN, **rest.pop("not")}, given, place)):
        yield f"{place}: {given!r} is what it may not be"
    size = given if isinstance(given, int | float) else len(given) if given is not None else 0
    for low in ("minimum", "minLength", "minItems", "minProperties"):
        if size < rest.pop(low, size):
            yield f"{place}: {given!r} is below {low}"
    for high in ("maximum", "maxLength", "maxItems", "maxProperties"):
        if size > rest.pop(high, size):
            yield f"{place}: {given!r} is above {high}"
    assert set(rest) <= PROSE, f"{place}: nobody looks at {set(rest) - PROSE}"
    if kind == "object":
        yield from (f"{place}: no {name}" for name in needed if name not in given)
    if kind == "object" and (properties or more is False):
        for name, inner in given.items():
            if name in properties:
                yield from wrong(told, properties[name], inner, f"{place}.{name}")
            elif more is False:
                yield f"{place}: nobody knows {name}"
            elif isinstance(more, dict):
                yield from wrong(told, more, inner, f"{place}.{name}")
    if items and isinstance(given, list):
        for number, inner in enumerate(given):
            yield from wrong(told, items, inner, f"{place}[{number}]")


def examples(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Summary, schema and value of each example of a request or an answer."""
    for media in content.values():
        for example in media.get("examples", {}).values():
            yield example["summary"], media["schema"], example["value"]


def checked(told: dict[str, Any], answer: httpx.Response, method: str, path: str) -> Any:
    """The answer's body; its status, media type, headers and schema are those of the document."""
    response = told["paths"][path][method]["responses"][str(answer.status_code)]
    media = answer.headers["content-type"].partition(";")[0]
    for name, header in response["headers"].items():
        sent: Any = answer.headers[name]
        assert not list(wrong(told, header["schema"], int(sent) if sent.isdigit() else sent))
    body = answer.json() if "json" in media else answer.text
    schema = response["content"][media]["schema"]
    if path != "/docs.json":  # an object of which nothing more is said
        assert not list(wrong(told, schema, body)), path
    return body


@pytest.fixture(params=["cdnow", "telco"])
def http(request: pytest.FixtureRequest) -> httpx.Client:
    """A client of one server after the other: one that asks for a key alone, one for nineteen attributes."""
    client: httpx.Client = request.getfixturevalue(f"{request.param}_http")
    return client


@pytest.fixture
def told(http: httpx.Client) -> dict[str, Any]:
    """The document as it is served."""
    served: dict[str, Any] = http.get("/docs.json").json()
    return served


def test_every_route_is_there_with_its_own_statuses(told: dict[str, Any]) -> None:
    found = {
        (method, path): set(operation["responses"])
        for path, item in told["paths"].items()
        for method, operation in item.items()
    }
    assert found == ROUTES


def test_every_example_of_a_request_is_accepted(told: dict[str, Any], http: httpx.Client) -> None:
    sent = 0
    for path in POSTS:
        for _, schema, body in examples(told["paths"][path]["post"]["requestBody"]["content"]):
            assert not list(wrong(told, schema, body))
            answer = http.post(path, json=body)
            assert answer.status_code == 200, answer.text
            given = checked(told, answer, "post", path)
            assert not given.get("errors")
            sent += 1
    assert sent == 7


def test_every_example_of_an_answer_is_of_its_schema(told: dict[str, Any]) -> None:
    responses = [one for item in told["paths"].values() for o in item.values() for one in o["responses"].values()]
    kinds = set()
    for response in [*responses, *told["components"]["responses"].values()]:
        for name, schema, body in examples(response["content"]):
            assert not list(wrong(told, schema, body)), name
            kinds.add(body.get("type"))
    assert kinds - {None} == {f"urn:holdfast:problem:{error.outcome()}" for error in ERRORS}


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("status", ["400", "422"])
def test_a_wrong_body_is_answered_as_its_example_says(
    path: str, status: str, told: dict[str, Any], http: httpx.Client
) -> None:
    found = list(examples(told["paths"][path]["post"]["responses"][status]["content"]))
    assert found
    for body, _, problem in found:
        answer = http.post(path, content=body, headers={"content-type": "application/json", "x-request-id": "order-77"})
        assert answer.status_code == int(status)
        assert checked(told, answer, "post", path) == problem


@pytest.mark.parametrize("path", POSTS)
def test_limits_and_media_are_refused_as_documented(path: str, told: dict[str, Any], http: httpx.Client) -> None:
    json_ = {"content-type": "application/json"}
    most = int(re.search(r"At most ([\d,]+) bytes", _description(told, path))[1].replace(",", ""))  # type: ignore[index]  # else it fails
    large = http.post(path, content=b" " * (most + 1), headers=json_)
    other = http.post(path, content=b"{}", headers={"content-type": "text/plain"})
    for answer, status in ((large, 413), (other, 415)):
        assert answer.status_code == status
        shown = [problem for _, _, problem in examples(_responses(told, path)[str(status)]["content"])]
        assert checked(told, answer, "post", path)["detail"] in [problem["detail"] for problem in shown]
    assert http.post(path, content=b" " * most, headers=json_).status_code == 400


def test_too_many_rows_are_refused_as_documented(told: dict[str, Any], http: httpx.Client) -> None:
    path = "/v1/predict/bulk"
    most = told["components"]["schemas"]["Bulk"]["properties"]["rows"]["maxItems"]
    answer = http.post(path, json={"rows": [0] * (most + 1)})
    assert answer.status_code == 413
    why = re.search(r"; ([\d,]+) where they ask why", _description(told, path))
    assert why is not None
    more = http.post(path, json={"rows": [0] * (int(why[1].replace(",", "")) + 1), "explain": True})
    assert more.status_code == 413
    shown = [problem["detail"] for _, _, problem in examples(_responses(told, path)["413"]["content"])]
    assert checked(told, answer, "post", path)["detail"] in shown
    assert checked(told, more, "post", path)["detail"] in shown


@pytest.mark.parametrize("path", GETS)
def test_what_is_read_is_of_its_schema(path: str, told: dict[str, Any], http: httpx.Client) -> None:
    answer = http.get(path)
    assert answer.status_code == 200
    shown = [example for _, _, example in examples(_responses(told, path, "get")["200"]["content"])]
    assert not shown or checked(told, answer, "get", path) == shown[0]


def test_another_path_or_method_is_the_problem_that_is_shown(told: dict[str, Any], http: httpx.Client) -> None:
    shown = told["components"]["responses"]
    for name, answer in (("NotFound", http.post("/v1/nothing", json={})), ("WrongMethod", http.get("/v1/predict"))):
        _, schema, example = next(examples(shown[name]["content"]))
        assert not list(wrong(told, schema, answer.json()))
        assert answer.json() == {**example, "request_id": answer.headers["x-request-id"]}
        assert set(shown[name]["headers"]) <= set(answer.headers)


def test_shedding_says_when_to_ask_again(told: dict[str, Any]) -> None:
    for item in told["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                assert ("retry-after" in response["headers"]) == (status in ("429", "503"))


def test_the_page_shows_the_document_and_asks_nobody_else(http: httpx.Client) -> None:
    page = http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert '"./docs.json"' in page.text
    assert "//" not in page.text
    for file in re.findall(r'(?:src|href)="(.*?)"', page.text):
        assert http.get(file).status_code == 200


def test_a_bulk_request_has_either_rows_or_columns(told: dict[str, Any]) -> None:
    schema = told["components"]["schemas"]["Bulk"]
    rows, columns = (
        next(one[form] for _, _, one in _bulk_examples(told) if form in one) for form in ("rows", "columns")
    )
    for body in ({}, {"explain": True}, {"rows": rows, "columns": columns}):
        assert list(wrong(told, schema, body)), body
    for body in ({"rows": rows, "top": 1}, {"columns": columns, "explain": False}):
        assert not list(wrong(told, schema, body)), body


def test_schemas_have_names_that_people_understand(told: dict[str, Any]) -> None:
    names = set(told["components"]["schemas"])
    assert {
        "Predict",
        "Explain",
        "Row",
        "Bulk",
        "Answer",
        "Explanation",
        "Answers",
        "ProblemDetails",
        "Models",
    } <= names
    assert not [name for name in names if "IODescriptor" in name or "__" in name]


def test_limits_are_those_of_the_settings(cdnow: Workspace) -> None:
    core = Core(
        cdnow.usecase,
        store.path(cdnow.champion() or ""),
        Settings(max_rows=7, max_explained_rows=5, max_body_bytes=4_321, max_queue_rows=99, max_latency_ms=1_250),
        record=False,
    )
    told = document(core)
    assert told["components"]["schemas"]["Bulk"]["properties"]["rows"]["maxItems"] == 7
    assert "4,321 bytes and 7 rows; 5 where they ask why" in _description(told, "/v1/predict/bulk")
    assert all(limit in told["info"]["description"] for limit in ("4,321 bytes", "7 rows", "99 rows", "1.25 s"))


def test_a_refused_model_leaves_a_document(cdnow: Workspace, tmp_path: Path) -> None:
    broken = tmp_path / (cdnow.champion() or "").replace(":", "/")
    shutil.copytree(store.path(cdnow.champion() or ""), broken)
    (broken / "model.ubj").write_bytes(b"")
    core = Core(cdnow.usecase, broken, Settings(), record=False)
    assert core.loaded is None
    assert set(document(core)["paths"]) == {path for _, path in ROUTES}


class Everything(Contract):
    """A field of each kind, with bounds on either side, both and none."""

    who: Key
    event: EventId
    at: Timestamp
    free: int
    maybe: int | None
    lowest: Annotated[int, Field(ge=-5)]
    most: Annotated[int, Field(le=-5)]
    narrow: Annotated[int, Field(ge=3, le=3)]
    wide: Annotated[int, Field(ge=-SAFE_INTEGER, le=SAFE_INTEGER)]
    share: Annotated[float, Field(ge=0, le=1)]
    below: Annotated[float, Field(le=-0.5)]
    weight: float
    cents: Money
    paid: Annotated[Money, Field(ge=1)]
    flag: bool
    level: Literal["a", "b"]
    blank: Annotated[int, Field(ge=7, le=9), Blank(8, "why")]


def test_the_example_of_a_row_is_accepted_whatever_the_contract() -> None:
    row = {column.name: value(column) for column in columns(Everything)}
    Everything.model_validate_json(json.dumps(row))
    with pytest.raises(ValidationError):
        Everything.model_validate({**row, "narrow": 4})


def _bulk_examples(told: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    return examples(told["paths"]["/v1/predict/bulk"]["post"]["requestBody"]["content"])


def _responses(told: dict[str, Any], path: str, method: str = "post") -> dict[str, Any]:
    found: dict[str, Any] = told["paths"][path][method]["responses"]
    return found


def _description(told: dict[str, Any], path: str) -> str:
    return str(told["paths"][path]["post"]["requestBody"]["description"])
