"""When a user that failed is asked again.

By the next run, then after ever longer breaks, and in the end once in a long while: one bad user
costs next to nothing, and recovers by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from batch_core.run import CLOCK_SKEW


class Standing(StrEnum):
    """Whether a run asks for a user."""

    DUE = "due"
    BACKING_OFF = "backing_off"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class BackOff:
    """When a user that failed is asked again.

    Parameters
    ----------
    period
        From run to run.
    quarantine_after
        Failures in a row after which a user is asked once per `quarantine` only.
    quarantine
        How long that is.
    """

    period: timedelta
    quarantine_after: int
    quarantine: timedelta

    def standing(self, *, failures: int, failed_at: int, now: int) -> Standing:
        """Judge a user.

        Who failed in the future is due: no clock that is right says so.

        Parameters
        ----------
        failures
            In a row.
        failed_at
            The version of the run in which the last one happened: milliseconds since 1970.
        now
            The moment that the run stands for that asks, likewise.
        """
        since = timedelta(milliseconds=now - failed_at)
        if since < -CLOCK_SKEW:
            return Standing.DUE
        # Half a period in hand: a run may be started by hand, or a little early.
        waited = since + self.period / 2
        if waited >= self._pause(failures):
            return Standing.DUE
        quarantined = failures >= self.quarantine_after
        return Standing.QUARANTINED if quarantined else Standing.BACKING_OFF

    def _pause(self, failures: int) -> timedelta:
        """From the last failure to the next attempt: 0, 2, 4, 8 ... periods."""
        if failures <= 1:
            return timedelta()
        if failures >= self.quarantine_after:
            return self.quarantine
        # The exponent is bounded since the result is.
        factor: int = 2 ** min(failures - 1, 20)
        return min(self.period * factor, self.quarantine)
