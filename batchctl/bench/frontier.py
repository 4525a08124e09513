"""Which settings are worth their money: the frontier of wall time and cost. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# A person tuning a batch that runs every ten minutes gives up a quarter of its speed for money, and
# not half of it.
_SLOWER_AT_MOST: Final = 1.25


@dataclass(frozen=True, slots=True)
class Setting:
    """What a team can turn; the names are the template's parameters in small letters."""

    users_per_invocation: int
    api_concurrency: int
    chunk_size: int
    memory_mb: int


@dataclass(frozen=True, slots=True)
class Choice:
    """A setting, the wall time of a run with it, and US dollars per million user-runs."""

    setting: Setting
    wall_s: float
    usd_per_million: float


def frontier(choices: Sequence[Choice]) -> list[Choice]:
    """The choices that no other beats in both time and cost, the fastest first."""
    best: list[Choice] = []
    for choice in sorted(choices, key=lambda c: (c.wall_s, c.usd_per_million)):
        if not best or choice.usd_per_million < best[-1].usd_per_million:
            best.append(choice)
    return best


def recommended(choices: Sequence[Choice]) -> Choice:
    """The cheapest of those that take at most a quarter longer than the fastest.

    Raises ValueError when there are none.
    """
    fastest = min(choice.wall_s for choice in choices)
    near = [choice for choice in choices if choice.wall_s <= fastest * _SLOWER_AT_MOST]
    return min(near, key=lambda choice: (choice.usd_per_million, choice.wall_s))
