"""From a request's bytes to accepted rows, or to every problem of every row.

What is right is read in one pass (`serving.quick`). Only when that refuses is the request read again by the contract,
row by row, to say what is wrong with each: so problems cost time, and answers do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from features.contract import INTEGERS, TEXT, Column, array
from serving.errors import Malformed, NotAccepted, TooLarge
from serving.numbers import Numbers
from serving.quick import Quick
from serving.rows import Rows, Values
from serving.schema import Schema, problems

MANY = 64
"""Rows from which on columns become arrays at once: the prediction log keeps those as they are, and a list value by
value."""


class Decoder:
    """Reads requests of one use case; `max_rows` is the most that one may ask for, `max_explained` to be explained."""

    def __init__(self, schema: Schema, max_rows: int, max_explained: int = 100) -> None:
        self.schema, self.max_rows, self.max_explained = schema, max_rows, max_explained
        self.key, self.names = schema.key, schema.names
        self.quick = Quick(schema.key, schema.fields)
        self.numbers = Numbers(schema.key, schema.fields)
        self.whole = tuple(field.name for field in schema.fields if field.kind in INTEGERS)

    def one(self, body: bytes) -> Rows:
        """A single prediction's row.

        Raises:
            Malformed, NotAccepted: with every problem.
        """
        try:
            keys, columns, explain = self.quick.one(body)
        except ValueError:
            return self.single(_parse(body))
        return Rows(keys, columns, explain=explain)

    def explained(self, body: bytes) -> Rows:
        """The row of a request that only asks why.

        Raises:
            Malformed, NotAccepted: with every problem.
        """
        try:
            keys, columns, explain = self.quick.explained(body)
        except ValueError:
            return self.single(_parse(body), kind=self.schema.Explain)
        return Rows(keys, columns, explain=explain)

    def many(self, body: bytes) -> Rows:
        """A bulk request's rows, those that were accepted, with the problems of the others.

        Raises:
            Malformed, NotAccepted, TooLarge: if the request as a whole is wrong, or none of its rows was accepted.
        """
        read = self.numbers.read(body)
        if read is not None:
            self._count(len(read[0]), 0)
            return Rows(*read, range(len(read[0])))
        try:
            keys, columns, explain = self.quick.many(body)
        except ValueError:
            return self.accept(*self._listed(_parse(body)))
        self._count(len(keys), explain)
        many: tuple[Values, ...] = columns
        if len(keys) >= MANY:
            many = tuple(map(_numbers, self.schema.fields, columns))
        return Rows(keys, many, range(len(keys)), explain=explain)

    def single(self, row: Any, *, kind: type[BaseModel] | None = None) -> Rows:
        """A single prediction's row, with what it asks for; read as `schema.Predict`, or else that kind.

        Raises:
            NotAccepted: with every problem.
        """
        try:
            given = (kind or self.schema.Predict).model_validate(self._counted(row)).model_dump()
        except ValidationError as error:
            raise NotAccepted("the row was not accepted", problems(error, self.schema.money)) from None
        return self._transposed([given], None, (), given["top"] if given.get("explain", True) else 0)

    def accept(self, rows: Sequence[Any], asked: Mapping[str, Any] | None = None) -> Rows:
        """The rows that the contract accepts, with the problems of the others; `asked` is what stands beside them.

        Raises:
            NotAccepted: if there is none. TooLarge: if there are too many.
        """
        try:
            wanted: Any = self.schema.Asked.model_validate(asked or {})
        except ValidationError as error:
            raise NotAccepted("the request was not accepted", problems(error, self.schema.money)) from None
        explain = wanted.top if wanted.explain else 0
        self._count(len(rows), explain)
        accepted: list[Mapping[str, Any]] = []
        places: list[int] = []
        errors: list[dict[str, Any]] = []
        for place, given in enumerate(rows):
            try:
                accepted.append(self.schema.Row.model_validate(self._counted(given)).model_dump())
                places.append(place)
            except ValidationError as error:
                errors.append({"row": place, "problems": problems(error, self.schema.money)})
        if not accepted:
            raise NotAccepted(f"none of the {len(rows)} rows was accepted", errors)
        return self._transposed(accepted, places, errors, explain)

    def _transposed(
        self,
        rows: Sequence[Mapping[str, Any]],
        places: Sequence[int] | None,
        errors: Sequence[dict[str, Any]],
        explain: int,
    ) -> Rows:
        attributes = [row["attributes"] for row in rows] if self.names else []
        columns = tuple([given[name] for given in attributes] for name in self.names)
        return Rows([row[self.key] for row in rows], columns, places, errors, explain)

    def _counted(self, row: Any) -> Any:
        """The row with whole numbers that are written as 5.0 or 5e0 as the integers that they are: JSON has one kind of
        number (RFC 8259), and its schema calls all of these integers."""
        attributes = row.get("attributes") if isinstance(row, dict) else None
        if not isinstance(attributes, dict):
            return row
        given = ((name, attributes.get(name)) for name in self.whole)
        whole = {name: int(value) for name, value in given if isinstance(value, float) and value.is_integer()}
        return {**row, "attributes": {**attributes, **whole}} if whole else row

    def _count(self, rows: int, explain: int) -> None:
        if rows == 0:
            raise NotAccepted("a bulk request asks for at least one row")
        if rows > self.max_rows:
            raise TooLarge(f"{rows} rows; one request carries at most {self.max_rows}")
        if explain and rows > self.max_explained:
            raise TooLarge(f"{rows} rows to explain; one request has at most {self.max_explained} explained")

    def _listed(self, given: Any) -> tuple[list[Any], dict[str, Any]]:
        """The rows of a bulk request that something is wrong with, and what stands beside them."""
        beside = set(self.schema.Asked.model_fields)
        if not isinstance(given, dict) or len(form := set(given) - beside) != 1 or not form <= {"rows", "columns"}:
            raise NotAccepted(
                'a bulk request is {"rows": [...]} or {"columns": {...}}, and may say `explain` and `top`'
            )
        rows = given["rows"] if "rows" in given else _by_row(given["columns"])
        if not isinstance(rows, list):
            raise NotAccepted("`rows` is a list of rows")
        return rows, {name: given[name] for name in beside if name in given}


def _numbers(field: Column, values: list[Any]) -> Values:
    """An array of what is no text."""
    return values if field.kind in TEXT else array(field, values)


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
