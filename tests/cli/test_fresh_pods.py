"""Jobs as a cluster runs them: each in a process whose homes are empty, over PostgreSQL, Redis and an archive.

What one learns is in the stores or the archive, or it is gone: nothing else goes from one to the next.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from benchmarks.servers import Server
from cli.server import serve
from tests.cli.conftest import holdfast

NOW = "2025-06-01T00:00:00Z"
LATER = "2025-07-01T00:00:00Z"
SHOP = """
CREATE SCHEMA salon;
CREATE TABLE salon.visits (
    id text PRIMARY KEY, guest_id text NOT NULL, came_at timestamptz NOT NULL, paid numeric NOT NULL,
    updated_at timestamptz NOT NULL
);
SELECT setseed(0.42);
INSERT INTO salon.visits
SELECT g || '-' || n, 'g' || g, at, round((5 + 40 * random())::numeric, 2), at
FROM generate_series(1, 400) AS g
CROSS JOIN LATERAL (SELECT 5 + 25 * random() + g * 0 AS gap, 30 + 300 * random() AS stays) AS habit
CROSS JOIN LATERAL generate_series(1, 30) AS n
CROSS JOIN LATERAL (SELECT timestamptz '2024-11-01Z' + (g % 60 + n * gap + 3 * random()) * interval '1 day' AS at) AS v
WHERE n * gap < stays AND at < '2025-07-01Z';
"""


@dataclass
class Cluster:
    """What outlives a pod: two servers and an archive; and how a pod is begun."""

    database: str
    online: str
    root: Path
    begun: int = field(default=0)

    def pod(self, **more: str) -> dict[str, str]:
        """The environment of a new pod: nothing is in its homes, which are not even there."""
        self.begun += 1
        home = self.root / f"pod {self.begun}"
        own = {
            "EVENTS_URL": self.database,
            "ONLINE_URL": self.online,
            "REGISTRY_URL": self.database,
            "PREDICTIONS_URL": self.database,
            "MONITOR_URL": self.database,
            "ARCHIVE_URL": str(self.root / "archive"),
            "USECASES": str(Path(__file__).parent / "usecases"),
            "USECASE": "salon",
            "NOW": NOW,
            "HOME": str(home / "var"),
            **more,
        }
        return {"BENTOML_HOME": str(home / "bentoml"), **{f"HOLDFAST_{name}": value for name, value in own.items()}}

    def run(self, *words: str, code: int = 0, **more: str) -> Any:
        """What `holdfast WORDS --json` prints in a pod of its own."""
        return json.loads(holdfast(*words, "--json", environ=self.pod(**more), code=code).stdout)


@pytest.fixture(scope="module")
def cluster(postgresql: Server, redis: Server, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Servers with a salon's own tables; the first model is live, and everyone's rows are there."""
    with psycopg.connect(postgresql.url) as connection:
        connection.execute(SHOP)
    made = Cluster(postgresql.url, redis.url, tmp_path_factory.mktemp("cluster"))
    made.run("migrate")
    assert made.run("materialize")["rows"] == 0  # before anything was ingested: an install goes on
    assert made.run("ingest", postgresql.url, "--backfill")["new"] > 1_000
    return made


@pytest.fixture(scope="module")
def champion(cluster: Cluster) -> dict[str, Any]:
    """What the retraining says that made it."""
    words = ["retrain", "salon", "--algorithm", "logistic", "--push", "--promote"]
    found: dict[str, Any] = cluster.run(*words)
    assert found["outcome"] == "promoted", found
    assert found["pushed"].startswith(f"{found['model']}@sha256:")
    assert cluster.run("materialize", "--wait", "10")["rows"] > 300
    return found


def test_every_pod_finds_the_model_in_the_archive(cluster: Cluster, champion: dict[str, Any], tmp_path: Path) -> None:
    tag = champion["model"]
    again = cluster.run("retrain", "salon", "--push", "--promote")
    assert (again["outcome"], again["model"], again["pushed"]) == ("unchanged", tag, champion["pushed"])
    pod = cluster.pod(MODEL=tag)
    holdfast("models", "pull", champion["pushed"], environ=pod)
    with (
        serve(pod, log=tmp_path / "log") as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        told = client.post("/v1/predict", json={"guest_id": "g7", "attributes": {}}).raise_for_status().json()
        assert (told["model"], told["known"]) == (tag, True)
        for _ in range(2):  # who asks is nobody that the model was trained on
            rows = [{"guest_id": f"stranger {n}", "attributes": {}} for n in range(500)]
            assert len(client.post("/v1/predict/bulk", json={"rows": rows}).raise_for_status().json()["predictions"])
    carried = str(Path(pod["BENTOML_HOME"]) / "models")  # as an image carries it
    explained = cluster.run("explain", "g7", MODELS=carried, ARCHIVE_URL="")
    assert (explained["model"], explained["probability"]) == (tag, told["probability"])
    assert cluster.run("replay", told["request_id"])["equal"] == 1
    table = cluster.run("score", "salon", "--to", f"{cluster.database}/holdfast_salon.scores")
    assert (table["model"], table["scored"]) == (tag, 400)


def test_a_request_for_a_new_model_is_answered_in_another_pod(cluster: Cluster, champion: dict[str, Any]) -> None:
    watched = cluster.run("monitor", "run", code=10)
    assert watched["unknown"] == {}
    assert [one["alarm"] for one in watched["windows"]] == [True, True]
    cluster.run("ingest", cluster.database, NOW=LATER)
    found = cluster.run("retrain", "salon", "--when-asked", "--push", NOW=LATER)
    assert found["outcome"] == "candidate", found
    assert found["gate"]["champion"] == champion["model"]
    assert [check["check"] for check in found["gate"]["checks"]][-1] == "cost"  # the champion answered beside it
    assert cluster.run("retrain", "salon", "--when-asked", "--push", NOW=LATER)["outcome"] == "quiet"
    live = cluster.run("models", "promote", "salon@candidate", NOW=LATER)  # as a person does, on a third machine
    assert (live["outcome"], live["model"], live["champion"]) == ("promoted", found["model"], champion["model"])


def test_a_team_s_empty_database_is_not_filled_with_the_sample(cluster: Cluster) -> None:
    cluster.run("migrate", "--usecase", "telco")
    for _ in range(2):  # the first one left nothing there
        told = holdfast("retrain", "telco", environ=cluster.pod(USECASE="telco"), code=1).stderr
        assert "is not filled with the sample by itself: run `holdfast ingest FILE --backfill`" in " ".join(
            told.split()
        )
