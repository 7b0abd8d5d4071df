"""`python -m benchmarks.batch`: batch scoring against a bare loop, and its memory at one and at ten million customers.

The bare loop is what one writes without a feature layer: the same features of the same aggregates in plain numpy, and
the booster's `inplace_predict`, one part after the other, nothing checked, stamped or kept. `scoring` is the function
that batch scoring hands to an event store; `whole road` adds what the loop is spared: the aggregates by SQL, and the
part as a Parquet file on disk.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import duckdb
import numpy as np
import typer

from batch.files import Directory
from batch.plan import Part, ask, divide
from batch.run import score
from batch.score import Scoring, part
from benchmarks.paired import DAYS, START, Pair, compare
from cli.console import Json, Out, table
from features.clock import DAY
from features.store.base import Batch, Lookup, Spine
from features.store.parquet import ParquetStore
from model.artefact import read_manifest
from model.estimators import Boosted
from model.scorer import Scorer
from settings import PINNED, HoldfastError
from usecases import cdnow, load

T = START + DAYS * DAY
ORDERS = 3
"""Orders of a customer."""
PART, PAIRS = 100_000, 5
SIZES = (1_000_000, 10_000_000)
ROOT = Path(__file__).parent.parent


def generated(root: Path, customers: int) -> ParquetStore:
    """A store of that many customers with three orders each, over 18 months, laid out as one committed batch."""
    directory = root / "batches" / "000001"
    directory.mkdir(parents=True)
    usecase = load("cdnow")
    rows = customers * ORDERS
    sql = (
        f"SELECT 'e' || i AS event_id, 'c' || (i // {ORDERS}) AS key, "
        f"{START} + (hash(i) % {DAYS * 86_400})::BIGINT * 1000000 AS ts, 0::BIGINT AS ingested_at, "
        "1 + (hash(i + 1) % 12)::BIGINT AS cds, 100 + (hash(i + 2) % 20000)::BIGINT AS spend, 1::BIGINT AS batch "
        f"FROM range({rows}) r(i) ORDER BY key, ts"
    )
    with duckdb.connect(config={"memory_limit": "1GiB", "temp_directory": str(root / "spill")}) as connection:
        connection.execute(f"COPY ({sql}) TO '{directory / 'rows.parquet'}' (FORMAT parquet, COMPRESSION zstd)")
    manifest = Batch(1, "events", "", "", "", "generated", (), rows, 0, f"{customers} customers", "")
    (directory / "manifest.json").write_text(json.dumps(manifest.as_dict()))
    return ParquetStore(root, usecase.features, usecase.sources)


def trained(home: Path) -> Path:
    """The artefact of a model that the `holdfast` command trained on the real data, in a home of its own."""
    environ = {"HOLDFAST_HOME": str(home / "var"), "BENTOML_HOME": str(home / "bentoml")}
    (home / "bentoml").mkdir()
    command = [str(Path(sys.executable).with_name("holdfast")), "train", "cdnow", "--json"]
    done = subprocess.run(  # noqa: S603  # our own command
        command, cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True, check=True
    )
    manifest = json.loads(done.stdout)["manifest"]
    return Path(home, "bentoml", "models", manifest["name"], manifest["version"])


class Given(ParquetStore):
    """A store that was asked for these aggregates before."""

    lookup: Lookup

    def aggregate(self, spine: Spine, *, cut: int | None = None, upto: int | None = None) -> Lookup:  # noqa: ARG002  # the one answer it has
        """The answer."""
        return self.lookup


def bare(lookup: Lookup, scorer: Scorer) -> Any:
    """The loop's body as one would write it: features, one matrix, one call of the booster, one sigmoid."""
    a, t, model = lookup.aggregates, lookup.as_of, scorer.model
    if not isinstance(model, Boosted):
        raise TypeError("the baseline is XGBoost's own call")
    avg = cdnow.avg_spend(a["total_spend"], a["orders"])
    recency = cdnow.recency_days(a["last_order_at"], t)
    tenure = cdnow.tenure_days(a["first_order_at"], t)
    own = [a[name] for name in cdnow.FEATURES.inputs[:10]]
    own += [avg, recency, tenure, cdnow.mean_gap_days(a["first_order_at"], a["last_order_at"], a["orders"])]
    own += [cdnow.recency_share(recency, tenure), cdnow.log_orders(a["orders"]), cdnow.log_recency(recency)]
    matrix = np.stack([*own, cdnow.log_spend(a["total_spend"])], axis=1)
    margin = model.booster.inplace_predict(matrix, predict_type="margin").astype(np.float64)
    return 1 / (1 + np.exp(-(scorer.calibration.slope * margin + scorer.calibration.offset)))


