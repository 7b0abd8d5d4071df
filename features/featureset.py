"""A feature set: the contracts, aggregates and row features of one use case, resolved once and fingerprinted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from features import aggregates as agg
from features import rows as row_features
from features.aggregates import Aggregate, FeatureError
from features.contract import Column, Contract, columns, describe
from features.fingerprint import source_of
from features.rows import REQUEST_TIME, Arrays, RowFeature

FORMAT = 1
"""Version of the feature layer itself; raised when the same declarations would give other bits."""


@dataclass(frozen=True)
class FeatureSet:
    """Everything a model's inputs are made of.

    Args:
        inputs: the model's inputs, in order: names of aggregates, request fields or row features.
        events: contract of the event stream, if there is one.
        attributes: contract of what a request carries, if it carries anything but the key.
        aggregates: over the events.
        rows: row features.

    Raises:
        FeatureError: at construction, naming the culprit: an unknown name, a cycle, a duplicate, a foreign helper.
    """

    inputs: tuple[str, ...]
    events: type[Contract] | None = None
    attributes: type[Contract] | None = None
    aggregates: tuple[Aggregate, ...] = ()
    rows: tuple[RowFeature, ...] = ()
    resolved: tuple[tuple[RowFeature, tuple[str, ...]], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.aggregates and self.events is None:
            raise FeatureError(f"aggregate {self.aggregates[0].name!r} needs events, and this feature set has none")
        clash = {a.name for a in self.aggregates} & set(self.fields)
        if clash:
            raise FeatureError(f"{min(clash)!r} is both an aggregate and a field of the request; rename one")
        given = [*(aggregate.name for aggregate in self.aggregates), *self.fields, REQUEST_TIME]
        object.__setattr__(self, "resolved", row_features.resolve(self.rows, given))
        names = {*given, *(function.__name__ for function in self.rows)}
        for position, name in enumerate(self.inputs):
            if name not in names:
                raise FeatureError(f"model input {name!r} is no feature; there are {', '.join(sorted(names))}")
            if name in self.inputs[:position]:
                raise FeatureError(f"model input {name!r} is listed twice")
            if name in self.fields and self.fields[name].kind in ("key", "id"):
                raise FeatureError(f"model input {name!r} is a {self.fields[name].kind}; it names a row")
        if not self.inputs:
            raise FeatureError("a feature set needs at least one model input")
        _ = self.fingerprint  # computed now, so that what is wrong is told at import

    @cached_property
    def timed(self) -> bool:
        """Whether any feature depends on the time of the request."""
        return REQUEST_TIME in self.inputs or any(REQUEST_TIME in parameters for _, parameters in self.resolved)

    @cached_property
    def fields(self) -> dict[str, Column]:
        """The fields a request carries, by name."""
        return {column.name: column for column in columns(self.attributes)} if self.attributes else {}

    @cached_property
    def sql(self) -> str:
        """The one SQL text of the aggregates; empty where there are no events."""
        return agg.compile_sql(self.aggregates, self.events) if self.events else ""

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of what decides the features: the SQL, the row features' trees, the contracts, the format; 64 hex."""
        parts = [f"format {FORMAT}", self.sql, f"inputs {list(self.inputs)}"]
        parts += [describe(contract) for contract in (self.events, self.attributes) if contract is not None]
        parts += sorted(f"{function.__name__}: {line}" for function in self.rows for line in source_of(function))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the matrix's columns: a category becomes one column per level, `contract=One year`."""
        return tuple(
            name if level is None else f"{name}={level}" for name in self.inputs for level in self.levels[name]
        )

    def evaluate(
        self,
        aggregates: Mapping[str, np.ndarray[Any, Any]],
        attributes: Mapping[str, np.ndarray[Any, Any]],
        request_time: np.ndarray[Any, Any],
    ) -> Arrays:
        """All features of n rows, by name.

        Args:
            aggregates: int64 or float64 arrays of n, one per aggregate, as `aggregates.convert` gives them.
            attributes: arrays of n, one per request field, as `contract.arrays` gives them.
            request_time: int64 microseconds, n.

        Raises:
            FeatureError: if a row feature does not answer with one number per row.
        """
        given = {name.name: aggregates[name.name] for name in self.aggregates}
        given |= {name: attributes[name] for name in self.fields}
        return row_features.evaluate(self.resolved, given | {REQUEST_TIME: request_time})

    def matrix(self, features: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        """The model's inputs: float64, C order, shape (n, len(columns)); a category is one-hot, missing is NaN.

        Raises:
            FeatureError: naming a feature that is infinite in some row.
        """
        matrix = np.empty((len(features[self.inputs[0]]), len(self.columns)))
        column = 0
        for name in self.inputs:
            values = features[name]
            for level in self.levels[name]:
                matrix[:, column] = values if level is None else values == level
                column += 1
        infinite = np.isinf(matrix)
        if infinite.any():
            row, column = (int(where[0]) for where in np.nonzero(infinite))
            name = self.columns[column]
            raise FeatureError(f"feature {name!r} is {matrix[row, column]} in row {row}; guard the division or the log")
        return matrix

    @cached_property
    def levels(self) -> dict[str, tuple[str | None, ...]]:
        """Of each input: what it has a column for; a number has one, for None."""
        return {
            name: self.fields[name].levels if name in self.fields and self.fields[name].kind == "category" else (None,)
            for name in self.inputs
        }
