"""Stores the same rows in two ways, in turn, and prints the rows per second of each.

``python -m batchctl.bench.writing``; see :mod:`batchctl.bench.place` for its environment. One way
is `MySqlRowStore.write`, the other statements of 500 rows by PyMySQL, whatever their length.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING, Final

from batch_core.adapters.mysql_connection import Database
from batch_core.adapters.mysql_rows import MySqlRowStore
from batch_core.records import Record
from batch_core.write_rows import batches
from batchctl.bench.baselines.cron import ROWS_PER_STATEMENT
from batchctl.bench.baselines.program import BulkUpsert, Values, new_version, read_users, row_of
from batchctl.bench.place import Place, outdate
from job import JOB
from sampleapi.activity import answer

if TYPE_CHECKING:
    from batchctl.local.sql_server import Connection

_ROWS: Final = 10_000
_ROUNDS: Final = 5
_RECORD_ROWS: Final = 100
_RUN: Final = "bench-writing"


def rows_of(connection: Connection, version: int) -> Iterator[Values]:
    """Make the rows that a run would store for the first users."""
    for user in read_users(connection)[:_ROWS]:
        etag, body = answer("bench", user["account"], 0)
        row = row_of(user, 200, etag, body, version)
        assert row is not None
        yield row


def records_of(rows: Sequence[Values], version: int) -> list[Record]:
    """Pack rows as Process Users does, a group into a record."""
    return [
        Record(
            tenant="bench",
            run_id=_RUN,
            chunk=0,
            group=n,
            version=version,
            trace_id="",
            segment_id="",
            part=0,
            columns=(JOB.table.key, *JOB.table.columns),
            rows=tuple(row[:-1] for row in part),  # the version is the record's
        )
        for n, part in enumerate(batched(rows, _RECORD_ROWS, strict=False))
    ]


def seconds(work: Callable[[], None]) -> float:
    """Do it and tell how long it took."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measure both in turn and print one line of JSON."""
    place = Place.from_environment()
    database = Database(
        host=place.host,
        port=place.port,
        name=place.database,
        login=lambda *, fresh: (place.user, place.password),  # noqa: ARG005  always the same
        ca_file=Path(place.ca_file),
    )
    store = MySqlRowStore(database)
    with place.connect() as connection:
        version = new_version()
        rows = list(rows_of(connection, version))
        records = records_of(rows, version)
        upsert = BulkUpsert(connection, JOB.table)

        def by_row_store() -> None:
            for batch in batches(records):
                assert store.write(JOB.table, batch) == []

        def by_long_statements() -> None:
            for part in batched(rows, ROWS_PER_STATEMENT, strict=False):
                upsert(part)

        found: dict[str, list[float]] = {"row_store": [], "long_statements": []}
        upsert(rows)  # so that every round updates
        for _ in range(_ROUNDS):
            for name, work in (
                ("row_store", by_row_store),
                ("long_statements", by_long_statements),
            ):
                outdate(connection)
                found[name].append(round(len(rows) / seconds(work)))
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM batch_record WHERE run_id = %s", (_RUN,))
    database.discard()
    sys.stdout.write(json.dumps({"rows": len(rows), **found}) + "\n")


if __name__ == "__main__":
    main()
