"""Runs in modelled time, one after the other: thousands of users against an API that is a function.

The lister, the breaker, the client's order, retries and patience, Process Users and Finish Run are
the real ones; S3, the stream and the database are the fakes. Only the sockets are modelled.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final

import pycurl
import pytest

from batch_core.adapters import http
from batch_core.adapters.http import CurlApiClient
from batch_core.breaker import Breakers
from batch_core.call_api import ChunkReader, call_api
from batch_core.finish_run import RunFinisher
from batch_core.job import Job, Request, Response, Row, Table, User
from batch_core.list_users import UserLister
from batch_core.outcomes import Tally
from batch_core.process_users import process_users
from batch_core.records import decode
from tests.support.fakes import (
    FakeDatabase,
    FakePayloadStore,
    FakeRowStore,
    FakeRunLedger,
    FakeUserSource,
)
from tests.support.fakes_api import FakeStream
from tests.support.finishing import configured as finish_settings
from tests.unit.test_list_users import configured as list_settings

PERIOD: Final = timedelta(minutes=10)
# The timeout of the function Call API, and what an invocation takes beside the calls.
INVOCATION_SECONDS: Final = 60.0
OVERHEAD_SECONDS: Final = 0.1
HANGS: Final = 1e9
WELL: Final = b'{"value": 1}'


@dataclass(frozen=True)
class Said:
    """What the API says to one call, and after how many seconds."""

    status: int = 200
    body: bytes = WELL
    seconds: float = 0.1
    headers: tuple[tuple[str, str], ...] = ()


type Api = Callable[[Any], Said]
"""What it says to a user, by the id in the path."""


class Clock:
    """The time of the simulation, which is the client's, too."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class _Transfer:
    """Stands in for the socket of one call at a time."""

    sent = 1

    def __init__(self, ask: Callable[[str], Said]) -> None:
        self._ask = ask
        self.said = Said()
        self.seconds = 0.0

    def prepare(self, call: Any, *, seconds: float, fresh: bool) -> None:
        self.said, self.seconds = self._ask(call.url), seconds

    def received(self, code: int) -> tuple[int, dict[str, str], bytes] | None:
        if code != pycurl.E_OK:
            return None
        return self.said.status, dict(self.said.headers), self.said.body


class _Lanes:
    """Does the work of a burst in modelled time."""

    clock: Clock

    def __init__(self, _multi: object, work: Iterator[tuple[int, Any]]) -> None:
        self._work = work

    def run(self, transfers: Sequence[_Transfer]) -> Iterator[tuple[int, Any]]:
        results: dict[int, Any] = {}
        waiting: list[tuple[float, int, int, Any, _Transfer, int | None]] = []
        number, clock = count(), self.clock

        def begin(transfer: _Transfer) -> None:
            for place, make in self._work:
                if go_on(place, make(transfer), transfer, None):
                    return

        def go_on(place: int, work: Any, transfer: _Transfer, code: int | None) -> bool:
            try:
                step = next(work) if code is None else work.send(code)
            except StopIteration as end:
                results[place] = end.value
                return False
            if isinstance(step, _Transfer):
                late = step.said.seconds > step.seconds
                seconds = min(step.said.seconds, step.seconds)
                after = pycurl.E_OPERATION_TIMEDOUT if late else pycurl.E_OK
            else:
                seconds, after = step, pycurl.E_OK
            heappush(waiting, (clock.now + seconds, next(number), place, work, transfer, after))
            return True

        for transfer in transfers:
            begin(transfer)
        while waiting:
            at, _, place, work, transfer, code = heappop(waiting)
            clock.now = max(clock.now, at)
            if not go_on(place, work, transfer, code):
                begin(transfer)
        yield from results.items()


def request(user: User) -> Request:
    return Request(f"/{user['user_id']}")


def process(_user: User, response: Response) -> Row:
    return {"value": response.json()["value"]}


JOB: Final = Job("SELECT 1", Table("t", columns=("value",)), request, process)


@dataclass
class Environment:
    """One execution environment of Call API."""

    client: CurlApiClient
    breakers: Breakers
    reader: ChunkReader


@dataclass
class Outcome:
    """What one run came to."""

    answer: dict[str, Any]
    listed: dict[str, Any]
    requests: int
    asked: set[str]
    served: set[Any]
    seconds: float


