"""The users query, streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pymysql.cursors import SSDictCursor

from batch_core import meter, tracing
from batch_core.adapters.mysql_errors import classify
from batch_core.ports import Candidate
from batch_core.upsert import literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batch_core.adapters.mysql_connection import Connection, Database

_ROWS: Final = 1_000

# The job's query, with what the ledger knows about each of its users. Keys are numbers in some
# tables and text in others, so both sides are compared as text, exactly.
_QUERY: Final = """
SELECT listed.*, known.version AS batch_failed_at, known.failures - IF(
  known.failures > 0 AND EXISTS (
    SELECT 1 FROM batch_run AS source WHERE source.version = known.version
    AND (source.closed_at IS NULL OR source.fault IS NOT NULL)
  ), 1, 0) AS batch_failures
FROM (
{query}
) AS listed
LEFT JOIN batch_user AS known ON known.user_id =
  CAST(listed.user_id AS CHAR CHARACTER SET utf8mb4) COLLATE utf8mb4_bin
WHERE {condition} ORDER BY listed.user_id
"""


class MySqlUserSource:
    """Reads users with an unbuffered cursor, so that memory does not grow with their number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def users(self, query: str, *, start: int | str | None = None) -> Iterator[Candidate]:
        """Stream the rows of the query, ordered, from `start` on and then those before it.

        Until the last row is read, the connection is taken.

        Raises
        ------
        DatabaseError
            SchemaError when the query does not fit the tables.
        """
        if start is None:
            conditions = ["TRUE"]
        else:
            here = literal(start)
            # NULL is before everything; whoever has no id is listed, and rejected there.
            conditions = [
                f"listed.user_id >= {here}",
                f"listed.user_id < {here} OR listed.user_id IS NULL",
            ]
        plain = query.strip().removesuffix(";")
        for condition in conditions:
            yield from self._stream(_QUERY.format(query=plain, condition=condition))

    def _stream(self, query: str) -> Iterator[Candidate]:
        cursor = self._database.attempt(lambda connection: _execute(connection, query))
        complete = False
        try:
            while rows := cursor.fetchmany(_ROWS):
                for row in rows:
                    failures, failed_at = row.pop("batch_failures"), row.pop("batch_failed_at")
                    yield Candidate(row, failures or 0, failed_at or 0)
            complete = True
        except Exception as error:
            raise classify(error) from error
        finally:
            if not complete:
                # Reading the rest only to throw it away could take longer than the run has.
                cursor.connection = None  # type: ignore[assignment]  # as its close() does
                self._database.discard()


def _execute(connection: Connection, query: str) -> SSDictCursor:
    cursor = connection.cursor(SSDictCursor)
    meter.count("db_statements")
    meter.peak("db_statement_bytes_max", len(query.encode()))
    try:
        with tracing.statement(query):
            cursor.execute(query)
    except Exception as error:
        raise classify(error) from error
    return cursor
