"""Row features: plain functions over numpy arrays, named by their noun, whose parameters name their inputs.

    def avg_spend(total_spend, orders):
        return np.divide(total_spend, orders, out=np.zeros(len(orders)), where=orders > 0)

One call serves one row and a million: every input is a contiguous 1-d array of the same length n, and so is the answer.
A parameter names an aggregate, a field of the request's contract, another row feature, or `request_time`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np

from features.aggregates import FeatureError

RowFeature = Callable[..., np.ndarray[Any, Any]]
Arrays = dict[str, np.ndarray[Any, Any]]
REQUEST_TIME = "request_time"
"""Microseconds at which the answer is wanted, int64; at training the label time."""


def resolve(functions: Sequence[RowFeature], given: Iterable[str]) -> tuple[tuple[RowFeature, tuple[str, ...]], ...]:
    """The functions in an order in which each comes after its inputs, with the names of those inputs.

    Args:
        given: the names that are there before any row feature: aggregates, contract fields, `request_time`.

    Raises:
        FeatureError: for a duplicate, an unknown parameter, a parameter that is no plain name, or a cycle.
    """
    given = set(given)
    inputs: dict[str, tuple[str, ...]] = {}
    by_name: dict[str, RowFeature] = {}
    for function in functions:
        name = getattr(function, "__name__", repr(function))
        if name in inputs:
            raise FeatureError(f"row feature {name!r} is defined twice")
        if name in given:
            raise FeatureError(f"row feature {name!r} has the name of an aggregate or a contract field; rename one")
        inputs[name], by_name[name] = _parameters(function, name), function
    for name, parameters in inputs.items():
        for parameter in parameters:
            if parameter not in given and parameter not in inputs:
                raise FeatureError(
                    f"row feature {name!r} asks for {parameter!r}, which is no aggregate, contract field or row "
                    f"feature; there are {', '.join(sorted(given | set(inputs)))}"
                )
    try:
        order = TopologicalSorter({n: [p for p in ps if p in inputs] for n, ps in inputs.items()}).static_order()
        return tuple((by_name[name], inputs[name]) for name in order)
    except CycleError as error:
        raise FeatureError(f"row features ask for each other in a circle: {' <- '.join(error.args[1])}") from None


def evaluate(
    resolved: Sequence[tuple[RowFeature, tuple[str, ...]]], given: Mapping[str, np.ndarray[Any, Any]]
) -> Arrays:
    """Every given array and every row feature, by name.

    Arrays are made contiguous first: numpy may take another path, with other last bits, for strided ones. They are
    read-only: a feature that changed its input in place would change what the next one reads.

    Raises:
        FeatureError: if a function does not answer with one number per row.
    """
    known = {name: _input(values) for name, values in given.items()}
    rows = len(next(iter(known.values())))
    with np.errstate(all="ignore"):
        for function, parameters in resolved:
            values = function(*(known[name] for name in parameters))
            if not isinstance(values, np.ndarray) or values.shape != (rows,) or values.dtype.kind not in "biuf":
                raise FeatureError(
                    f"row feature {function.__name__!r} answered {type(values).__name__} of shape "
                    f"{getattr(values, 'shape', ())} for {rows} rows; it answers one number per row"
                )
            known[function.__name__] = _input(values)
    return known


def _input(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    values = np.ascontiguousarray(values).view()
    values.flags.writeable = False
    return values


def _parameters(function: RowFeature, name: str) -> tuple[str, ...]:
    if not inspect.isfunction(function) or name == "<lambda>":
        raise FeatureError(f"row feature {name} is no plain function; write it as a def")
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD or parameter.default is not parameter.empty:
            raise FeatureError(f"row feature {name!r}: parameter {str(parameter)!r} is no plain name of an input")
    return tuple(inspect.signature(function).parameters)