@dataclass
class Tenant:
    """A tenant whose runs are simulated.

    Parameters
    ----------
    users
        Ids, in the order of listing.
    api
        What the API says; may be replaced between runs.
    lanes
        Chunks at once, and groups at once in each.
    """

    users: Sequence[Any]
    api: Api
    lanes: tuple[int, int] = (1, 1)
    group_size: int = 200
    chunk_size: int = 5_000
    concurrency: int = 50
    timeout: float = 5.0
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.database = FakeDatabase()
        self.store = FakePayloadStore()
        self.ledger = FakeRunLedger(self.database)
        self.rows = FakeRowStore(self.database)
        self._requests = 0
        self._asked: set[str] = set()
        sizes = {
            "chunk_concurrency": self.lanes[0],
            "group_concurrency": self.lanes[1],
            "chunk_size": self.chunk_size,
            "users_per_invocation": self.group_size,
            "schedule_minutes": int(PERIOD.total_seconds() // 60),
        }
        source = FakeUserSource([{"user_id": u} for u in self.users], database=self.database)
        self._list = UserLister(
            settings=list_settings(**sizes | self.settings),
            query="SELECT",
            code="c0de",
            users=source,
            ledger=self.ledger,
            store=self.store,
        )

    def run(self) -> Outcome:
        """Simulate the next run of the schedule."""
        self._requests, self._asked = 0, set()
        started = self.clock.now
        at = datetime.fromtimestamp(started, UTC)
        with pytest.MonkeyPatch.context() as patch:
            draw = random.Random(self.seed + len(self.database.runs))
            patch.setattr(random, "random", draw.random)
            patch.setattr(time, "time", self.clock)
            patch.setattr(time, "monotonic", self.clock)
            patch.setattr(http, "Lanes", type("Lanes", (_Lanes,), {"clock": self.clock}))
            listed = self._list(
                {
                    "started_at": at.isoformat(),
                    "scheduled_time": at.isoformat(),
                    "execution": f"execution-{at:%s}",
                }
            )
            told = self._groups(listed)
        finish = RunFinisher(
            finish_settings(),
            self.ledger,
            lambda: self.store,
            clock=self.clock,
            sleep=lambda _: None,
        )
        answer = finish(told, remaining_seconds=60)
        ran = self.clock.now - started
        version = listed["run"]["version"]
        served = {key for key, (of, _) in self.database.table.items() if of == version}
        self.store.objects.clear()
        self.clock.now = self.database.now = started + PERIOD.total_seconds()
        return Outcome(answer, listed, self._requests, self._asked, served, ran)

    def _ask(self, url: str) -> Said:
        self._requests += 1
        name = url.rpartition("/")[2]
        self._asked.add(name)
        return self.api(name)

    def _environment(self) -> Environment:
        client = CurlApiClient(
            "https://api.example.com",
            concurrency=0,
            timeout_seconds=self.timeout,
            allow_private=False,
            secret=lambda: None,
        )
        client._transfers = [_Transfer(self._ask) for _ in range(self.concurrency)]  # type: ignore[misc]
        return Environment(client, Breakers(self.clock), ChunkReader(self.store))

    def _groups(self, listed: dict[str, Any]) -> dict[str, Any]:
        """Run the groups as the two Maps do; returns what the workflow hands to Finish Run."""
        sums = {"called": 0, "api_ms": 0, "stopped": 0}
        tally, number = Tally.from_json(listed["tally"]), count()
        late: list[dict[str, Any]] = []
        queued: dict[tuple[int, int], int] = {}
        idle: list[Environment] = []
        chunks = deque(listed["chunks"])
        slots: list[tuple[float, int, deque[tuple[dict[str, Any], int]], Any]] = []
        started = self.clock.now
        running: dict[int, int] = {}

        def begin_chunk(at: float) -> None:
            if not chunks:
                return
            chunk = chunks.popleft()
            groups = deque((chunk, group) for group in range(chunk["groups"]))
            width = min(listed["lanes"]["groups"], len(groups))
            running[chunk["n"]] = width
            for _ in range(width):
                heappush(slots, (at, next(number), groups, None))

        for _ in range(listed["lanes"]["chunks"]):
            begin_chunk(started)
        ended = started
        while slots:
            at, _, groups, environment = heappop(slots)
            if environment is not None:
                idle.append(environment)
            ended = max(ended, at)
            if not groups:
                n = next(n for n, width in running.items() if width)
                running[n] -= 1
                if not running[n]:
                    del running[n]
                    begin_chunk(at)
                continue
            chunk, group = groups.popleft()
            environment = idle.pop() if idle else self._environment()
            self.clock.now = at
            result = self._group(environment, listed["run"], chunk, group)
            for name in sums:
                sums[name] += result[name]
            tally += Tally.from_json(result)
            queued[chunk["n"], group] = result["queued"]
            if result["late"]:
                late.append({"chunk": chunk, "group": group, "at": result["late"]})
            heappush(slots, (self.clock.now, next(number), groups, environment))
        self.clock.now = ended
        wide = listed["lanes"]["chunks"]
        late.sort(key=lambda of: (of["chunk"]["n"] // wide, of["group"], of["chunk"]["n"]))
        awaited = [
            "".join(_base_36(queued[chunk["n"], group]) for group in range(chunk["groups"]))
            for chunk in listed["chunks"]
        ]
        return {
            "run": listed["run"],
            "listed": listed["listed"],
            "tally": tally.to_json(),
            "held_back": listed["held_back"],
            "late": late[:1],
            "awaited": awaited,
            "failed_groups": 0,
            "failures": [],
            **sums,
        }

    def _group(
        self, environment: Environment, run: dict[str, Any], chunk: dict[str, Any], group: int
    ) -> dict[str, int]:
        event = {"run": run, "chunk": chunk, "group": group}
        stream = FakeStream()
        called = call_api(
            event,
            tenant="demo",
            job=JOB,
            reader=environment.reader,
            store=self.store,
            api=environment.client,
            breakers=environment.breakers,
            seconds=INVOCATION_SECONDS,
            now=self.clock,
        )
        self.clock.now += OVERHEAD_SECONDS
        result = process_users(
            event | called, tenant="demo", job=JOB, store=self.store, stream=stream
        )
        self.rows.write(JOB.table, [decode(data) for _, data in stream.records])
        return result


def _base_36(rows: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return digits[rows // 36] + digits[rows % 36]
