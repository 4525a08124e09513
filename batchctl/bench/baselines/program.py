"""What the two scripts share: the users, the call, the guarded upsert, the line they print."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pymysql.cursors import DictCursor

from batch_core.job import RejectError, Response, Table, User
from batch_core.upsert import Upsert
from batchctl.bench.place import Place
from job import JOB

if TYPE_CHECKING:
    from batchctl.local.sql_server import Connection

type Values = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """What a script did."""

    users: int
    stored: int
    statements: int
    connections: int


def main(work: Callable[[Place], Account]) -> None:
    """Do the work and print one line of JSON about it; status 1 when a user got no row."""
    started = time.perf_counter()
    account = work(Place.from_environment())
    wall_s = time.perf_counter() - started
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu_s = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    line = {"wall_s": round(wall_s, 3), "cpu_s": round(cpu_s, 3), **asdict(account)}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.exit(account.stored != account.users)


def read_users(connection: Connection) -> Sequence[User]:
    """Run the job's users query."""
    with connection.cursor(DictCursor) as cursor:
        cursor.execute(JOB.users)
        return list(cursor.fetchall())


def call_of(user: User) -> tuple[str, dict[str, str]]:
    """Return the path and the headers of a user's request."""
    request = JOB.request(user)
    conditional = {"If-None-Match": request.etag} if request.etag else {}
    return request.path, {**request.headers, **conditional}


def row_of(user: User, status: int, etag: str | None, body: bytes, version: int) -> Values | None:
    """Turn an answer into the values to store, in the order of :func:`columns`; None without."""
    if status != 200:
        return None
    try:
        row = JOB.process(user, Response(status, body, etag))
    except RejectError:
        return None
    if row is None:
        return None
    return (user["user_id"], *map(row.get, JOB.table.columns), version)


class BulkUpsert:
    """Guarded upserts through PyMySQL, as many rows to a statement as one likes."""

    def __init__(self, connection: Connection, table: Table) -> None:
        self._connection = connection
        # The project's own text: PyMySQL's escaping takes six times as long, and what is compared
        # is how the rows travel.
        self._upsert = Upsert.guarded(table, (table.key, *table.columns))

    def __call__(self, rows: Sequence[Values]) -> None:
        """Store rows in one statement, which commits itself."""
        self._connection.query(self._upsert.statement([self._upsert.row(row) for row in rows]))


def new_version() -> int:
    """The version of this run's rows, as a scheduled run has it: milliseconds since 1970."""
    return int(time.time() * 1000)
