"""The users query, streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pymysql.cursors import SSDictCursor

from batch_core import meter, tracing
from batch_core.adapters.mysql_errors import classify
from batch_core.adapters.mysql_types import type_of
from batch_core.errors import JobError
from batch_core.ports import Candidate
from batch_core.table_faults import without_form
from batch_core.upsert import literal

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from batch_core.adapters.mysql_connection import Connection, Database
    from batch_core.cursor import Cursor

_ROWS: Final = 1_000
_OF_BYTES: Final = {"varbinary", "blob"}

# The job's query, with what the ledger knows about each of its users. Keys are numbers in some
# tables, text or bytes in others, so both sides are compared as text, exactly. The hint has MySQL
# look each user up in `batch_user`, in the order of the key: it would hash a table that is all but
# empty, and then sort all users.
_QUERY: Final = """
SELECT /*+ NO_BNL(known) */ listed.*, known.version AS batch_failed_at, known.failures - IF(
  known.failures > 0 AND EXISTS (
    SELECT 1 FROM batch_run AS source WHERE source.version = known.version
    AND (source.closed_at IS NULL OR source.fault IS NOT NULL)
  ), 1, 0) AS batch_failures
FROM (
{query}
) AS listed
LEFT JOIN batch_user AS known ON known.user_id = {id_text} COLLATE utf8mb4_bin
WHERE {condition} ORDER BY listed.user_id
"""
_ID_TEXT: Final = "CAST(listed.user_id AS CHAR CHARACTER SET utf8mb4)"
_ID_BYTES: Final = "LOWER(HEX(listed.user_id))"


def listing(query: str, start: Cursor | None, *, of_bytes: bool = False) -> Iterator[str]:
    """Write the queries that list a job's users from `start` on, and then those before it.

    Parameters
    ----------
    of_bytes
        Whether the ids are bytes: `start` is hex text then, as everywhere but in the table.
    """
    here = None if start is None else _here(start, of_bytes=of_bytes)
    if here is None:
        conditions = ["TRUE"]
    else:
        # NULL is before everything; whoever has no id is listed, and rejected there.
        conditions = [
            f"listed.user_id >= {here}",
            f"listed.user_id < {here} OR listed.user_id IS NULL",
        ]
    plain = _plain(query)
    id_text = _ID_BYTES if of_bytes else _ID_TEXT
    for condition in conditions:
        yield _QUERY.format(query=plain, condition=condition, id_text=id_text)


def described(query: str) -> str:
    """Write the query that yields the columns of a job's users query and none of its rows."""
    return f"SELECT * FROM (\n{_plain(query)}\n) AS listed LIMIT 0"  # noqa: S608  the job's own


def _plain(query: str) -> str:
    return query.strip().removesuffix(";")


def _here(start: Cursor, *, of_bytes: bool) -> str | None:
    """Write where to begin; None if the ids have become bytes since it was noted down."""
    if not of_bytes:
        return literal(start)
    try:
        return f"X'{bytes.fromhex(str(start)).hex()}'"
    except ValueError:
        return None


class MySqlUserSource:
    """Reads users with an unbuffered cursor, so that memory does not grow with their number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def users(self, query: str, *, start: Cursor | None = None) -> Generator[Candidate]:
        """Stream the rows of the query, ordered, from `start` on and then those before it.

        Until the last row is read, the connection is taken.

        Raises
        ------
        DatabaseError
            SchemaError when the query does not fit the tables.
        JobError
            When a column has no JSON form.
        """
        first, *rest = listing(query, start)
        cursor = self._open(first)
        if _are_bytes(cursor):
            self._give_up(cursor)
            first, *rest = listing(query, start, of_bytes=True)
            cursor = self._open(first)
        yield from self._stream(cursor)
        for each in rest:
            yield from self._stream(self._open(each))

    def _open(self, query: str) -> SSDictCursor:
        return self._database.attempt(lambda connection: _execute(connection, query))

    def _stream(self, cursor: SSDictCursor) -> Iterator[Candidate]:
        complete = False
        try:
            of_bytes = _columns_of_bytes(cursor)
            while rows := cursor.fetchmany(_ROWS):
                for row in rows:
                    failures, failed_at = row.pop("batch_failures"), row.pop("batch_failed_at")
                    for name in of_bytes:
                        row[name] = None if row[name] is None else row[name].hex()
                    yield Candidate(row, failures or 0, failed_at or 0)
            complete = True
        except JobError:
            raise
        except Exception as error:
            raise classify(error) from error
        finally:
            if not complete:
                self._give_up(cursor)

    def _give_up(self, cursor: SSDictCursor) -> None:
        # Reading the rest only to throw it away could take longer than the run has.
        cursor.connection = None  # type: ignore[assignment]  # as its close() does
        self._database.discard()


def _fields(cursor: SSDictCursor) -> Iterator[tuple[str, str | None]]:
    """Each column of a result, with its type."""
    for field in cursor._result.fields:  # type: ignore[attr-defined]  # absent from the stubs
        yield field.name, type_of(field)


def _are_bytes(cursor: SSDictCursor) -> bool:
    return any(name == "user_id" and kind in _OF_BYTES for name, kind in _fields(cursor))


def _columns_of_bytes(cursor: SSDictCursor) -> list[str]:
    """Name the columns whose values become hex text.

    Raises
    ------
    JobError
        When there is one whose values become nothing that JSON has.
    """
    for name, kind in _fields(cursor):
        if kind is None:
            raise JobError(f"the job's users query {without_form(name)}")
    return [name for name, kind in _fields(cursor) if kind in _OF_BYTES]


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
