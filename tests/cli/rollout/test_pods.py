"""Servers behind addresses, looked at again and again: real ones that tell pages of metrics."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cli.rollout.counts import Counts, Look
from cli.rollout.pods import Pod, Pods, total


def told(requests: float, *, started: float = 1.0, track: str = "stable") -> str:
    """The metrics of a server that has answered so many requests since it started."""
    return (
        f'holdfast_build_info{{version="1",track="{track}"}} 1\n'
        f'holdfast_model_info{{model="cdnow:1"}} 1\nholdfast_ready 1\nprocess_start_time_seconds {started}\n'
        "# TYPE holdfast_requests_total counter\n"
        f'holdfast_requests_total{{route="/v1/predict",outcome="ok",model="cdnow:1"}} {requests}\n'
    )


@contextmanager
def telling(pages: list[str], address: str = "127.0.0.1") -> Iterator[int]:
    """A server that tells the last of these pages, and its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages[-1].encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silent."""

    with ThreadingHTTPServer((address, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_only_what_is_counted_from_the_first_look_on_counts() -> None:
    one, other = [told(100)], [told(1_000)]
    with telling(one) as first, telling(other) as second:
        pods = Pods([("127.0.0.1", first)])
        pods.look()
        assert total(pods.of("stable")) == Counts()
        one.append(told(130))
        pods.places = [("127.0.0.1", first), ("localhost", second)]
        pods.look()
        other.append(told(1_005))
        pods.look()
    assert total(pods.of("stable")).requests == 35
    assert pods.of("canary") == []


def test_a_server_that_begins_anew_keeps_what_it_had() -> None:
    pages = [told(100)]
    with telling(pages) as port:
        pods = Pods([("127.0.0.1", port)])
        pods.look()
        for page in (told(120), told(7, started=2.0), told(9, started=2.0)):
            pages.append(page)
            pods.look()
    (pod,) = pods.of("stable")
    assert (pod.counted.requests, pod.restarts) == (29, 1)


def test_where_no_start_is_told_fewer_requests_are_a_new_one() -> None:
    pod = Pod(Look("stable", "m:1", True, math.nan, Counts(10)))
    for requests in (15, 3, 4):
        pod.see(Look("stable", "m:1", True, math.nan, Counts(requests)))
    assert (pod.counted.requests, pod.restarts) == (9, 1)


def test_who_does_not_answer_is_told_and_who_is_gone_is_not_missed() -> None:
    pages = [told(5, track="canary")]
    with telling(pages) as port:
        pods = Pods([("127.0.0.1", port), ("no-such-host.invalid", 3002)])
        pods.look()
        assert [pod.answers for pod in pods.of("canary")] == [True]
        assert pods.trouble == {}
        pages.append("up 1\n")
        pods.look()
    assert [pod.answers for pod in pods.of("canary")] == [False]
    assert "holdfast_build_info" in pods.trouble[f"127.0.0.1:{port}"]
    pods.look()
    assert "holdfast_build_info" not in pods.trouble[f"127.0.0.1:{port}"]
    pods.places = []
    pods.look()
    assert [pod.answers for pod in pods.of("canary")] == [True]
