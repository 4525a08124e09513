"""In-memory implementations of the ports to the API and to the stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from batch_core.errors import StreamError
from batch_core.job import Request, Response
from batch_core.outcomes import Outcome
from batch_core.ports import Answer, ApiClient, Failure, RecordStream


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
        self, requests: Sequence[Request], *, seconds: float, requests_per_second: float
    ) -> list[Answer]:
        self.budgets.append((seconds, requests_per_second))
        return [self._answer(request, seconds) for request in requests]

    def _answer(self, request: Request, seconds: float) -> Answer:
        if seconds <= 0:
            return Failure(Outcome.RETRY_LATER, "deadline")
        if ".." in request.path:
            return Failure(Outcome.REJECTED, "bad_path")
        self.asked.append(request)
        served = self.pages.get(request.path, Served(404))
        if request.etag is not None and request.etag == served.etag:
            return None
        if 200 <= served.status < 300:
            return Response(served.status, served.body, served.etag)
        outcome = Outcome.RETRY_LATER if served.status >= 500 else Outcome.REJECTED
        return Failure(outcome, f"http_{served.status}")


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
