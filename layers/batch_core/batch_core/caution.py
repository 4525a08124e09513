"""How many calls a run may make in vain, and how its groups share them.

An API that is down must not get every user of the tenant, least of all from all environments at
once. Until the first good answer an environment makes few calls; all together are bounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

from batch_core.limits import CALLS_IN_VAIN, SHARE_IN_VAIN


@dataclass(frozen=True, slots=True)
class Caution:
    """What an environment may ask before it is answered well.

    Parameters
    ----------
    first
        Calls in its first group.
    later
        Calls in each group after that; a fraction adds up over groups.
    """

    first: int
    later: float


def calls_in_vain(users: int) -> int:
    """How many calls a run that asks so many users may make of an API that is down."""
    return max(CALLS_IN_VAIN, floor(users * SHARE_IN_VAIN))


def caution_of(users: int, *, groups: int, at_once: int) -> Caution:
    """Share out what may be called in vain.

    Parameters
    ----------
    users, groups
        Of the run.
    at_once
        Groups at once, and so environments; no more than `calls_in_vain`.

    Returns
    -------
    Such that ``first`` for each environment and ``later`` for each group stay below
    `calls_in_vain`. A further group needs one call, to find out that the neighbours of the one
    before were at fault and not the API, and a fifth of the calls is kept for that at most.
    """
    most, environments = calls_in_vain(users), max(min(at_once, groups), 1)
    first = max((most - min(groups, most // 5)) // environments, 1)
    later = max(most - first * environments, 0) / max(groups, 1)
    return Caution(first, floor(later * 100) / 100)
