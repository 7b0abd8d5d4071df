"""A studio at work: its data comes in day by day, models follow one another, and each answers and is recorded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner, Result

import usecases
from cli.main import app
from cli.workspace import Workspace
from features import clock
from features.clock import DAY
from features.etl.ingest import ingest
from model import store
from serving.call import Call
from serving.core import Core
from settings import Settings
from training.train import train

OWN = Path(__file__).parent / "usecases"
START = clock.parse("2025-01-01T00:00:00Z")
NOBODY = "nobody's"
MEMBERS = 150


@dataclass(frozen=True)
class Studio:
    """The studio under `home`."""

    home: Path

    def at(self, day: float, **changed: Any) -> Workspace:
        """Its workspace on that day."""
        now = datetime.fromisoformat(clock.rfc3339(START + int(day * DAY)))
        settings = Settings(home=self.home / "var", usecases=OWN, usecase="studio", now=now, grpc_port=0, **changed)
        return Workspace(settings, usecases.load("studio", OWN))

    def visits(self, days: Sequence[float], day: float, *, only: int = 0) -> None:
        """Ingest, as history, visits between two days, on that day; `only` shifts who came, so that they are others."""
        random = np.random.default_rng(int(1_000 * days[0]) + only)
        rows = []
        for number in range(MEMBERS):
            stays = days[0] + float(random.exponential(40 + number))
            moment = days[0] + float(random.exponential(6)) + only / 1_000
            while moment < min(days[1], stays):
                rows.append((f"m{number}", clock.rfc3339(START + int(moment * DAY)), f"{random.uniform(1, 50):.2f}"))
                moment += float(random.exponential(6))
        self._take(day, "events", "member_id,came_at,paid", rows)

    def members(self, day: float) -> None:
        """Ingest the records of all members."""
        random = np.random.default_rng(5)
        rows = [
            (
                f"m{n}",
                int(random.integers(18, 80)),
                "" if n % 7 == 0 else f"{random.uniform(10, 60):.2f}",
                "" if n % 5 == 0 else ["month", "year < 2"][n % 2],
                "" if n % 3 == 0 else repr(random.uniform(-5, 5)),
                "" if n % 4 == 0 else n,
                n % 2 == 0,
            )
            for n in range(MEMBERS)
        ]
        self._take(day, "records", "member_id,age,fee,plan,rating,since,student", rows)

    def train(self, day: float, algorithm: str = "xgboost") -> str:
        """The next champion, made of everything known, and everyone's rows; its tag."""
        workspace = self.at(day)
        made = train(
            workspace.usecase, workspace.events, as_of=workspace.now, cache=workspace.cache, algorithm=algorithm
        )
        tag = made.manifest.tag
        workspace.registry.promote("studio", tag, why="", proof="")
        workspace.materialize()
        return tag

    def answer(self, tag: str, day: float, requests: Sequence[Any], **changed: Any) -> list[Any]:
        """The model's answers that day, in the log; a list is a bulk request."""
        core = Core(self.at(day).usecase, store.path(tag), self.at(day, **changed).settings)
        assert core.loaded, core.refused

        async def all_of_them() -> list[Any]:
            told: list[Any] = []
            for number, given in enumerate(requests):
                call = Call.begin("/test", f"{tag[-8:]}-{number}")
                if isinstance(given, list):
                    rows = core.decoder.many(json.dumps({"rows": given}).encode())
                else:
                    rows = core.decoder.one(json.dumps(given).encode())
                told += (await core.predict(rows, call)).answers
            await core.close(20)
            return told

        return asyncio.run(all_of_them())

    def environ(self, day: float, **more: str) -> dict[str, str]:
        """In which commands find it, on that day."""
        now = clock.rfc3339(START + int(day * DAY))
        own = {"HOME": str(self.home / "var"), "USECASES": str(OWN), "USECASE": "studio", "NOW": now, **more}
        return {f"HOLDFAST_{name}": value for name, value in own.items()}

    def _take(self, day: float, table: str, header: str, rows: Sequence[tuple[object, ...]]) -> None:
        workspace = self.at(day)
        self.home.mkdir(exist_ok=True)
        path = self.home / f"{table}-{len(workspace.events.batches())}.csv"
        path.write_text("".join(f"{','.join(map(str, row))}\n" for row in [(header,), *rows]))
        outcome = ingest(workspace.events, table, path, now=workspace.now, backfill=True)
        assert outcome.new == len(rows), workspace.events.quarantined()[:3]


def member(number: int) -> dict[str, Any]:
    """A request about a member; some of what may be missing is, and a rating may be -0.0."""
    attributes = {
        "age": number % 80,
        "fee": None if number % 6 == 0 else number * 10,
        "plan": None if number % 5 == 0 else ["month", "year < 2"][number % 2],
        "rating": None if number % 3 == 0 else -0.0 if number % 11 == 0 else number / 41,
        "since": None if number % 4 == 0 else number,
        "student": number % 2 == 0,
    }
    return {"member_id": f"m{number}" if number < MEMBERS else NOBODY, "attributes": attributes}


def said(*words: str, environ: dict[str, str], code: int = 0) -> Result:
    """What `holdfast WORDS` says, in this process, and its exit code is that."""
    done = CliRunner().invoke(app, words, env=environ)
    told = done.output + str(done.exception or "")
    assert done.exit_code == code, told
    assert "Traceback" not in done.output
    return done


def told(*words: str, environ: dict[str, str], code: int = 0) -> Any:
    """The one object that `holdfast WORDS --json` prints."""
    return json.loads(said(*words, "--json", environ=environ, code=code).stdout)
