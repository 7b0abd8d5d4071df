"""`holdfast features show|gc` and `holdfast migrate`: nothing that a live model needs goes, no password is shown."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import psycopg
import pytest

import usecases
from benchmarks.servers import Server
from features.aggregates import Aggregate
from features.featureset import FeatureSet
from features.store import open_online
from features.store.base import Lookup, OnlineStore
from model import store as model_store
from model.artefact import FORMAT, SEAL, Dataset, Manifest, seal
from model.registry import open_registry
from tests.cli.conftest import figures, holdfast

MODULE = '''"""{name}: do readers come back within a month?"""

from typing import Annotated

from pydantic import Field

from features.aggregates import Aggregate
from features.clock import DAY
from features.contract import Contract, Key, Money, Timestamp
from features.featureset import FeatureSet
from features.source import Relation, Source
from usecases import Absence, Costs, UseCase


class Loan(Contract):
    """A book that was lent."""

    reader: Key
    lent_at: Timestamp
    fee: Annotated[Money, Field(ge=0)]{more}


def doubled(loans):
    """Twice the loans."""
    return loans * 2


USECASE = UseCase(
    name="{name}",
    title="Do readers come back?",
    sources={{"events": Source(Loan, relation=Relation("library.loans", updated="updated_at", id="id"))}},
    features=FeatureSet(
        events=Loan,
        aggregates=(Aggregate.count("loans"), Aggregate.sum("fees", "fee", window=30 * DAY)),
        rows=(doubled,),
        inputs=("loans", "fees", "doubled"),
    ),
    label=Absence(horizon=30 * DAY, every=DAY, first=DAY),
    costs=Costs(contact=1, loss=40, rescued=0.2),
)
'''
LOANS = "reader,lent_at,fee\n1,2025-01-01T00:00:00Z,1.50\n2,2025-01-02T00:00:00Z,2\n2,2025-01-03T00:00:00Z,x\n"
SECRET = "s3cret"
_NUMBER = count()


@dataclass(frozen=True)
class Library:
    """A user's own use case, in a home of its own."""

    name: str
    home: Path
    url: str | None

    @property
    def environ(self) -> dict[str, str]:
        """The settings of its commands."""
        own = {"HOLDFAST_HOME": str(self.home), "HOLDFAST_USECASES": str(self.home), "HOLDFAST_USECASE": self.name}
        urls = {} if self.url is None else {"HOLDFAST_EVENTS_URL": self.url, "HOLDFAST_ONLINE_URL": self.url}
        return {**own, **urls, "HOLDFAST_NOW": "2025-01-10T00:00:00Z", "HOLDFAST_USER": "maria"}

    def write(self, more: str = "") -> None:
        """Its module, with more fields of an event."""
        (self.home / f"{self.name}.py").write_text(MODULE.format(name=self.name, more=more))

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """A command of it; no word of it is the password."""
        done = holdfast(*words, environ=self.environ, code=code)
        assert SECRET not in done.stdout + done.stderr
        return done

    def figures(self, *words: str) -> Any:
        """The figures of a command."""
        return figures(*words, environ=self.environ)

    def ingest(self) -> None:
        """Two loans, and one that is not accepted."""
        (self.home / "loans.csv").write_text(LOANS)
        self.run("ingest", str(self.home / "loans.csv"), "--backfill")

    def online(self, features: FeatureSet) -> OnlineStore:
        """Its online store, for other features."""
        return open_online(self.url, self.home / self.name, features, name=self.name, events_url=self.url, timeout=5)


@pytest.fixture
def files(tmp_path: Path) -> Library:
    """The library on a laptop."""
    found = Library(f"library_{next(_NUMBER)}", tmp_path, None)
    found.write()
    return found


@pytest.fixture
def served(tmp_path: Path, postgresql: Server) -> Library:
    """The library in PostgreSQL, by an address with a password, which that server does not ask for."""
    found = Library(f"library_{next(_NUMBER)}", tmp_path, postgresql.url.replace("holdfast@", f"holdfast:{SECRET}@"))
    found.write()
    return found


@pytest.fixture(params=["files", "served"])
def library(request: pytest.FixtureRequest) -> Library:
    """On each of them."""
    found: Library = request.getfixturevalue(request.param)
    return found


