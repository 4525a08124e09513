"""The outside API, over HTTP: many calls at once within one invocation.

One set of kept-alive connections lives as long as the environment; why libcurl is in
docs/decisions/0018-libcurl.md.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Final, Self

import pycurl

from batch_core import meter, tracing
from batch_core.adapters.http_errors import explain
from batch_core.adapters.http_lanes import Lanes
from batch_core.adapters.http_transfer import Transfer
from batch_core.api_rules import (
    UnfitRequestError,
    check_base_url,
    judge,
    prepare,
    route,
    status_of,
)
from batch_core.outcomes import Outcome
from batch_core.pacing import Pacer
from batch_core.ports import BREAKER_OPEN, LATE, Failure
from batch_core.retry import THROTTLED, RetryBudget, Setback, pause_before_retry

if TYPE_CHECKING:
    from batch_core.adapters.http_lanes import Work
    from batch_core.api_rules import Call
    from batch_core.job import Request
    from batch_core.ports import Answer, CallBreaker

# While an environment is frozen its connections die unnoticed. Invocations of one run follow each
# other in milliseconds, runs in minutes.
IDLE_SECONDS: Final = 2.0
# How often to look whether the breaker's round trip to S3 is over.
SHARE_SECONDS: Final = 0.01


class CurlApiClient:
    """Calls the API below one base URL.

    Parameters
    ----------
    base_url
        Every request stays below it; redirects are not followed.
    concurrency
        Calls in flight at once.
    timeout_seconds
        For one attempt: connection, headers and body together.
    allow_private
        Whether the API may be on a private network; http is allowed only then.
    secret
        Gives the bearer token for requests that bring no ``Authorization``, or None.
    ca_file
        The authorities to trust, in PEM; None trusts the system's.
    """

    def __init__(
        self,
        base_url: str,
        *,
        concurrency: int,
        timeout_seconds: float,
        allow_private: bool,
        secret: Callable[[], str | None],
        ca_file: str | None = None,
    ) -> None:
        self._base_url = check_base_url(base_url, allow_plain=allow_private)
        self._timeout = timeout_seconds
        self._secret = secret
        self._transfers = [
            Transfer(allow_private=allow_private, ca_file=ca_file) for _ in range(concurrency)
        ]
        self._multi = self._connections()
        self._used_at = 0.0
        # One thread: what the breaker shares with the run's other environments comes in order.
        self._thread = ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; environments just end, tests must not leak."""
        self._thread.shutdown()
        self._multi.close()
        for transfer in self._transfers:
            transfer.curl.close()

    def call(
        self,
        requests: Sequence[Request],
        *,
        seconds: float,
        requests_per_second: float,
        breaker: CallBreaker,
    ) -> Iterator[tuple[int, Answer]]:
        """Make the calls, many at once, and yield each one's place and answer as they come."""
        if not requests:
            return
        # The wall clock: a frozen environment's monotonic clock may stand still.
        if time.time() - self._used_at > IDLE_SECONDS:
            self._multi.close()
            self._multi = self._connections()
        burst = _Burst(
            requests,
            thread=self._thread,
            base_url=self._base_url,
            secret=self._secret(),
            timeout=self._timeout,
            deadline=time.monotonic() + seconds,
            pacer=Pacer(requests_per_second, time.monotonic),
            breaker=breaker,
        )
        work = (partial(burst.answer, place) for place in range(len(requests)))
        yield from Lanes(self._multi, work).run(self._transfers)
        self._used_at = time.time()

    def _connections(self) -> pycurl.CurlMulti:
        multi = pycurl.CurlMulti()
        multi.setopt(pycurl.M_MAXCONNECTS, len(self._transfers))
        return multi


class _Burst:
    """The calls of one invocation: what they share."""

    def __init__(
        self,
        requests: Sequence[Request],
        *,
        thread: ThreadPoolExecutor,
        base_url: str,
        secret: str | None,
        timeout: float,
        deadline: float,
        pacer: Pacer,
        breaker: CallBreaker,
    ) -> None:
        self._requests = requests
        self._thread = thread
        self._base_url = base_url
        self._secret = secret
        self._timeout = timeout
        self._deadline = deadline
        self._pacer = pacer
        self._breaker = breaker
        self._budget = RetryBudget()
        # The calls, by their place, that the trace tells of, and what it says for their URLs.
        self._traced = range(0)
        self._route = ""
        if tracing.is_recorded():
            paths = [request.path for request in requests]
            self._traced = range(0, len(paths), ceil(len(paths) / tracing.API_CALLS))
            self._route = base_url + route(paths)

    def answer(self, place: int, transfer: Transfer) -> Work[Answer]:
        """Make one call, retries included."""
        try:
            call = prepare(self._requests[place], base_url=self._base_url, secret=self._secret)
        except UnfitRequestError as error:
            return Failure(Outcome.REJECTED, str(error))
        self._budget.earn()
        failure = BREAKER_OPEN
        tries = 0
        while self._breaker.allows():
            wait = self._pacer.reserve(within=self._remaining())
            if wait is None:
                return LATE
            if wait:
                yield wait
                if not self._breaker.allows():
                    break
            if place in self._traced:
                result = yield from self._traced_attempt(call, tries, transfer)
            else:
                result = yield from self._attempt(call, tries, transfer)
            if self._breaker.heard(result):
                yield from self._share()
            if not isinstance(result, Setback):
                return result
            failure = Failure(Outcome.RETRY_LATER, result.error)
            tries += 1
            pause = pause_before_retry(
                result,
                tries=tries,
                repeatable=call.repeatable,
                remaining=self._remaining(),
                random=random.random,
            )
            if pause is None or not self._budget.spend():
                break
            if result.retry_after is not None:
                self._pacer.hold(pause)
            meter.count("api_retries")
            yield pause
        return failure

    def _remaining(self) -> float:
        return self._deadline - time.monotonic()

    def _share(self) -> Work[None]:
        """Let the breaker read or write S3; nobody else waits, and nobody beyond the deadline."""
        shared = self._thread.submit(self._breaker.share)
        while not shared.done() and self._remaining() > 0:
            yield SHARE_SECONDS

    def _traced_attempt(self, call: Call, tries: int, transfer: Transfer) -> Work[Answer | Setback]:
        with tracing.api_call(call.method, self._route, attempt=tries + 1) as span:
            result = yield from self._attempt(call, tries, transfer)
            error = result.error if isinstance(result, Setback | Failure) else None
            span.answered(status_of(result), error)
        return result

    def _attempt(self, call: Call, tries: int, transfer: Transfer) -> Work[Answer | Setback]:
        started = time.monotonic()
        code = yield from self._send(call, transfer, fresh=tries > 0 or not call.repeatable)
        if code == pycurl.E_ABORTED_BY_CALLBACK:
            # The API closed the kept connection, and that is no failure.
            code = yield from self._send(call, transfer, fresh=True)
        received = transfer.received(code)
        if received is None:
            late = self._remaining() <= 0
            result: Answer | Setback = explain(code, transfer, late=late)
        else:
            meter.latency((time.monotonic() - started) * 1000)
            result = judge(call, *received, now=datetime.now(UTC))
        if isinstance(result, Setback | Failure):
            meter.count(f"api_{result.error}")
            if result.error in THROTTLED:
                meter.count("api_throttled")
        return result

    def _send(self, call: Call, transfer: Transfer, *, fresh: bool) -> Work[int]:
        meter.count("api_requests")
        transfer.prepare(call, seconds=min(self._remaining(), self._timeout), fresh=fresh)
        return (yield transfer)
