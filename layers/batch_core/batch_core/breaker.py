"""When to stop asking an API that answers nobody: one breaker per run and environment.

It opens for the rest of its run and never closes; whether the API is well again is tried by the
next run, with few users. The reasons are in docs/decisions/0008-circuit-breaker.md.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from batch_core import meter
from batch_core.codec import dump_json, parse_json
from batch_core.error_classes import known
from batch_core.errors import PayloadError, PayloadMissingError
from batch_core.observability import logger
from batch_core.outcomes import Outcome
from batch_core.ports import BREAKER_OPEN, LATE, PERHAPS_SENT, Answer, Failure, PayloadStore
from batch_core.retry import RETRY_AFTER_SECONDS, THROTTLED, Setback
from batch_core.run import Run

# Of the last 40 attempts 36 must have failed. Where every second one fails, which three tries turn
# into seven users of eight served, that happens once in ten million windows; where all fail, it
# takes less than one group's first attempts to see it.
WINDOW: Final = 40
FAILED_TO_OPEN: Final = 36
# A revoked key refuses everyone, and rejecting everyone would be wrong. Ten users in a row that
# lost their access each on their own are rare, and cost them and the rest only one run.
REFUSALS_TO_OPEN: Final = 10
# How long "no other environment has given up" is believed. Long against a read of S3, short
# against the seconds that one call to a dead API can take.
FLAG_SECONDS: Final = 5.0

_REFUSED: Final = frozenset({"http_401", "http_403"})
# Said of the tenant's key, rate or network, or of the run's time; never of one user.
_TENANTS: Final = frozenset(
    {LATE.error, BREAKER_OPEN.error, PERHAPS_SENT.error, *_REFUSED, *THROTTLED}
    | {"connect", "connect_timeout", "dns", "tls", "address"}
)


def is_users_own(failure: Failure, *, breaker_opened: bool) -> bool:
    """Whether a failure says something about its user, and not about the tenant or the run.

    Parameters
    ----------
    failure
        What became of the user's call.
    breaker_opened
        Whether the breaker was open at the end of the burst: what may pass is then the API's.
    """
    if failure.error in _TENANTS:
        return False
    return not (breaker_opened and failure.outcome is Outcome.RETRY_LATER)


class BreakerFlag:
    """The object in S3 by which the environments of a run tell each other to stop.

    Without it they would find out by themselves, so S3 failing here is no more than a warning.
    """

    def __init__(self, store: PayloadStore, run: Run) -> None:
        self._store = store
        self._run = run
        self._key = f"{run.prefix}/breaker"

    def read(self) -> str | None:
        """Get the error that another environment gave up for, or None."""
        try:
            return known(str(parse_json(self._store.get(self._key))["error"]))
        except PayloadMissingError:
            return None
        except (PayloadError, ValueError, KeyError, TypeError) as error:
            logger.warning("the breaker's flag cannot be read", reason=type(error).__name__)
            return None

    def write(self, error: str) -> None:
        """Tell the others what this environment gives up for."""
        try:
            body = dump_json({"error": error})
            self._store.put(self._key, body, metadata={"run-id": self._run.id})
        except PayloadError as failed:
            logger.warning("the breaker's flag cannot be written", reason=type(failed).__name__)


class Breaker:
    """Listens to every attempt of a run's calls in this environment.

    Parameters
    ----------
    flag
        What the run's environments share.
    now
        Seconds since 1970; a frozen environment's monotonic clock may stand still.
    """

    def __init__(self, flag: BreakerFlag, now: Callable[[], float] = time.time) -> None:
        self.error: str | None = None
        """What it opened for; None while it is closed."""
        self._flag = flag
        self._now = now
        self._looked_at = float("-inf")
        self._failed: deque[bool] = deque(maxlen=WINDOW)
        self._refusals: deque[str] = deque(maxlen=REFUSALS_TO_OPEN)

    def allows(self) -> bool:
        """Whether the API may be asked."""
        return self.error is None

    def heard(self, result: Answer | Setback) -> bool:
        """Take in what one attempt came to.

        Returns
        -------
        Whether to call `share` now: this opened the breaker, or is a failure that the other
        environments may know more about.
        """
        if self.error is not None or result == LATE:
            return False
        failed, refused = _is_the_apis(result), _refusal(result)
        self._failed.append(failed)
        if refused is not None:
            self._refusals.append(refused)
        elif not isinstance(result, Setback):  # which is no answer, so no acceptance either
            self._refusals.clear()
        if self._is_enough():
            self._open(result)
            return True
        return (failed or refused is not None) and self._look_is_due()

    def share(self) -> None:
        """Tell the run's other environments, or hear from them; takes a round trip to S3."""
        if self.error is not None:
            self._flag.write(self.error)
        elif found := self._flag.read():
            logger.warning("the breaker is open elsewhere", error=found)
            self.error = found

    def pardoned(self, answer: Failure | None) -> Failure | None:
        """Clear a user whom the API refused, if it refuses everyone."""
        if self.error in _REFUSED and answer == Failure(Outcome.REJECTED, self.error):
            return Failure(Outcome.RETRY_LATER, self.error)
        return answer

    def _is_enough(self) -> bool:
        refusals = self._refusals
        return sum(self._failed) >= FAILED_TO_OPEN or (
            len(refusals) == REFUSALS_TO_OPEN and len(set(refusals)) == 1
        )

    def _open(self, last: Answer | Setback) -> None:
        assert isinstance(last, Setback | Failure), "no success opens it"
        self.error = last.error
        meter.count("breaker_opened")
        logger.error(
            "the breaker opened: the rest of the run is skipped",
            error=last.error,
            outcome=BREAKER_OPEN.outcome,
        )

    def _look_is_due(self) -> bool:
        now = self._now()
        if now - self._looked_at < FLAG_SECONDS:
            return False
        self._looked_at = now
        return True


class Breakers:
    """Gives each run its breaker; an environment works for one run at a time and keeps one."""

    def __init__(self, store: PayloadStore, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now
        self._kept: tuple[str, Breaker] | None = None

    def of(self, run: Run) -> Breaker:
        """Get the breaker of a run: the same one for all its groups."""
        if self._kept is None or self._kept[0] != run.prefix:
            self._kept = (run.prefix, Breaker(BreakerFlag(self._store, run), self._now))
        return self._kept[1]


def _is_the_apis(result: Answer | Setback) -> bool:
    """Whether it is the API's own failure; to be asked to wait a little is not."""
    if not isinstance(result, Setback):
        return False
    wait = result.retry_after
    obliged = result.error in THROTTLED and wait is not None and wait <= RETRY_AFTER_SECONDS
    return not obliged


def _refusal(result: Answer | Setback) -> str | None:
    if isinstance(result, Failure) and result.error in _REFUSED:
        return result.error
    return None
