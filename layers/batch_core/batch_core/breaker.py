"""When to go on asking an API, and when not: one breaker per run and environment.

It begins shut but for a few calls, lets everything through once one of them is answered well, and
shuts again when nearly everyone fails; then a trickle finds out whether it was the API or only
neighbours in the listing. The reasons are in docs/decisions/0024-whose-fault-an-answer-is.md.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from batch_core import meter
from batch_core.error_classes import known
from batch_core.job import Response
from batch_core.limits import JUDGED_FROM, NEARLY_EVERYONE
from batch_core.observability import logger
from batch_core.outcomes import Outcome
from batch_core.ports import BREAKER_OPEN, LATE, PERHAPS_SENT, Answer, Failure
from batch_core.retry import RETRY_AFTER_SECONDS, THROTTLED, Setback
from batch_core.run import Run

# The users it judges by. Where every second one fails, nearly all of so many fail once in ten
# million windows; where all fail, it takes less than one group to see it.
WINDOW: Final = 40
# What an API that has answered in this run may be asked in vain per group. Of neighbours of whom
# nine in ten fail, one of four picked at random is well in a third of the cases, and few are lost.
TRICKLE: Final = 4
# How long a call waits before it looks again whether it may be made.
LOOK_SECONDS: Final = 0.01

# Said of the tenant's rate or network, or of the run's time; never of one user.
_TENANTS: Final = frozenset(
    {LATE.error, BREAKER_OPEN.error, PERHAPS_SENT.error, *THROTTLED}
    | {"connect", "connect_timeout", "dns", "tls", "address"}
)


class Breaker:
    """Says of a run's calls in this environment when the next one may be made.

    Parameters
    ----------
    first
        Calls that may be made before one is answered well.
    later
        And as many more per further group.
    now
        Seconds since 1970.
    """

    def __init__(self, first: int, later: float, now: Callable[[], float] = time.time) -> None:
        self.served = False
        """Whether the API answers: it did, and not nearly everyone has failed since."""
        self.served_at = 0.0
        """When the last good answer came."""
        self._now = now
        self._left = float(first)
        self._later = later
        self._groups = 0
        self._flying = 0
        self._ever_served = False
        self._failures = 0
        self._window: deque[bool] = deque(maxlen=WINDOW)

    def begin_group(self) -> None:
        """Enter the next group of the run."""
        if self._groups and self._ever_served:
            self._left = max(self._left, TRICKLE)
        elif self._groups:
            self._left += self._later
        self._groups += 1
        self._flying = 0

    def allows(self) -> bool:
        """Whether any call may still be made."""
        return self.served or self._left >= 1 or self._flying > 0

    def begin(self, *, again: bool) -> float | None:
        """Ask to make a call, which `heard` or `withdraw` ends.

        Parameters
        ----------
        again
            Whether its user was asked before: where few calls are left, others come first.

        Returns
        -------
        0 when it may be made now, else the seconds to wait before asking again; None when there is
        nothing to wait for.
        """
        if not self.served:
            if self._left < 1 or (again and self._flying):
                return LOOK_SECONDS if self._flying else None
            self._left -= 1
        self._flying += 1
        return 0.0

    def withdraw(self) -> None:
        """Take back a call that was begun and is not made."""
        self._flying -= 1
        if not self.served:
            self._left += 1

    def heard(self, result: Answer | Setback, *, counts: bool) -> None:
        """Take in what a call came to.

        Parameters
        ----------
        counts
            Whether a failure says anything: not of a user who is known to fail, nor when asked
            again.
        """
        self._flying -= 1
        if result is None or isinstance(result, Response):
            self.served = self._ever_served = True
            self.served_at = self._now()
            self._failures = 0
            self._window.append(False)
        elif _is_obliged(result):
            # An API that says how long to wait is there.
            self._left += not self.served
        elif result != LATE and counts:
            self._failures += 1
            self._window.append(True)
            self._shut_if_need_be(result.error)

    def fails(self, *, unasked: int) -> bool:
        """Whether the API fails for everyone, seen from the end of a group.

        Parameters
        ----------
        unasked
            The users whom the breaker kept from being asked.
        """
        return not self.served and (unasked > 0 or self._failures >= JUDGED_FROM)

    def can_tell(self) -> bool:
        """Whether it is known, here or by the whole run, whose fault a failure is."""
        return self.served or self._failures >= JUDGED_FROM

    def _shut_if_need_be(self, error: str) -> None:
        if self.served and sum(self._window) >= NEARLY_EVERYONE * WINDOW:
            self.served, self._left = False, float(TRICKLE)
            self._window.clear()
        elif self.served or self._left >= 1 or self._flying:
            return
        meter.count("breaker_opened")
        logger.error(
            "the breaker opened: users are skipped until the API answers",
            error=known(error),
            outcome=BREAKER_OPEN.outcome,
        )


class Breakers:
    """Gives each run its breaker; an environment works for one run at a time and keeps one."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._kept: tuple[str, Breaker] | None = None

    def of(self, run: Run) -> Breaker:
        """Get the breaker of a run: the same one for all its groups."""
        if self._kept is None or self._kept[0] != run.prefix:
            self._kept = (run.prefix, Breaker(run.first_calls, run.later_calls, self._now))
        return self._kept[1]


def is_users_own(failure: Failure) -> bool:
    """Whether a failure may be its user's own, and is not said of the tenant or the run."""
    return failure.error not in _TENANTS


def pardoned(other: Failure | None) -> Failure | None:
    """What becomes of a user whom an API rejects that rejects everyone."""
    if other is not None and other.outcome is Outcome.REJECTED:
        return Failure(Outcome.RETRY_LATER, other.error)
    return other


def _is_obliged(result: Failure | Setback) -> bool:
    """Whether the API only asks to wait a little."""
    if not isinstance(result, Setback) or result.error not in THROTTLED:
        return False
    return result.retry_after is not None and result.retry_after <= RETRY_AFTER_SECONDS
