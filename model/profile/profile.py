"""The profile of a reference: its cells, their counts, its season, and what the model makes of each column."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.profile import former, season, tree
from model.profile.column import Column, category, choosing, number
from model.profile.counting import DECILES, Counts, Layout, length
from model.profile.schema import ProfileError, Schema, read
from model.profile.season import Season
from model.profile.values import listed, numbers, take

FORMAT = 2


@dataclass(frozen=True, eq=False)
class Profile:
    """A reference that windows are held against.

    Attributes:
        counts: as `layout` says. rows: of the reference.
        season: None where its days are not known.
        use: share of the model's mean absolute contribution by input; empty where nobody measured it.
    """

    layout: Layout
    counts: Counts
    rows: int
    season: Season | None = None
    use: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def from_frame(frame: Any, schema: Schema | type | None = None, use: Mapping[str, float] | None = None) -> Profile:
        """The profile of a reference.

        Args:
            frame: n rows: a pandas DataFrame, or a mapping of 1-d arrays by name.
            schema: what the columns are (`model.profile.schema`): kinds by name, a contract, or None, where names
                (score, decision, outcome, time) and dtypes tell.
            use: see the attribute.

        Raises:
            ProfileError: if the frame is empty or is not what the schema says.
        """
        kinds = read(frame, schema)
        columns = []
        for name, kind in kinds.items():
            role: Any = kind if kind in ("score", "decision") else "input"
            if kind in ("number", "score"):
                columns.append(number(name, role, numbers(frame[name])))
            elif kind not in ("outcome", "time"):
                columns.append(category(name, role, listed(frame[name]), kind if isinstance(kind, tuple) else ()))
        if not columns:
            raise ProfileError("no column of the frame is watched: the schema skips all of them")
        names: dict[Any, str] = {kind: name for name, kind in kinds.items() if isinstance(kind, str)}
        layout = Layout(tuple(columns), (), (), names.get("outcome"), names.get("time"))
        rows = length(frame, layout)
        if not rows:
            raise ProfileError("the frame has no rows: a reference needs some thousands")
        layout = replace(layout, pairs=_pairs(layout, frame), deciles=_deciles(layout, frame))
        counts = _counted(layout, frame, np.arange(rows))
        days = [_counted(layout, frame, where) for _, where in layout.days(frame)]
        measured = season.measure(layout, counts, np.stack(days)) if days else None
        return Profile(layout, counts, rows, measured, dict(use or {}))

    def __eq__(self, other: object) -> bool:
        return self.to_json() == other.to_json() if isinstance(other, Profile) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it holds an array

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns, in order."""
        return self.layout.columns

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Names of the columns that are counted together."""
        return tuple((self.columns[a].name, self.columns[b].name) for a, b in self.layout.pairs)

    @property
    def digest(self) -> str:
        """Of the layout: windows of the same one add up, and can be judged."""
        return self.layout.digest

    def view(self, counts: Counts) -> dict[str, Counts]:
        """Cells of each column, by name, of this vector."""
        return {column.name: self.layout.column(counts, place) for place, column in enumerate(self.columns)}

    def refer(self, counts: Counts, rows: int, blocks: NDArray[np.int64] | None = None) -> Profile:
        """The same cells with other counts as the reference: those of windows that were served.

        Args:
            blocks: counts (b, size) of its days, or of the windows that stand for days; None: no season.
        """
        measured = None if blocks is None else season.measure(self.layout, counts, blocks)
        return replace(self, counts=counts.copy(), rows=rows, season=measured)

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them."""
        own = self.layout
        return {
            "format": FORMAT,
            "rows": self.rows,
            "columns": [
                {**_fields(column), "counts": own.column(self.counts, place).tolist()}
                for place, column in enumerate(self.columns)
            ],
            "pairs": [
                {"columns": list(pair), "counts": own.pair(self.counts, place).tolist()}
                for place, pair in enumerate(self.pairs)
            ],
            "outcomes": {
                "column": own.outcome,
                "deciles": list(own.deciles),
                "counts": own.outcomes(self.counts).tolist() if own.judged else [],
            },
            "time": own.time,
            "season": None if self.season is None else {"blocks": self.season.blocks, "tau": dict(self.season.tau)},
            "use": dict(self.use),
        }

    @staticmethod
    def from_json(said: dict[str, Any]) -> Profile:
        """A profile of this or a former format.

        Raises:
            ProfileError: for a format of a later release, or what is no profile.
        """
        if "format" not in said and "score" in said:
            return Profile(*former.read(said))
        if said.get("format") != FORMAT:
            raise ProfileError(f"a profile of format {said.get('format')}: this release reads 1 to {FORMAT}")
        try:
            return _read(said)
        except (KeyError, TypeError, ValueError) as error:
            raise ProfileError(f"no profile: {type(error).__name__}: {error}") from None

    @staticmethod
    def load(path: Path | str) -> Profile:
        """The profile in a file, `profile.json` of an artefact; of one of format 1 the decisions stand beside it.

        Raises:
            ProfileError: if it is none, or cannot be read.
        """
        path = Path(path)
        try:
            said = json.loads(path.read_bytes())
            if "format" not in said and "score" in said:
                rule = json.loads(path.with_name("decision.json").read_bytes())
                return Profile(*former.read(said, (rule["negative"], rule["positive"])))
            return Profile.from_json(said)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ProfileError(f"{path}: {error}") from None