def speed(root: Path, artefact: Path, customers: int) -> dict[str, Pair]:
    """CPU seconds of one part: ours and the bare loop's, which gives the same probabilities."""
    store = generated(root / "few", customers)
    events = Given(store.root, store.features, store.sources)
    keys = store.keys(T)
    events.lookup = store.aggregate(Spine.at(keys, T))
    usecase, scoring, lookup = load("cdnow"), Scoring.of("cdnow", artefact), events.lookup
    scorer = scoring.load().scorer
    if not np.allclose(scoring(keys, lookup, {})["probability"], bare(lookup, scorer), rtol=1e-14, atol=0):
        raise HoldfastError("the bare loop gives other probabilities: there is nothing to compare the speed of")
    run = ask("cdnow", store, T, read_manifest(artefact), customers)
    plan, sink = divide(run, store), Directory(root / "part")

    def written() -> None:
        scores, rejected = part(usecase, events, run, scoring, keys)
        with sink.hold(run) as place:
            place.commit(plan, Part(number=0, scored=len(scores), quarantined=0, reasons=()), scores, rejected)

    def whole() -> None:
        scores, rejected = part(usecase, store, run, scoring, store.keys(T))
        with sink.hold(run) as place:
            place.commit(plan, Part(number=0, scored=len(scores), quarantined=0, reasons=()), scores, rejected)

    loop = partial(bare, lookup, scorer)
    return {
        "scoring": compare(partial(scoring, keys, lookup, {}), loop, PAIRS),
        "scoring, stamped and on disk": compare(written, loop, PAIRS),
        "whole road, with the SQL": compare(whole, loop, PAIRS),
    }


def everyone(root: Path, artefact: Path, part_rows: int) -> dict[str, float]:
    """A whole run in this process: rows, seconds, CPU seconds and peak memory in MB."""
    usecase = load("cdnow")
    store, scoring = ParquetStore(root, usecase.features, usecase.sources), Scoring.of("cdnow", artefact)
    started = time.monotonic()
    run = ask("cdnow", store, T, read_manifest(artefact), part_rows)
    outcome = score(usecase, store, Directory(root / "out"), run, scoring)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {
        "rows": outcome.rows,
        "seconds": time.monotonic() - started,
        "cpu_seconds": time.process_time(),
        "peak_mb": int(peak.split()[1]) / 1024,
    }


def main(
    customers: Annotated[list[int] | None, typer.Option(help="Sizes whose memory is compared.")] = None,
    part_rows: Annotated[int, typer.Option(help="Rows of a part.")] = PART,
    child: Annotated[Path | None, typer.Option(hidden=True)] = None,
    artefact: Annotated[Path | None, typer.Option(hidden=True)] = None,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Compare, and print ratios."""
    out = Out(as_json)
    if child is not None and artefact is not None:
        out.result(everyone(child, artefact, part_rows))
        return
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as temporary:
        root = Path(temporary)
        model = trained(root)
        speeds = speed(root, model, part_rows)
        runs = []
        for size in customers or SIZES:
            generated(root / str(size), size)
            runs.append(_apart(root / str(size), model, part_rows))
            shutil.rmtree(root / str(size))
    rows = [
        [name, f"{part_rows / pair.ours:,.0f}", f"{part_rows / pair.theirs:,.0f}", f"{pair.ratio:.2f}"]
        for name, pair in speeds.items()
    ]
    out.say(f"parts of {part_rows:,} rows, {ORDERS} orders each, {PAIRS} pairs\n")
    out.say(table(rows, ["rows per CPU second", "Holdfast", "bare loop", "ratio"]))
    least = min(run["peak_mb"] for run in runs)
    rows = [
        [
            f"{run['rows']:,.0f}",
            *(f"{run[n]:,.0f}" for n in ("seconds", "cpu_seconds", "peak_mb")),
            f"{run['peak_mb'] / least:.2f}",
        ]
        for run in runs
    ]
    out.say("\n" + table(rows, ["rows", "seconds", "CPU seconds", "peak MB", "of the least"]))
    out.result({"part_rows": part_rows, "speed": {name: asdict(pair) for name, pair in speeds.items()}, "runs": runs})


def _apart(root: Path, artefact: Path, part_rows: int) -> dict[str, float]:
    """`everyone` in a process of its own, whose peak memory is of nothing else."""
    command = [sys.executable, "-m", "benchmarks.batch", "--child", str(root), "--artefact", str(artefact), "--json"]
    done = subprocess.run(  # noqa: S603  # ourselves
        [*command, "--part-rows", str(part_rows)],
        cwd=ROOT,
        env={**os.environ, **PINNED},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    typer.run(main)
