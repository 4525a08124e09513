"""Groups of users on their way through Call API and Process Users, over real HTTP.

The bucket and the stream are fakes; everything from the event of the state to the socket is what
is deployed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final, Self

from batch_core.adapters.http import CurlApiClient
from batch_core.breaker import Breakers
from batch_core.call_api import MARGIN_SECONDS, ChunkReader, call_api
from batch_core.chunks import Chunk, pack, serialise
from batch_core.job import Job, Request, Response, Row, Table, User
from batch_core.outcomes import Tally
from batch_core.process_users import process_users
from batch_core.records import decode
from batch_core.run import Run
from tests.support.fakes import FakePayloadStore
from tests.support.fakes_api import FakeStream
from tests.support.scripted_server import Exchange, answer


def request(user: User) -> Request:
    return Request(f"/users/{user['user_id']}", etag=user.get("etag"))


def process(user: User, response: Response) -> Row:
    return {"value": response.json()["value"]}


def job(request: Callable[[User], Request] = request) -> Job:
    return Job("SELECT 1", Table("t", columns=("value",)), request, process)


async def well(exchange: Exchange) -> None:
    """Answer for the user whose id ends the path, as an API does that is well."""
    name = PurePosixPath(exchange.request.target).name
    await answer(200, b'{"value": "%s"}' % name.encode(), ETag='"new"')(exchange)


@dataclass
class Batch:
    """The users of one run, listed into one chunk."""

    users: Sequence[User]
    group_size: int = 100
    run_id: str = "demo-20260131T102000Z"
    requests_per_second: float = 0.0
    first_calls: int = 20
    store: FakePayloadStore = field(default_factory=FakePayloadStore)

    def __post_init__(self) -> None:
        self.run = Run(
            id=self.run_id,
            version=1,
            fence=1,
            group_size=self.group_size,
            requests_per_second=self.requests_per_second,
            ends_at=9e9,
            first_calls=self.first_calls,
        )
        users = [serialise(user) for user in self.users]
        body, groups, stride = pack(users, self.group_size)
        etag = self.store.put(f"{self.run.prefix}/chunks/0", body, metadata={})
        self.chunk = Chunk(n=0, users=len(users), groups=groups, stride=stride, etag=etag)


def users(count: int, **columns: Any) -> list[User]:
    return [{"user_id": n, **columns} for n in range(count)]


@dataclass
class Result:
    """What became of the users of one group."""

    tally: Tally
    rows: dict[Any, Any]  # the value stored, by user
    errors: Counter[str]  # users by what went wrong for them
    late: int
    marked: set[Any]  # those whom the next runs remember as failing

    @property
    def accounted(self) -> int:
        return self.tally.queued + self.tally.settled


class Environment:
    """One execution environment of both functions.

    Parameters
    ----------
    options
        Of the HTTP client, other than the usual.
    """

    def __init__(self, url: str, *, job: Job = job(), **options: Any) -> None:  # noqa: B008 - frozen
        usual: dict[str, Any] = {
            "concurrency": 5,
            "timeout_seconds": 10.0,
            "allow_private": True,
            "secret": lambda: None,
        }
        self._api = CurlApiClient(url, **{**usual, **options})
        self._job = job
        self._parts: dict[str, Any] = {}
        self._store: FakePayloadStore | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._api.close()

    def work(self, batch: Batch, group: int = 0, *, seconds: float = 57.0) -> Result:
        """Take one group through both functions; `seconds` is the time the calls may take."""
        if self._store is not batch.store:
            self._store = batch.store
            self._parts = {"reader": ChunkReader(batch.store), "breakers": Breakers()}
        common: dict[str, Any] = {"tenant": "demo", "job": self._job, "store": batch.store}
        event = {"run": batch.run.to_json(), "chunk": batch.chunk.to_json(), "group": group}
        stream = FakeStream()
        with _failures() as errors:
            called = call_api(
                event, api=self._api, seconds=seconds + MARGIN_SECONDS, **common, **self._parts
            )
            tally = process_users({**event, **called}, stream=stream, **common)
        records = [decode(data) for _, data in stream.records]
        rows = {row[0]: row[1] for record in records for row in record.rows}
        marked = {mark.user_id for record in records for mark in record.marks if mark.failures}
        return Result(Tally.from_json(tally), rows, errors, called["late"], marked)


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.errors = Counter[str]()

    def emit(self, record: logging.LogRecord) -> None:
        failures: Sequence[Mapping[str, Any]] = getattr(record, "failures", [])
        for failure in failures:
            self.errors[failure["error"]] += failure["users"]


LOGGER: Final = logging.getLogger("express-batch")


@contextmanager
def _failures() -> Iterator[Counter[str]]:
    """Count the users that the functions log as failed, by error."""
    heard = _Heard()
    LOGGER.addHandler(heard)
    try:
        yield heard.errors
    finally:
        LOGGER.removeHandler(heard)
