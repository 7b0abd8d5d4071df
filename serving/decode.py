"""From a request's bytes to accepted rows, or to every problem of every row.

What is right is read in one pass (`serving.quick`). Only when that refuses is the request read again by the contract,
row by row, to say what is wrong with each: so problems cost time, and answers do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from serving.errors import Malformed, NotAccepted, TooLarge
from serving.quick import Quick
from serving.rows import Rows
from serving.schema import Schema, problems


class Decoder:
    """Reads requests of one use case; `max_rows` is the most that one may ask for."""

    def __init__(self, schema: Schema, max_rows: int) -> None:
        self.schema, self.max_rows = schema, max_rows
        self.key, self.names = schema.key, schema.names
        self.quick = Quick(schema.key, schema.fields)

    def one(self, body: bytes) -> Rows:
        """A single prediction's row.

        Raises:
            Malformed, NotAccepted: with every problem.
        """
        try:
            return Rows(*self.quick.one(body))
        except ValueError:
            return self.accept([_parse(body)], single=True)

    def many(self, body: bytes) -> Rows:
        """A bulk request's rows, those that were accepted, with the problems of the others.

        Raises:
            Malformed, NotAccepted, TooLarge: if the request as a whole is wrong, or none of its rows was accepted.
        """
        try:
            keys, columns = self.quick.many(body)
        except ValueError:
            return self.accept(self._listed(_parse(body)))
        self._count(len(keys))
        return Rows(keys, columns, range(len(keys)))

    def accept(self, rows: Sequence[Any], *, single: bool = False) -> Rows:
        """The rows that the contract accepts, with the problems of the others.

        Raises:
            NotAccepted: if there is none. TooLarge: if there are too many.
        """
        if not single:
            self._count(len(rows))
        accepted: list[Mapping[str, Any]] = []
        places: list[int] = []
        errors: list[dict[str, Any]] = []
        for place, given in enumerate(rows):
            try:
                accepted.append(self.schema.Predict.model_validate(given).model_dump())
                places.append(place)
            except ValidationError as error:
                errors.append({"row": place, "problems": problems(error, self.schema.money)})
        if single and errors:
            raise NotAccepted("the row was not accepted", errors[0]["problems"])
        if not accepted:
            raise NotAccepted(f"none of the {len(rows)} rows was accepted", errors)
        return self._transposed(accepted, None if single else places, errors)

    def _transposed(
        self, rows: Sequence[Mapping[str, Any]], places: Sequence[int] | None, errors: Sequence[dict[str, Any]]
    ) -> Rows:
        attributes = [row["attributes"] for row in rows] if self.names else []
        columns = tuple([given[name] for given in attributes] for name in self.names)
        return Rows([row[self.key] for row in rows], columns, places, errors)

    def _count(self, rows: int) -> None:
        if rows == 0:
            raise NotAccepted("a bulk request asks for at least one row")
        if rows > self.max_rows:
            raise TooLarge(f"{rows} rows; one request carries at most {self.max_rows}")

    def _listed(self, given: Any) -> list[Any]:
        """The rows of a bulk request that something is wrong with."""
        if not isinstance(given, dict) or len(given) != 1 or next(iter(given)) not in ("rows", "columns"):
            raise NotAccepted('a bulk request is {"rows": [...]} or {"columns": {...}}')
        rows = given["rows"] if "rows" in given else _by_row(given["columns"])
        if not isinstance(rows, list):
            raise NotAccepted("`rows` is a list of rows")
        return rows


def _by_row(given: Any) -> list[dict[str, Any]]:
    """Columns turned into rows; a column that is missing or unknown is so in every row, and told there."""
    if not isinstance(given, dict):
        raise NotAccepted("`columns` is an object of lists")
    own = {name: values for name, values in given.items() if name != "attributes"}
    attributes = given.get("attributes", {})
    if not isinstance(attributes, dict) or not all(isinstance(v, list) for v in [*own.values(), *attributes.values()]):
        raise NotAccepted("`columns` is an object of lists, and its `attributes` too")
    lengths = {name: len(values) for name, values in {**own, **attributes}.items()}
    if not lengths:
        raise NotAccepted("`columns` holds no column: it has the key's and, under `attributes`, the contract's")
    if len(set(lengths.values())) != 1:
        raise NotAccepted(f"columns are equally long, not {lengths}")
    plain = [dict(zip(own, values, strict=True)) for values in zip(*own.values(), strict=True)]
    carried = [dict(zip(attributes, values, strict=True)) for values in zip(*attributes.values(), strict=True)]
    count = next(iter(lengths.values()))
    return [{**(plain[i] if plain else {}), **({"attributes": carried[i]} if carried else {})} for i in range(count)]


def _parse(body: bytes) -> Any:
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Malformed(f"the body is no JSON: {error}") from None