def test_show_tells_the_fingerprint_the_one_sql_text_and_the_inputs(files: Library) -> None:
    told = files.figures("features", "show", files.name)
    assert told["inputs"] == ["loans", "fees", "doubled"]
    shown = files.run("features", "show", files.name).stdout
    for word in (
        str(told["fingerprint"]),
        str(told["sql"]),
        "doubled",
        "Twice the loans.",
        "model inputs: loans, fees",
    ):
        assert word in shown
    files.write(more="\n    pages: int | None")
    assert files.figures("features", "show", files.name)["fingerprint"] != told["fingerprint"]
    assert f"there are cdnow, {files.name}, telco" in files.run("features", "show", "nothing", code=1).stderr


class Shelf:
    """Models of a library and their online rows, each of a fingerprint of its own."""

    def __init__(self, library: Library) -> None:
        self.library, self.fingerprints, self.tags = library, dict[str, str](), dict[str, str]()
        self.events = usecases.load(library.name, library.home).features.events
        self.registry = open_registry(None, model_store.home() / "holdfast", "maria")

    def add(self, role: str, *, model: bool = True) -> str:
        """Rows of other features, and a model of them; its tag."""
        window = len(self.fingerprints) + 1
        features = FeatureSet(events=self.events, aggregates=(Aggregate.count("n", window=window),), inputs=("n",))
        one = np.ones(1, dtype=np.int64)
        with closing(self.library.online(features)) as online, online.exclusive():
            online.migrate()
            online.materialize([(np.array(["1"]), Lookup({"n": one}, one > 0, one))], 1, 1, full=True)
        self.fingerprints[role] = features.fingerprint
        if model:
            self.tags[role] = self._stored(features.fingerprint, f"20250101-0000000{window}")
        return self.tags.get(role, "")

    def there(self) -> list[str]:
        """Fingerprints of which there are rows."""
        with closing(self.library.online(usecases.load(self.library.name, self.library.home).features)) as online:
            return online.fingerprints()

    def _stored(self, fingerprint: str, version: str) -> str:
        dataset = Dataset(id="", content="", rows={}, positives={}, label_times={})
        manifest = Manifest(
            name=self.library.name,
            version=version,
            format=FORMAT,
            algorithm="xgboost",
            created_at="2025-01-01T00:00:00Z",
            git_commit=None,
            parent=None,
            fingerprint=fingerprint,
            inputs=["n"],
            dataset=dataset,
            libraries={},
            numeric={},
            parameters={},
            metrics={},
            files={},
            content_digest=version,
        )
        assert model_store.save(manifest, lambda directory: seal(directory, manifest))
        return manifest.tag


@pytest.fixture
def shelf(library: Library) -> Iterator[Shelf]:
    """Today's rows, and models that were promoted, rolled back, served and stopped."""
    if library.url is not None:
        library.run("migrate")
    library.ingest()
    library.run("materialize")
    made = Shelf(library)
    for role in ("first", "before", "champion", "withdrawn"):
        made.registry.promote(library.name, made.add(role), why="a trial", proof="")
    made.registry.rollback(library.name, made.tags["champion"], why="worse", proof="")
    made.registry.promote(library.name, made.add("candidate"), why="a trial", proof="", alias="candidate")
    made.registry.deployed(library.name, "ready", made.add("served"), "")
    made.registry.deployed(library.name, "ready", made.tags["served"], "")  # by a second one
    made.registry.deployed(library.name, "stop", made.tags["served"], "")
    stopped = made.add("stopped")
    made.registry.deployed(library.name, "ready", stopped, "")
    made.registry.deployed(library.name, "stop", stopped, "")
    made.add("never promoted")
    made.add("no model", model=False)
    made.fingerprints["today"] = str(library.figures("features", "show", library.name)["fingerprint"])
    yield made
    for tag in made.tags.values():
        bentoml.models.delete(tag)


NEEDED = {"today", "champion", "before", "candidate", "served"}


def test_gc_drops_what_no_live_model_refers_to_and_nothing_else(shelf: Shelf) -> None:
    library, of = shelf.library, shelf.fingerprints
    needed = {of[role] for role in NEEDED}
    before = shelf.there()
    assert sorted(of.values()) == before
    dry = library.figures("features", "gc", library.name, "--dry-run")
    assert (set(dry["kept"]), set(dry["dropped"])) == (needed, set(before) - needed)
    assert shelf.there() == before
    told = library.run("features", "gc").stdout
    for role in NEEDED - {"today"}:
        assert shelf.tags[role] in told
    assert "the code of today" in told
    assert f"{len(needed)} kept, {len(before) - len(needed)} dropped" in told
    assert set(shelf.there()) == needed
    again = library.figures("features", "gc")
    assert (again["dropped"], again["dry_run"]) == ([], False)
    assert "2 rows" in library.run("materialize").stdout


