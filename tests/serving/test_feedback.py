"""Feedback: what is accepted, what is wrong with the rest, and that what is acknowledged is in the log."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr

import usecases
from cli.server import serve
from cli.workspace import ROOT, Workspace
from features.clock import parse, rfc3339
from model.predictions.outcome import Outcome
from model.predictions.pseudonym import Pseudonyms
from model.predictions.reading import Directory, open_log
from serving.call import Call, prediction_id
from serving.errors import Malformed, NoLog, NotAccepted, NotReady, NotRecorded, TooLarge
from serving.feedback import SLICE, Feedback
from serving.proto import Protocol
from serving.recorder import Recorder
from tests.model.answers import HEADER

USECASE = usecases.load("cdnow")
SEEN = {"outcome": True, "observed_at": "2026-07-01T00:00:00Z"}
ONE = {"prediction_id": "019b76da18006c1f20a4000001", **SEEN}
OTHER = {"customer_id": "2", "at": "2026-04-02T09:30:00.5+02:00", **SEEN, "outcome": False}


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    """A log in files."""
    with closing(Recorder(None, tmp_path, HEADER, 1)) as opened:
        yield opened


def feedback(recorder: Recorder | None, secret: str | None = None, max_rows: int = 5) -> Feedback:
    """What takes outcomes into that log."""
    return Feedback(USECASE, max_rows, Pseudonyms(None if secret is None else SecretStr(secret)), recorder)


def accept(to: Feedback, *outcomes: Any, client: str = "") -> dict[str, Any]:
    """The receipt of these outcomes."""
    call = Call.begin("/v1/feedback")
    call.client = client
    return asyncio.run(to.accept(to.read(json.dumps({"outcomes": outcomes}).encode()), call))


def logged(home: Path) -> list[Outcome]:
    """What is in the log."""
    return list(Directory(home / "predictions", "club").outcomes())


def counted(kind: str) -> float:
    """Of the metric."""
    return REGISTRY.get_sample_value("holdfast_outcomes_total", {"kind": kind}) or 0


def test_an_accepted_outcome_is_in_the_log_as_it_was_said(recorder: Recorder, tmp_path: Path) -> None:
    before = counted("accepted")
    told = accept(feedback(recorder), ONE, {**OTHER, "outcome_id": "mine"}, client="crm")
    first, second = logged(tmp_path)
    assert (told["accepted"], told["errors"]) == (2, [])
    assert told["outcomes"] == [{"row": 0, "outcome_id": first.outcome_id}, {"row": 1, "outcome_id": "mine"}]
    assert (first.prediction_id, first.key, first.at) == (ONE["prediction_id"], None, None)
    assert (first.outcome, first.observed_at, first.client) == (True, parse("2026-07-01T00:00:00Z"), "crm")
    assert (second.prediction_id, second.key, second.at) == (None, "2", parse("2026-04-02T07:30:00.5Z"))
    assert (second.outcome, second.outcome_id) == (False, "mine")
    assert first.received_at < second.received_at  # in one request, the last one is the one received last
    assert counted("accepted") == before + 2


def test_the_example_of_the_docs_is_accepted(recorder: Recorder) -> None:
    (example,) = re.findall(r"/v1/feedback .*? -d '(.*?)'", (ROOT / "docs" / "serving.md").read_text(), re.DOTALL)
    to = feedback(recorder)
    assert to.check(to.read(example.encode()))["errors"] == []


def test_the_same_outcome_has_the_same_id_however_its_times_are_written(recorder: Recorder, tmp_path: Path) -> None:
    to = feedback(recorder)
    same = {**OTHER, "at": "2026-04-02T07:30:00.500Z", "observed_at": "2026-07-01T02:00:00+02:00"}
    others = [
        {**OTHER, "outcome": True},
        {**OTHER, "observed_at": "2026-07-01T00:00:01Z"},
        {**OTHER, "customer_id": "3"},
    ]
    ids = [one["outcome_id"] for one in accept(to, OTHER, same, *others)["outcomes"]]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4
    assert accept(to, OTHER)["outcomes"][0]["outcome_id"] == ids[0]
    assert len(logged(tmp_path)) == 4


def test_keys_and_own_ids_are_pseudonyms_where_the_log_has_those(recorder: Recorder, tmp_path: Path) -> None:
    name = Pseudonyms(SecretStr("s3cret"))
    told = accept(feedback(recorder, "s3cret"), {**OTHER, "outcome_id": "customer-2"}, OTHER)
    mine, made = logged(tmp_path)
    assert (mine.key, made.key) == (name("2"), name("2"))
    assert (told["outcomes"][0]["outcome_id"], mine.outcome_id) == ("customer-2", name("customer-2"))
    (plain,) = feedback(None).check([OTHER])["outcomes"]
    assert made.outcome_id != plain["outcome_id"]  # or else trying out keys would tell whose it is


WRONG: dict[str, tuple[Any, set[str]]] = {
    "no object": ("x", {"body"}),
    "nothing": ({}, {"prediction_id", "outcome", "observed_at"}),
    "neither": (SEEN, {"prediction_id"}),
    "both": ({**ONE, "customer_id": "2"}, {"customer_id"}),
    "a key without a time": ({"customer_id": "2", **SEEN}, {"at"}),
    "a time without a key": ({"at": "2026-04-02T09:30:00Z", **SEEN}, {"customer_id"}),
    "all of it": (
        {"customer_id": 2, "at": "noon", "outcome": "yes", "observed_at": 5, "outcome_id": "", "x": 1},
        {"customer_id", "at", "outcome", "observed_at", "outcome_id", "x"},
    ),
    "a request's id": ({**ONE, "prediction_id": "order-77"}, {"prediction_id"}),
    "a prediction id and a line": ({**ONE, "prediction_id": f"{ONE['prediction_id']}\n"}, {"prediction_id"}),
    "a number for an outcome": ({**ONE, "outcome": 1}, {"outcome"}),
    "no outcome": ({**ONE, "outcome": None}, {"outcome"}),
    "a time without a zone": ({**ONE, "observed_at": "2026-07-01T00:00:00"}, {"observed_at"}),
    "a date": ({**ONE, "observed_at": "2026-07-01"}, {"observed_at"}),
    "a day that is not": ({**ONE, "observed_at": "2026-02-30T00:00:00Z"}, {"observed_at"}),
    "a year that no store has": ({**ONE, "observed_at": "0001-01-01T00:00:00Z"}, {"observed_at"}),
    "a time and a line": ({**ONE, "observed_at": "2026-07-01T00:00:00Z\n"}, {"observed_at"}),
    "a control character": ({**OTHER, "customer_id": "a\0"}, {"customer_id"}),
}


def test_every_problem_of_every_outcome_is_told_and_the_others_are_accepted(recorder: Recorder, tmp_path: Path) -> None:
    to, before = feedback(recorder, max_rows=50), counted("refused")
    told = accept(to, ONE, *(given for given, _ in WRONG.values()), OTHER)
    assert [one["row"] for one in told["outcomes"]] == [0, len(WRONG) + 1]
    found = {one["row"]: {problem["field"] for problem in one["problems"]} for one in told["errors"]}
    assert found == {row: fields for row, (_, fields) in enumerate(WRONG.values(), 1)}
    assert told["accepted"] == len(logged(tmp_path)) == 2
    assert counted("refused") == before + len(WRONG)
    (neither,) = (one["problems"][0] for one in told["errors"] if one["row"] == 3)
    assert neither["problem"] == "Field required, or else customer_id and at"


@pytest.mark.parametrize("name", WRONG)
def test_where_none_is_right_nothing_is_recorded(name: str, recorder: Recorder, tmp_path: Path) -> None:
    with pytest.raises(NotAccepted) as raised:
        accept(feedback(recorder), WRONG[name][0])
    assert raised.value.problems[0]["row"] == 0
    assert logged(tmp_path) == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"outcomes": [', Malformed),
        (b'{"outcomes": [{"outcome_id": "\\ud800"}]}', Malformed),
        (b"[]", NotAccepted),
        (b"{}", NotAccepted),
        (b'{"outcomes": {}}', NotAccepted),
        (b'{"outcomes": [], "more": 1}', NotAccepted),
    ],
)
def test_what_is_no_feedback_is_refused(body: bytes, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        feedback(None).read(body)


def test_how_many_there_may_be(recorder: Recorder) -> None:
    to = feedback(recorder, max_rows=2)
    assert accept(to, ONE, OTHER)["accepted"] == 2
    with pytest.raises(TooLarge, match="3 outcomes; one request carries at most 2"):
        accept(to, ONE, OTHER, ONE)
    with pytest.raises(NotAccepted, match="at least one"):
        accept(to)


def test_many_outcomes_let_others_take_their_turn(recorder: Recorder, tmp_path: Path) -> None:
    to, turns = feedback(recorder, max_rows=3_000), 0

    async def count() -> None:
        nonlocal turns
        asked = asyncio.ensure_future(to.accept([ONE, OTHER, {}] * 1_000, Call.begin("/v1/feedback")))
        while not asked.done():
            turns += 1
            await asyncio.sleep(0)
        told = await asked
        assert [one["row"] for one in told["errors"]] == list(range(2, 3_000, 3))
        assert [one["row"] for one in told["outcomes"]] == [row for row in range(3_000) if row % 3 != 2]

    asyncio.run(count())
    assert turns >= 3_000 / SLICE
    assert len(logged(tmp_path)) == 2


def test_what_cannot_be_recorded_is_said_and_can_be_sent_again(recorder: Recorder, tmp_path: Path) -> None:
    to, before = feedback(recorder), counted("unrecorded")
    (tmp_path / "predictions").write_text("in the way")
    with pytest.raises(NotRecorded) as raised:
        accept(to, ONE)
    assert raised.value.problems == ["the disk takes nothing; the server's log says why"]
    assert raised.value.retry_after
    assert counted("unrecorded") == before + 1
    with pytest.raises(NotReady):
        accept(feedback(None), ONE)
    with closing(Recorder("none:", tmp_path, HEADER, 1)) as off, pytest.raises(NoLog, match="none:"):
        accept(feedback(off), ONE)
    assert NoLog("").retry_after is None


def test_http_and_grpc_say_the_same_and_it_is_about_what_was_answered(cdnow: Workspace, tmp_path: Path) -> None:
    environ = {"HOLDFAST_PREDICTIONS_URL": f"file://{tmp_path}/log", "HOLDFAST_ID_HMAC_KEY": "s3cret" * 8}
    protocol = Protocol(cdnow.usecase)
    with (
        serve(environ, log=tmp_path / "serve.log") as server,
        httpx.Client(base_url=server.url) as client,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        single = client.post("/v1/predict", json={"customer_id": "1"}).json()["prediction_id"]
        bulk = client.post("/v1/predict/bulk", json={"rows": [{"customer_id": "1"}, {"customer_id": "2"}]}).json()
        (_, row) = (one["prediction_id"] for one in bulk["predictions"])
        log = open_log(environ["HOLDFAST_PREDICTIONS_URL"], cdnow.home, "cdnow")
        answered = {one.prediction_id: one.answered_at for one in log.between()}
        outcomes = [
            {"prediction_id": row, **SEEN},
            {"customer_id": "1", "at": rfc3339(answered[single]), **SEEN},
            {"prediction_id": prediction_id(), **SEEN},
            {"customer_id": "1", **SEEN},
        ]
        answer = client.post("/v1/feedback", json={"outcomes": outcomes})
        assert (answer.status_code, answer.json()["accepted"]) == (200, 3)
        corrected = [{**outcomes[1], "outcome": False, "observed_at": "2026-07-02T00:00:00Z"}, *outcomes]
        request = protocol.message("FeedbackRequest")(outcomes=corrected).SerializeToString()
        said = channel.unary_unary(f"/{protocol.service}/Feedback")(request, timeout=20)
        receipt = protocol.message("FeedbackResponse").FromString(said)
        assert [one.outcome_id for one in receipt.outcomes][1:] == [
            one["outcome_id"] for one in answer.json()["outcomes"]
        ]
        assert (receipt.accepted, receipt.errors[0].row) == (4, 4)
        assert [problem.field for problem in receipt.errors[0].problems] == ["at"]
        assert answer.json()["errors"][0]["problems"][0]["field"] == "at"
        unknown = protocol.message("FeedbackRequest")(outcomes=[ONE]).SerializeToString() + b"\x0a\x03\x98\x06\x01"
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary(f"/{protocol.service}/Feedback")(b"\x0a\x03\x98\x06\x01", timeout=20)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert protocol.outcomes(unknown)[1] == {"field 99": None}
        metrics = client.get("/metrics").text
        assert 'holdfast_outcomes_total{kind="accepted"} 7.0' in metrics
        assert 'route="/v1/feedback"' in metrics
        settled = {one.prediction_id: one.outcome for one in log.settled(log.between())}
        assert settled == {single: False, row: True, f"{row[:-1]}0": None}
        told = list(log.outcomes())
        assert len(told) == 4
        assert {one.key for one in told} == {None, *(one.key for one in log.find(single))}  # a pseudonym
        assert "1" not in {one.key for one in told}
