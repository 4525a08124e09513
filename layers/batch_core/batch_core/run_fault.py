"""What is wrong with a run as a whole, so that it tells nothing of its users.

A tenant's fault (an API that is down, a key that was revoked, a login page in place of answers, a
table that takes no row) looks like a fault of each user. What tells them apart is how many it hits:
a run in which nearly everyone failed marks nobody, see `ports.UserSource`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from batch_core.limits import JUDGED_FROM, NEARLY_EVERYONE
from batch_core.outcomes import Tally


class Fault(StrEnum):
    """Why a run failed as a whole; the first word of its reason, and its error in the workflow."""

    API_UNREACHABLE = "api_unreachable"  # an API that failed for everyone kept it from its users
    NOBODY_ASKED = "nobody_asked"  # though somebody was due
    NEARLY_ALL_REJECTED = "nearly_all_rejected"


@dataclass(frozen=True, slots=True)
class RunFault:
    """A fault, and what it did in words with numbers."""

    fault: Fault
    text: str

    @property
    def reason(self) -> str:
        return f"{self.fault}: {self.text}"


def fault_of(
    tally: Tally, *, admitted: int, called: int, stopped: int, failed_groups: int, tolerated: float
) -> RunFault | None:
    """Judge a run as a whole.

    Parameters
    ----------
    tally
        What became of its users.
    admitted
        The users it was to ask: listed, and not held back on purpose.
    called
        Those whose calls were made.
    stopped
        Those who lost their turn because the API failed for everyone.
    failed_groups
        Groups of which it is not known whom they asked.
    tolerated
        The percentage of users that may be left for the next run.
    """
    most = min(tolerated, 100 * NEARLY_EVERYONE)
    if stopped and stopped * 100 > admitted * most:
        return RunFault(
            Fault.API_UNREACHABLE,
            f"{stopped} of {admitted} users were not served, since the API failed for everyone "
            "it was asked about",
        )
    served = tally.stored + tally.unchanged + tally.gone
    if admitted and not called and not served and not failed_groups:
        return RunFault(
            Fault.NOBODY_ASKED, f"the API was asked about nobody, though {admitted} users were due"
        )
    settled = served + tally.rejected
    if settled >= JUDGED_FROM and tally.rejected >= settled * NEARLY_EVERYONE:
        return RunFault(
            Fault.NEARLY_ALL_REJECTED,
            f"{tally.rejected} of {settled} users who got an answer were rejected, which is no "
            "user's own fault",
        )
    return None
