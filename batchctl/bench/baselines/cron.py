"""The tuned script: asyncio, one connection pool, a thread that stores 500 rows per statement.

``python -m batchctl.bench.baselines.cron --concurrency 500``; see :mod:`batchctl.bench.place` for
its environment.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final

import aiohttp

from batchctl.bench.baselines.program import (
    Account,
    BulkUpsert,
    Values,
    call_of,
    main,
    new_version,
    read_users,
    row_of,
)
from job import JOB

if TYPE_CHECKING:
    from batch_core.job import User
    from batchctl.bench.place import Place

ROWS_PER_STATEMENT: Final = 500
_TRIES: Final = 3
_TIMEOUT_S: Final = 5


class Writer:
    """Gathers rows and stores them in a thread of its own, so that the calls go on meanwhile."""

    def __init__(self, upsert: BulkUpsert) -> None:
        self.statements = 0
        self.stored = 0
        self._upsert = upsert
        self._rows: list[Values] = []
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._writes: list[Future[None]] = []

    def add(self, row: Values) -> None:
        """Take a row; every five hundredth sends them off."""
        self._rows.append(row)
        if len(self._rows) == ROWS_PER_STATEMENT:
            self._send()

    def close(self) -> None:
        """Store the rest and wait; raises what a write raised."""
        if self._rows:
            self._send()
        self._thread.shutdown()
        for write in self._writes:
            write.result()

    def _send(self) -> None:
        rows, self._rows = self._rows, []
        self._writes.append(self._thread.submit(self._upsert, rows))
        self.statements += 1
        self.stored += len(rows)


async def call_all(
    users: Iterator[User], api_url: str, concurrency: int, writer: Writer, version: int
) -> None:
    """Call the API for all users, `concurrency` at a time."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=concurrency),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
    ) as session:

        async def work() -> None:
            # One iterator for all: a task per user would cost more than the call itself.
            for user in users:
                row = await answered(session, api_url, user, version)
                if row is not None:
                    writer.add(row)

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())


async def answered(
    session: aiohttp.ClientSession, api_url: str, user: User, version: int
) -> Values | None:
    """Call the API for one user, three times at most."""
    path, headers = call_of(user)
    for _ in range(_TRIES):
        try:
            async with session.get(api_url + path, headers=headers) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError):
            continue
        if response.status < 500:
            return row_of(user, response.status, response.headers.get("ETag"), body, version)
    return None


def run(place: Place, *, concurrency: int) -> Account:
    """Do the batch once."""
    with place.connect() as connection:
        users = read_users(connection)
        writer = Writer(BulkUpsert(connection, JOB.table))
        try:
            asyncio.run(call_all(iter(users), place.api_url, concurrency, writer, new_version()))
        finally:
            writer.close()
    return Account(len(users), writer.stored, 1 + writer.statements, connections=1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concurrency", type=int, default=500, help="calls in flight at once")
    main(partial(run, concurrency=parser.parse_args().concurrency))
