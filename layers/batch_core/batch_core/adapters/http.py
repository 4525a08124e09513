"""The outside API, over HTTP: many calls at once within one invocation.

One event loop, one connection pool and one TLS context live as long as the environment; why aiohttp
is in docs/decisions/0003-aiohttp.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from math import ceil
from typing import TYPE_CHECKING, Final, Self

import aiohttp
from yarl import URL

from batch_core import meter, tracing
from batch_core.adapters.http_addresses import any_socket, public_socket
from batch_core.adapters.http_errors import explain
from batch_core.api_rules import (
    Call,
    UnfitRequestError,
    check_base_url,
    judge,
    prepare,
    route,
    status_of,
)
from batch_core.limits import API_BODY_BYTES
from batch_core.outcomes import Outcome
from batch_core.pacing import Pacer
from batch_core.ports import BREAKER_OPEN, LATE, Failure
from batch_core.retry import RetryBudget, Setback, pause_before_retry

if TYPE_CHECKING:
    from ssl import SSLContext

    from batch_core.job import Request
    from batch_core.ports import Answer, CallBreaker

# A server that does not take a connection in this time will hardly answer in the rest.
CONNECT_SECONDS: Final = 3.0
# While an environment is frozen its connections die unnoticed, and a POST on a dead one cannot be
# sent again. Invocations of one run follow each other in milliseconds, runs in minutes.
IDLE_SECONDS: Final = 2.0


class AiohttpApiClient:
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
    tls
        True verifies certificates against the system's authorities.
    """

    def __init__(
        self,
        base_url: str,
        *,
        concurrency: int,
        timeout_seconds: float,
        allow_private: bool,
        secret: Callable[[], str | None],
        tls: SSLContext | bool = True,
    ) -> None:
        self._base_url = check_base_url(base_url, allow_plain=allow_private)
        self._concurrency = concurrency
        self._timeout = timeout_seconds
        self._socket = any_socket if allow_private else public_socket
        self._secret = secret
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._session: aiohttp.ClientSession | None = None
        self._used_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the pool and the loop; environments just end, tests must not leak."""
        if self._session is not None:
            self._loop.run_until_complete(self._session.close())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def call(
        self,
        requests: Sequence[Request],
        *,
        seconds: float,
        requests_per_second: float,
        breaker: CallBreaker,
    ) -> list[Answer]:
        """Make the calls, many at once, and answer each in order within `seconds`."""
        if not requests:
            return []
        return self._loop.run_until_complete(
            self._call(requests, seconds, requests_per_second, breaker)
        )

    async def _call(
        self,
        requests: Sequence[Request],
        seconds: float,
        requests_per_second: float,
        breaker: CallBreaker,
    ) -> list[Answer]:
        burst = _Burst(
            session=await self._open(),
            base_url=self._base_url,
            secret=self._secret(),
            timeout=self._timeout,
            deadline=self._loop.time() + seconds,
            pacer=Pacer(requests_per_second, self._loop.time),
            breaker=breaker,
        )
        if tracing.is_recorded():
            burst.trace([request.path for request in requests])
        answers: list[Answer] = [None] * len(requests)
        queue = iter(enumerate(requests))
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._concurrency, len(requests))):
                group.create_task(_work(burst, queue, answers))
        self._used_at = time.time()
        return answers

    async def _open(self) -> aiohttp.ClientSession:
        """Get the session, with no connection in it that may have died while nobody looked.

        One that the API closed in the meantime needs nothing done: the loop reads that before it
        starts the first worker.
        """
        # The wall clock: a frozen environment's monotonic clock may stand still.
        if self._session is not None and time.time() - self._used_at > IDLE_SECONDS:
            await self._session.close()
            self._session = None
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._concurrency,
                    keepalive_timeout=IDLE_SECONDS,
                    socket_factory=self._socket,
                    ssl=self._tls,
                ),
                # One user's cookies are nothing to the next.
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                auto_decompress=False,
                middlewares=[_count_request],
            )
        return self._session


class _Burst:
    """The calls of one invocation: what they share."""

    def __init__(
        self,
        *,
        session: aiohttp.ClientSession,
        base_url: str,
        secret: str | None,
        timeout: float,
        deadline: float,
        pacer: Pacer,
        breaker: CallBreaker,
    ) -> None:
        self._session = session
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
        self._clock = asyncio.get_running_loop().time

    def trace(self, paths: Sequence[str]) -> None:
        """Let the trace tell of some of the calls."""
        self._traced = range(0, len(paths), ceil(len(paths) / tracing.API_CALLS))
        self._route = self._base_url + route(paths)

    async def answer(self, place: int, request: Request) -> Answer:
        """Make one call, retries included."""
        try:
            call = prepare(request, base_url=self._base_url, secret=self._secret)
        except UnfitRequestError as error:
            return Failure(Outcome.REJECTED, str(error))
        self._budget.earn()
        failure = BREAKER_OPEN
        tries = 0
        while self._breaker.allows():
            wait = self._pacer.reserve(within=self._deadline - self._clock())
            if wait is None:
                return LATE
            if wait:
                await asyncio.sleep(wait)
                if not self._breaker.allows():
                    break
            if place in self._traced:
                result = await self._traced_attempt(call, tries + 1)
            else:
                result = await self._attempt(call)
            await self._tell(result)
            if not isinstance(result, Setback):
                return result
            failure = Failure(Outcome.RETRY_LATER, result.error)
            # aiohttp has sent it twice already when a kept-alive connection turned out closed.
            tries += 2 if result.error == "disconnected" and call.repeatable else 1
            pause = pause_before_retry(
                result,
                tries=tries,
                repeatable=call.repeatable,
                remaining=self._deadline - self._clock(),
                random=random.random,
            )
            if pause is None or not self._budget.spend():
                break
            if result.retry_after is not None:
                self._pacer.hold(pause)
            meter.count("api_retries")
            await asyncio.sleep(pause)
        return failure

    async def _tell(self, result: Answer | Setback) -> None:
        """Let the breaker hear of an attempt."""
        if self._breaker.heard(result):
            # It reads or writes S3, for which nobody else waits, and nobody beyond the deadline.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._deadline):
                    await asyncio.to_thread(self._breaker.share)

    async def _traced_attempt(self, call: Call, attempt: int) -> Answer | Setback:
        with tracing.api_call(call.method, self._route, attempt=attempt) as span:
            result = await self._attempt(call)
            error = result.error if isinstance(result, Setback | Failure) else None
            span.answered(status_of(result), error)
        return result

    async def _attempt(self, call: Call) -> Answer | Setback:
        started = self._clock()
        until = min(self._deadline, started + self._timeout)
        try:
            async with (
                asyncio.timeout_at(until),
                self._session.request(
                    call.method,
                    # Already quoted; quoting it again would change what the job asked for.
                    URL(call.url, encoded=True),
                    headers=call.headers,
                    data=call.body,
                    allow_redirects=False,
                ) as response,
            ):
                body = await _read(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            result: Answer | Setback = explain(error, late=until == self._deadline)
        else:
            meter.latency((self._clock() - started) * 1000)
            result = judge(call, response.status, response.headers, body, now=datetime.now(UTC))
        if isinstance(result, Setback | Failure):
            meter.count(f"api_{result.error}")
        return result


async def _work(burst: _Burst, queue: Iterator[tuple[int, Request]], answers: list[Answer]) -> None:
    for place, request in queue:
        answers[place] = await burst.answer(place, request)


async def _count_request(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    meter.count("api_requests")
    return await send(request)


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    """Read a body of at most `API_BODY_BYTES` from the wire; None when there is more."""
    if response.method != "HEAD" and (response.content_length or 0) > API_BODY_BYTES:
        response.close()
        return None
    parts: list[bytes] = []
    size = 0
    while part := await response.content.readany():
        size += len(part)
        if size > API_BODY_BYTES:
            response.close()
            return None
        parts.append(part)
    return b"".join(parts)
