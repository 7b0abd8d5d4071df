"""A demonstration: customers who are asked about over HTTP, what is told of them, and what is waited for."""

from __future__ import annotations

import http.client
import json
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from cli.parity import requests
from cli.server import Server
from cli.workspace import Workspace
from features import clock
from features.store.base import Spine
from settings import HoldfastError
from training.dataset import frame

EVERY, ROWS = 200, 20
"""Every so many requests, one is for so many rows at once."""
CLIENTS = 4
SHARE, BOUGHT = 0.3, 0.5
"""Of those asked about in the campaign, the new ones; and of those on a contract who would have stayed, who leave."""
PATIENCE = 60.0
"""Seconds after which something that does not appear fails the demo."""


class DemoError(HoldfastError, RuntimeError):
    """What was to appear did not; the message says what, and where to look."""


@dataclass(frozen=True)
class Appeared:
    """What appeared, and how many seconds after it was caused."""

    what: str
    seconds: float
    line: str


@dataclass
class People:
    """The customers of the file: n requests as JSON, which of them the campaign brings, who is on a contract, and who
    left."""

    bodies: list[dict[str, Any]]
    new: np.ndarray[Any, Any]
    bound: np.ndarray[Any, Any]
    left: np.ndarray[Any, Any]

    @staticmethod
    def of(workspace: Workspace) -> People:
        """Everybody who is known now."""
        usecase, now = workspace.usecase, workspace.now
        spine = Spine.at(workspace.events.keys(now), now)
        inputs = frame(usecase, workspace.events, spine)
        said = inputs.attributes
        monthly = said["contract"] == "Month-to-month"
        new = monthly & (said["internet_service"] == "Fiber optic")
        left = workspace.events.records(spine)["churn"].astype(np.bool_)
        return People(list(requests(usecase, spine.key, inputs)), new, ~monthly, left)


class Demo:
    """A running server and monitor, and what is asked and seen of them.

    Attributes:
        asked: ids of the answers, and whom they are about. appeared: what did, in order.
    """

    def __init__(self, people: People, server: Server, monitor: str, log: Path) -> None:
        self.people, self.server, self.monitor, self.log = people, server, monitor, log
        self.asked: list[tuple[str, int]] = []
        self.appeared: list[Appeared] = []
        self._draw = random.Random(7)  # noqa: S311  # no secret

    def ask(self, count: int, *, campaign: bool = False) -> None:
        """So many requests, some of them for many rows."""
        everybody, new = range(len(self.people.bodies)), np.flatnonzero(self.people.new).tolist()

        def who() -> int:
            return self._draw.choice(new if campaign and self._draw.random() < SHARE else everybody)

        work = [[who() for _ in range(ROWS if n % EVERY == 0 else 1)] for n in range(count)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(self._client, [work[n::CLIENTS] for n in range(CLIENTS)]))

    @staticmethod
    def answers(count: int) -> int:
        """How many answers so many requests get."""
        return count + (ROWS - 1) * -(-count // EVERY)

    def tell(self, answers: Sequence[tuple[str, int]], *, competitor: bool = False) -> None:
        """The outcomes of those who were asked about."""
        moment, told = clock.wall(), []
        for prediction, who in answers:
            left = bool(self.people.left[who])
            left |= competitor and bool(self.people.bound[who]) and self._draw.random() < BOUGHT
            told.append({"prediction_id": prediction, "outcome": left, "observed_at": moment})
        with httpx.Client(base_url=self.server.url) as client:
            for place in range(0, len(told), 2_000):
                client.post("/v1/feedback", json={"outcomes": told[place : place + 2_000]}).raise_for_status()

    def metrics(self) -> dict[str, float]:
        """What the monitor tells Prometheus, by line."""
        found = {}
        for family in text_string_to_metric_families(httpx.get(f"{self.monitor}/metrics").text):
            for one in family.samples:
                labels = ",".join(f'{name}="{value}"' for name, value in one.labels.items())
                found[f"{one.name}{{{labels}}}" if labels else one.name] = one.value
        return found

    def until(self, what: str, look: Callable[[], str | None], since: float | None = None) -> Appeared:
        """Wait for what is to appear by itself.

        Args:
            look: gives a line about it once it is there. since: when its cause was, `time.monotonic`; None: now.

        Raises:
            DemoError: if it does not appear.
        """
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE:
            try:
                line = look()
            except httpx.TransportError:  # it is starting
                line = None
            if line is not None:
                self.appeared.append(Appeared(what, round(time.monotonic() - (since or began), 1), line))
                return self.appeared[-1]
            time.sleep(0.1)
        words = self.log.read_text(errors="replace")[-2_000:]
        raise DemoError(f"{what}: it did not appear in {PATIENCE:.0f} s; the monitor's log is {self.log}:\n{words}")

    def metric(self, name: str, least: float = 1) -> Callable[[], str | None]:
        """For `until`: the metric of that name is there, and at least so much."""

        def look() -> str | None:
            value = self.metrics().get(name, 0)
            return f"{name} {value:g}" if value >= least else None

        return look

    def _client(self, work: Sequence[Sequence[int]]) -> None:
        """One client's requests, one behind the other on one connection."""
        bodies, host = self.people.bodies, self.server.url.removeprefix("http://")
        with closing(http.client.HTTPConnection(host, timeout=30)) as connection:
            for rows in work:
                one = len(rows) == 1
                body = bodies[rows[0]] if one else {"rows": [bodies[row] for row in rows]}
                path = "/v1/predict" if one else "/v1/predict/bulk"
                connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
                answer = connection.getresponse()
                data = json.loads(answer.read())
                if answer.status != 200:
                    raise DemoError(f"{path} was answered with {answer.status}: {data}")
                answers = [data] if one else data["predictions"]
                self.asked += [(each["prediction_id"], row) for each, row in zip(answers, rows, strict=True)]
