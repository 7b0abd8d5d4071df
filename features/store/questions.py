"""Wide questions over stored events, as plain SQL that DuckDB, PostgreSQL and Spark answer alike."""

from __future__ import annotations

from collections.abc import Collection

from features.featureset import FeatureSet
from features.store.base import Materialized


def changed_sql(features: FeatureSet, since: Materialized, t: int) -> str:
    """SQL: sorted keys whose aggregates at t (microseconds) may differ from those materialized as `since` says.

    Visible at t is `ts < t AND ingested_at <= t`, and in a window w `ts > t - w`: so those change who have an event in
    a later batch, one that became visible after `since.as_of`, or one that has left a window by t.
    """
    s = since.as_of
    cases = [f"batch > {since.batch}", f"ts >= {s}", f"ingested_at > {s}"]
    windows = sorted({aggregate.window for aggregate in features.aggregates if aggregate.window is not None})
    cases += [f"(ts > {s - window} AND ts <= {t - window})" for window in windows]
    return (
        f"SELECT DISTINCT key FROM events WHERE ts < {t} AND ingested_at <= {t} AND ({' OR '.join(cases)}) ORDER BY key"
    )


def relevant_sql(t: int, horizon: int, tables: Collection[str] = ("events",)) -> str:
    """SQL: numbers of the batches with an event that is visible at t, or happens in [t, t + horizon), or a record that
    is visible at t; `tables` are those there are, `events` and `records`."""
    visible = {"events": f"ts < {t} AND ingested_at <= {t}", "records": f"ts <= {t} AND ingested_at <= {t}"}
    decided = {"events": f" OR (ts >= {t} AND ts < {t + horizon})", "records": ""}
    return " UNION ".join(f"SELECT batch FROM {table} WHERE ({visible[table]}){decided[table]}" for table in tables)