def _counted(layout: Layout, frame: Any, rows: NDArray[np.int64]) -> Counts:
    """The counts of some rows of a reference; a column whose levels some of them chose, of the others."""
    own = [column.name for column in layout.columns] + [name for name in (layout.outcome,) if name]
    counts, _, _ = layout.count(take(frame, own, rows))
    chosen = [place for place, column in enumerate(layout.columns) if column.chosen]
    if chosen:
        others, _, _ = layout.count(take(frame, own, rows[~choosing(rows)]))
        for place in chosen:
            layout.column(counts, place)[:] = layout.column(others, place)
    return counts


def _pairs(layout: Layout, frame: Any) -> tuple[tuple[int, int], ...]:
    """The tree over the inputs: answers are made of them."""
    places = [place for place, column in enumerate(layout.columns) if column.role == "input" and column.body > 1]
    rows = np.arange(min(length(frame, layout), tree.ROWS))
    head = take(frame, [layout.columns[place].name for place in places], rows)
    groups = [layout.grouped(place, head[layout.columns[place].name]) for place in places]
    return tuple((places[a], places[b]) for a, b in tree.strongest(groups))


def _deciles(layout: Layout, frame: Any) -> tuple[float, ...]:
    if layout.score is None:
        return ()
    score = numbers(frame[layout.columns[layout.score].name])
    score = score[~np.isnan(score)]
    if not len(score):
        return ()
    edges = np.quantile(score, np.linspace(0, 1, DECILES + 1)[1:-1], method="inverted_cdf")
    return tuple(np.unique(edges).tolist())


def _fields(column: Column) -> dict[str, Any]:
    """What is stored of a column: a number's bounds are infinite where there was none, which JSON has no word for."""
    own = vars(column)
    if column.kind == "category":
        return {name: own[name] for name in ("name", "kind", "role", "levels", "groups", "chosen")}
    bounds = {name: own[name] if np.isfinite(own[name]) else None for name in ("low", "high")}
    return {name: own[name] for name in ("name", "kind", "role", "edges", "groups")} | bounds


def _read(said: dict[str, Any]) -> Profile:
    columns, counts = [], []
    for one in said["columns"]:
        fields = dict(one)
        counts.append(np.array(fields.pop("counts"), np.int64))
        if fields["kind"] == "number":
            fields["low"] = -np.inf if fields["low"] is None else fields["low"]
            fields["high"] = np.inf if fields["high"] is None else fields["high"]
        lists = {key: tuple(value) for key, value in fields.items() if isinstance(value, list)}
        columns.append(Column(**{**fields, **lists}))
    place = {column.name: number for number, column in enumerate(columns)}
    pairs = tuple((place[a], place[b]) for a, b in (pair["columns"] for pair in said["pairs"]))
    outcomes = said["outcomes"]
    layout = Layout(tuple(columns), pairs, tuple(outcomes["deciles"]), outcomes["column"], said["time"])
    joint = [np.array(pair["counts"], np.int64) for pair in said["pairs"]]
    vector = np.concatenate([*counts, *joint, np.array(outcomes["counts"], np.int64).ravel()])
    if len(vector) != layout.size:
        raise ValueError(f"{len(vector)} counts where {layout.size} belong")
    measured = None if said["season"] is None else Season(**said["season"])
    return Profile(layout, vector, said["rows"], measured, said["use"])
