"""How every feature is made, in words and in source."""

from __future__ import annotations

import inspect
import textwrap
from dataclasses import dataclass

from features.aggregates import Aggregate
from features.clock import DAY
from features.contract import Column
from features.featureset import FeatureSet
from features.rows import REQUEST_TIME


@dataclass(frozen=True)
class Definition:
    """A feature: its name, what it is, and of a row feature the source text."""

    name: str
    words: str
    source: str = ""


def inputs(features: FeatureSet) -> list[Definition]:
    """Of the model's inputs, in their order."""
    return [_defined(features, name) for name in features.inputs]


def others(features: FeatureSet) -> list[Definition]:
    """Of what the inputs are made of, and no input is, in the order in which it is asked for."""
    made = {function.__name__: parameters for function, parameters in features.resolved}
    waiting, found = list(features.inputs), dict.fromkeys(features.inputs)
    while waiting:
        for parameter in made.get(waiting.pop(0), ()):
            if parameter not in found:
                found[parameter] = None
                waiting.append(parameter)
    return [_defined(features, name) for name in found if name not in features.inputs]


def _defined(features: FeatureSet, name: str) -> Definition:
    if name == REQUEST_TIME:
        return Definition(name, "when the answer is wanted; in training the label time")
    for aggregate in features.aggregates:
        if aggregate.name == name:
            return Definition(name, _aggregate(aggregate))
    for function in features.rows:
        if function.__name__ == name:
            words = " ".join((inspect.getdoc(function) or "row feature").split())
            return Definition(name, words, textwrap.dedent(inspect.getsource(function)).rstrip())
    return Definition(name, _field(features.fields[name]))


def _aggregate(aggregate: Aggregate) -> str:
    of = f" of {aggregate.column}" if aggregate.column else ""
    window = f" over {aggregate.window / DAY:g} days" if aggregate.window else " over all of the past"
    where = " and ".join(f"{one.column} {one.operator} {one.value!r}" for one in aggregate.where)
    return f"{aggregate.function}{of}{window}{', where ' if where else ''}{where}"


def _field(column: Column) -> str:
    kind = {"category": f"one of {', '.join(column.levels)}", "money": "money in minor units", "flag": "yes or no"}
    low, high = ("" if bound is None else f"{bound:,}" for bound in (column.low, column.high))
    span = f", {low} to {high}" if low and high else f", at least {low}" if low else f", at most {high}" if high else ""
    missing = "; may be missing" if column.nullable else ""
    if column.blank is not None:
        missing = f"; missing means {column.blank.value!r}: {column.blank.why}"
    said = f": {column.description}" if column.description else ""
    return f"carried by the request, {kind.get(column.kind, column.kind)}{span}{missing}{said}"
