"""The naive script: threads, a new HTTP connection per call, a row per INSERT.

``python -m batchctl.bench.baselines.naive``; see :mod:`batchctl.bench.place` for its environment.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from batchctl.bench.baselines.program import (
    Account,
    BulkUpsert,
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
    from batchctl.local.sql_server import Connection

THREADS: Final = 50
_TIMEOUT_S: Final = 5


class Batch:
    """One run; each thread has a connection of its own."""

    def __init__(self, place: Place) -> None:
        self.connections: list[Connection] = []
        self._place = place
        self._version = new_version()
        self._own = threading.local()
        # The API is on this machine, whatever proxy the environment names.
        self._http = build_opener(ProxyHandler({}))

    def connect(self) -> None:
        """Give this thread its connection."""
        connection = self._place.connect()
        self.connections.append(connection)
        self._own.store = BulkUpsert(connection, JOB.table)

    def do(self, user: User) -> bool:
        """Call the API for one user and store the row; tell whether there was one."""
        path, headers = call_of(user)
        request = Request(self._place.api_url + path, headers=headers)  # noqa: S310  ours
        try:
            with self._http.open(request, timeout=_TIMEOUT_S) as response:
                etag, body = response.headers.get("ETag"), response.read()
                row = row_of(user, response.status, etag, body, self._version)
        except HTTPError as error:  # a 304, too
            error.close()
            return False
        if row is None:
            return False
        self._own.store([row])
        return True


def run(place: Place) -> Account:
    """Do the batch once."""
    with place.connect() as connection:
        users = read_users(connection)
    batch = Batch(place)
    with ThreadPoolExecutor(THREADS, initializer=batch.connect) as threads:
        stored = sum(threads.map(batch.do, users))
    for connection in batch.connections:
        connection.close()
    return Account(len(users), stored, 1 + stored, 1 + len(batch.connections))


if __name__ == "__main__":
    main(run)
