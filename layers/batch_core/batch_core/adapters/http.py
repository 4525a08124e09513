"""The outside API, over HTTP: many calls at once within one invocation.

One set of kept-alive connections lives as long as the environment; why libcurl is in
docs/decisions/0018-libcurl.md.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from math import ceil, inf
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
# Where time is short a call may take so many times as long as any that was answered well, or this
# long, before it is given up; with fewer answers than these nobody knows how long they take.
_TIMES_THE_SLOWEST: Final = 3.0
_LEAST_PATIENCE_SECONDS: Final = 1.0
_ANSWERS_TO_KNOW: Final = 20

_UNAUTHORIZED: Final = Failure(Outcome.REJECTED, "http_401")


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
    renew
        Is told a token that the API refuses, and gives another one if there is one by now.
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
        renew: Callable[[str], str | None] = lambda _: None,
        ca_file: str | None = None,
    ) -> None:
        self._base_url = check_base_url(base_url, allow_plain=allow_private)
        self._timeout = timeout_seconds
        self._secret = secret
        self._renew = renew
        self._transfers = [
            Transfer(allow_private=allow_private, ca_file=ca_file) for _ in range(concurrency)
        ]
        self._multi = self._connections()
        self._used_at = 0.0
        self._patience = _Patience()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; environments just end, tests must not leak."""
        self._multi.close()
        for transfer in self._transfers:
            transfer.curl.close()

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
        """Make the calls, many at once, and yield each one's place and answer as they come."""
        if not requests:
            return
        # The wall clock: a frozen environment's monotonic clock may stand still.
        if time.time() - self._used_at > IDLE_SECONDS:
            self._multi.close()
            self._multi = self._connections()
            self._patience = _Patience()
        started = time.monotonic()
        burst = _Burst(
            requests,
            base_url=self._base_url,
            secret=self._secret(),
            renew=self._renew,
            timeout=self._timeout,
            deadline=started + seconds,
            fair_until=started + fair_seconds,
            patience=self._patience,
            pacer=Pacer(requests_per_second, time.monotonic),
            breaker=breaker,
            doubtful=doubtful,
        )
        work = ((place, partial(burst.answer, place)) for place in burst.places())
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
        base_url: str,
        secret: str | None,
        renew: Callable[[str], str | None],
        timeout: float,
        deadline: float,
        fair_until: float,
        patience: _Patience,
        pacer: Pacer,
        breaker: CallBreaker,
        doubtful: Collection[int],
    ) -> None:
        self._requests = requests
        self._base_url = base_url
        self._secret = secret
        self._renew = renew
        self._tokens = {secret} - {None}
        self._timeout = timeout
        self._deadline = deadline
        self._pacer = pacer
        self._breaker = breaker
        self._fair_until = fair_until
        self._patience = patience
        self._doubtful = frozenset(doubtful)
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
            call = self._prepare(place)
        except UnfitRequestError as error:
            return Failure(Outcome.REJECTED, str(error))
        self._budget.earn()
        failure = BREAKER_OPEN
        tries = 0
        while (hindrance := (yield from self._turn(again=tries > 0))) is None:
            if tries:
                meter.count("api_retries")
            if place in self._traced:
                result = yield from self._traced_attempt(call, tries, transfer)
            else:
                result = yield from self._attempt(call, tries, transfer)
            if self._is_out_of_date(call, result):
                # It was refused for the token alone, and there is a new one.
                self._breaker.withdraw()
                call = self._prepare(place)
                continue
            self._breaker.heard(result, counts=not tries and place not in self._doubtful)
            if not isinstance(result, Setback):
                return result
            failure = Failure(Outcome.RETRY_LATER, result.error)
            tries += 1
            pause = pause_before_retry(
                result,
                tries=tries,
                repeatable=call.repeatable,
                remaining=min(self._remaining(), self._fair_until - time.monotonic()),
                random=random.random,
            )
            if pause is None or not self._budget.spend():
                break
            if result.retry_after is not None:
                self._pacer.hold(pause)
            yield pause
        return LATE if hindrance == LATE else failure

    def places(self) -> Iterator[int]:
        """Choose who is asked next: those known to fail, then the others in their order.

        While it is not known whether the API answers, anybody of the others, since neighbours may
        share a fault.
        """
        doubtful = sorted(self._doubtful, reverse=True)
        others = [place for place in range(len(self._requests)) if place not in self._doubtful]
        others.reverse()
        while others or doubtful:
            if others and not self._breaker.served:
                yield others.pop(int(random.random() * len(others)))  # noqa: S311  # nosec B311
            else:
                yield (doubtful or others).pop()

    def _prepare(self, place: int) -> Call:
        return prepare(self._requests[place], base_url=self._base_url, secret=self._secret)

    def _is_out_of_date(self, call: Call, result: Answer | Setback) -> bool:
        """Whether a call was refused for a token that has been replaced since.

        While others are served the token is good, and who is refused is so on his own account.
        """
        sent = call.headers.get("Authorization", "").removeprefix("Bearer ")
        if result != _UNAUTHORIZED or self._breaker.served or sent not in self._tokens:
            return False
        if sent == self._secret:
            self._secret = self._renew(sent) or sent
            self._tokens.add(self._secret)
        return sent != self._secret

    def _turn(self, *, again: bool) -> Work[Failure | None]:
        """Wait until the call may be made; returns why it may not."""
        waited = 0.0
        while True:
            wait = self._breaker.begin(again=again)
            if wait is None:
                return BREAKER_OPEN
            if wait == 0:
                pause = self._pacer.reserve(within=self._remaining())
                if pause == 0:
                    return None
                # Who waits for the rate is not on the way.
                self._breaker.withdraw()
                if pause is None:
                    return LATE
                yield pause
                if (wait := self._breaker.begin(again=again)) == 0:
                    return None
            if wait is None:
                return BREAKER_OPEN
            if self._remaining() <= 0:
                return LATE
            # Where answers take long, looking for one all the time is paid for.
            wait = max(wait, waited / 8)
            waited += wait
            yield wait

    def _remaining(self) -> float:
        return self._deadline - time.monotonic()

    def _most(self) -> float:
        """How long the next attempt may take."""
        fair = max(self._fair_until - time.monotonic(), self._patience.seconds)
        return min(self._remaining(), self._timeout, fair)

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
            took = time.monotonic() - started
            meter.latency(took * 1000)
            result = judge(call, *received, now=datetime.now(UTC))
            if not isinstance(result, Setback | Failure):
                self._patience.enter(took)
        if isinstance(result, Setback | Failure):
            meter.count(f"api_{result.error}")
            if result.error in THROTTLED:
                meter.count("api_throttled")
        return result

    def _send(self, call: Call, transfer: Transfer, *, fresh: bool) -> Work[int]:
        meter.count("api_requests")
        transfer.prepare(call, seconds=self._most(), fresh=fresh)
        return (yield transfer)


class _Patience:
    """How long calls take that are answered well, in the bursts that follow each other."""

    def __init__(self) -> None:
        self._answers = 0
        self._slowest = 0.0

    def enter(self, seconds: float) -> None:
        self._answers += 1
        self._slowest = max(self._slowest, seconds)

    @property
    def seconds(self) -> float:
        """How long to wait for an answer where time is short."""
        if self._answers < _ANSWERS_TO_KNOW:
            return inf
        return max(_TIMES_THE_SLOWEST * self._slowest, _LEAST_PATIENCE_SECONDS)
