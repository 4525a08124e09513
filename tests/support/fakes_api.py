"""In-memory implementations of the ports to the API and to the stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from math import inf

from batch_core.api_rules import prepare
from batch_core.errors import StreamError
from batch_core.job import Request, Response
from batch_core.outcomes import Outcome
from batch_core.ports import (
    BREAKER_OPEN,
    LATE,
    Answer,
    ApiClient,
    CallBreaker,
    Failure,
    RecordStream,
)
from batch_core.retry import Setback


@dataclass(frozen=True)
class Served:
    """What the API says for a path."""

    status: int = 200
    body: bytes = b""
    etag: str | None = None


class FakeApi(ApiClient):
    """An API that answers at once, and knows what it was asked."""

    def __init__(self) -> None:
        self.pages: dict[str, Served] = {}
        self.asked: list[Request] = []
        self.budgets: list[tuple[float, float]] = []

    def serve(self, path: str, served: Served) -> None:
        self.pages[path] = served

    def call(
        self,
        requests: Sequence[Request],
        *,
        seconds: float,
        fair_seconds: float,
        requests_per_second: float,
        breaker: CallBreaker,
        doubtful: Collection[int] = (),
    ) -> Iterator[tuple[int, Answer]]:
        self.budgets.append((seconds, requests_per_second))
        for place, request in enumerate(requests):
            yield place, self._answer(request, seconds, breaker, counts=place not in doubtful)

    def _answer(
        self, request: Request, seconds: float, breaker: CallBreaker, *, counts: bool
    ) -> Answer:
        if ".." in request.path:
            return Failure(Outcome.REJECTED, "bad_path")
        if seconds <= 0:
            return LATE
        if breaker.begin(again=False) is None:
            return BREAKER_OPEN
        result = self._attempt(request)
        breaker.heard(result, counts=counts)
        if isinstance(result, Setback):
            return Failure(Outcome.RETRY_LATER, result.error)
        return result

    def _attempt(self, request: Request) -> Answer | Setback:
        self.asked.append(request)
        served = self.pages.get(request.path, Served(404))
        call = prepare(request, base_url="", secret=None)
        if call.headers.get("If-None-Match", "") == served.etag:
            return None
        if 200 <= served.status < 300:
            etag = f"{served.etag}#{call.fingerprint}" if served.etag else None
            return Response(served.status, served.body, etag)
        error = f"http_{served.status}"
        return Setback(error) if served.status >= 500 else Failure(Outcome.REJECTED, error)


class FakeBreaker(CallBreaker):
    """Lets so many calls through; remembers what it heard."""

    def __init__(self, *, after: float = inf, served: bool = True) -> None:
        self.served = served
        self.results: list[Answer | Setback] = []
        self.counted: list[bool] = []
        self._after = after

    def begin(self, *, again: bool) -> float | None:
        return None if len(self.results) >= self._after else 0.0

    def withdraw(self) -> None:
        pass

    def heard(self, result: Answer | Setback, *, counts: bool) -> None:
        self.results.append(result)
        self.counted.append(counts)


class FakeStream(RecordStream):
    """A stream whose records can be looked at, and which can refuse to take them."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes]] = []
        self.refusals: Counter[str] = Counter()  # how often each partition key is refused, all told

    def put(self, records: Sequence[tuple[str, bytes]]) -> None:
        refused = [record for record in records if self.refusals[record[0]] > 0]
        self.records += [record for record in records if record not in refused]
        for key, _ in refused:
            self.refusals[key] -= 1
        if refused:
            raise StreamError(f"the stream refused {len(refused)} of {len(records)} records")
