"""The users query, streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pymysql.cursors import SSDictCursor

from batch_core import meter
from batch_core.adapters.mysql_errors import classify
from batch_core.errors import TransientDatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batch_core.adapters.mysql_connection import Database
    from batch_core.job import User

_ROWS: Final = 1_000


class MySqlUserSource:
    """Reads users with an unbuffered cursor, so that memory does not grow with their number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def users(self, query: str) -> Iterator[User]:
        """Stream the rows of the query. Until the last row is read, the connection is taken.

        Raises
        ------
        DatabaseError
            SchemaError when the query does not fit the tables.
        """
        cursor = self._start(query)
        complete = False
        try:
            while rows := cursor.fetchmany(_ROWS):
                yield from rows
            complete = True
        except Exception as error:
            raise classify(error) from error
        finally:
            if not complete:
                # Reading the rest only to throw it away could take longer than the run has.
                cursor.connection = None  # type: ignore[assignment]  # as its close() does
                self._database.discard()

    def _start(self, query: str) -> SSDictCursor:
        try:
            return self._execute(query)
        except TransientDatabaseError:
            self._database.discard()
            return self._execute(query)

    def _execute(self, query: str) -> SSDictCursor:
        cursor = self._database.connection().cursor(SSDictCursor)
        meter.count("db_statements")
        meter.peak("db_statement_bytes_max", len(query.encode()))
        try:
            cursor.execute(query)
        except Exception as error:
            raise classify(error) from error
        return cursor