@pytest.mark.parametrize("library", ["files"], indirect=True)
def test_a_live_model_that_cannot_be_read_keeps_everything(shelf: Shelf) -> None:
    before = shelf.there()
    path = model_store.path(shelf.tags["before"]) / SEAL
    path.write_text("0" * 64)
    assert SEAL in shelf.library.run("features", "gc", code=1).stderr
    assert shelf.there() == before


def test_gc_without_rows_or_without_events_has_nothing_to_do(library: Library) -> None:
    if library.url is not None:
        library.run("migrate")
    assert library.figures("features", "gc") == {"kept": [], "dropped": [], "dry_run": False}
    assert "has no online rows" in library.run("features", "gc", "telco").stdout


def test_migrate_makes_the_tables_once_and_adds_what_a_contract_gains(served: Library, postgresql: Server) -> None:
    (served.home / "loans.csv").write_text(LOANS)
    assert "run `holdfast migrate`" in served.run("ingest", str(served.home / "loans.csv"), code=1).stderr
    told = [served.figures("migrate") for _ in range(2)]
    assert told[0] == told[1]
    assert f"schema holdfast_{served.name}" in str(told[0]["events"])
    served.ingest()
    served.write(more="\n    pages: int | None")
    more = LOANS.replace("fee\n", "fee,pages\n").replace(".50\n", ".50,\n").replace("Z,2\n", "Z,2,7\n")
    (served.home / "loans.csv").write_text(more)
    assert "run `holdfast migrate`" in served.run("ingest", str(served.home / "loans.csv"), code=1).stderr
    served.run("migrate")
    assert served.figures("ingest", str(served.home / "loans.csv"), "--backfill")["new"] == 2
    with psycopg.connect(postgresql.url) as connection:
        rows = connection.execute(f"SELECT pages FROM holdfast_{served.name}.events ORDER BY 1").fetchall()
    assert rows == [(7,), (None,), (None,), (None,)]


def test_migrate_of_files_says_that_there_is_nothing_to_make(files: Library) -> None:
    told = files.figures("migrate")
    assert "files" in str(told["events"])
    assert "every input is in the request" in str(figures("migrate", "-u", "telco", environ=files.environ)["online"])


def test_a_shop_in_postgresql_is_ingested_by_its_address(served: Library, postgresql: Server) -> None:
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS library CASCADE")
        connection.execute("CREATE SCHEMA library")
        connection.execute(
            "CREATE TABLE library.loans (id int, reader text, lent_at timestamptz, fee numeric, updated_at timestamptz)"
        )
        connection.execute(
            "INSERT INTO library.loans VALUES (1, '1', '2025-01-01', 1.5, now()), (2, '2', '2025-01-02', 0.125, now())"
        )
    served.run("migrate")
    done = served.run("ingest", str(served.url), "--backfill").stdout
    assert "2 rows = 1 new + 0 known + 1 quarantined; batch 1" in done
    assert "1 x fee: '...' is no amount with at most 2 decimals" in done
    assert "nothing to commit" in served.run("ingest", str(served.url)).stdout
    waiting = served.run("quarantine", "list").stdout
    assert '"fee": "0.125"' in waiting


def test_no_command_shows_a_password(served: Library, postgresql: Server) -> None:
    told = served.run("settings").stdout
    assert "postgresql://holdfast:***@" in told
    assert "holdfast:***@" in str(served.figures("settings")["events_url"])
    away = Library(served.name, served.home, f"postgresql://u:{SECRET}@127.0.0.1:1/x")
    for words in (
        ("migrate",),
        ("features", "gc"),
        ("ingest", str(away.url)),
    ):
        stderr = away.run(*words, code=1).stderr
        assert "u:***@127.0.0.1:1/x" in stderr
        assert "Traceback" not in stderr
    path = served.home / "url"
    path.write_text(f"postgresql://u:{SECRET}@{postgresql.url.partition('@')[2]}\n")
    environ = {name: value for name, value in away.environ.items() if not name.endswith("_URL")}
    assert SECRET not in holdfast("settings", environ={**environ, "HOLDFAST_EVENTS_URL_FILE": str(path)}).stdout
