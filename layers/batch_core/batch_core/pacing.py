"""The rate of calls within one invocation.

The tenant's rate is divided over the groups that run at once (`Run.requests_per_second`), so this
is the only place where it is kept. Calls are spaced evenly: a bucket that could save up would let
all groups spend their savings in the same instant, and many APIs count per second.
"""

from __future__ import annotations

from collections.abc import Callable


class Pacer:
    """Says when the next call may start.

    Parameters
    ----------
    per_second
        Calls per second; 0 is no limit.
    clock
        Seconds, never going back.
    """

    def __init__(self, per_second: float, clock: Callable[[], float]) -> None:
        self._interval = 1 / per_second if per_second > 0 else 0.0
        self._clock = clock
        # The first waits like the others: so many calls take so many intervals, and groups of one
        # user keep the rate, too.
        self._next = clock() + self._interval

    def reserve(self, *, within: float) -> float | None:
        """Take the next place in the queue.

        Returns
        -------
        The seconds to wait for it; None, taking nothing, when that is not `within` the seconds
        left.
        """
        now = self._clock()
        start = max(now, self._next)
        if start - now >= within:
            return None
        self._next = start + self._interval
        return start - now

    def hold(self, seconds: float) -> None:
        """Start nothing for a while, because the API said that the tenant's rate is spent.

        Without a rate there is nothing to hold: the API may have meant one user only.
        """
        if self._interval:
            self._next = max(self._next, self._clock() + seconds)
