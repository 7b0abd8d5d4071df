"""PostgreSQL a row at a time, by psycopg: a connection, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import errors

from features.store.base import StoreError, Unreachable, address
from settings import redacted


@dataclass(frozen=True)
class Database:
    """A database (PostgreSQL 15 or later) that keeps something of ours.

    Args:
        where: the same for messages, without the password. grants: what a user must be granted to work with it.
    """

    url: str
    where: str
    grants: str

    def connect(self, application: str) -> psycopg.Connection:
        """A connection, in UTC, where each statement commits by itself."""
        try:
            psycopg.conninfo.conninfo_to_dict(address(self.url))
        except psycopg.ProgrammingError:
            raise StoreError(
                f"{redacted(self.url)} is no address: use postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
            ) from None
        connection = psycopg.connect(
            self.url,
            autocommit=True,
            application_name=application,
            connect_timeout=5,
            tcp_user_timeout=10_000,
        )
        connection.execute("SET TIME ZONE 'UTC'; SET jit = off")
        return connection

    @contextmanager
    def telling(self) -> Iterator[None]:
        """A driver's error in our words, without the password; what is wrong with a row's values stays as it is.

        Raises:
            Unreachable: if the server is away. StoreError: for any other error of it.
        """
        try:
            yield
        except errors.DataError:
            raise
        except (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName) as error:
            raise StoreError(
                f"{self.where} lacks a table or a column: run `holdfast migrate` ({self._said(error)})"
            ) from error
        except errors.InsufficientPrivilege as error:
            raise StoreError(
                f"{self.where}: {self._said(error)}: run `holdfast migrate` as a user who may, and grant {self.grants}"
            ) from error
        except psycopg.OperationalError as error:
            refused = re.search("(?:FATAL:|fe_sendauth:) *(.*)", str(error))
            if refused and not re.search("starting|shutting|terminat|not yet|too many|remaining", str(error)):
                raise StoreError(f"{redacted(self.url)} refuses the connection: {refused[1]}") from error
            raise Unreachable(f"{redacted(self.url)} is out of reach: {self._said(error)}") from error
        except psycopg.Error as error:
            raise StoreError(f"{self.where}: {self._said(error)}") from error

    def _said(self, error: Exception) -> str:
        return str(error).replace(self.url, redacted(self.url)).partition("\n")[0]
