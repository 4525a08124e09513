"""Which settings are worth their money: the frontier of wall time and cost. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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
    """The one whose time and cost multiply to least.

    From there on, what is some per cent faster is more per cent dearer, and what is cheaper is
    slower by more. Raises ValueError when there are none.
    """
    return min(choices, key=lambda choice: choice.usd_per_million * choice.wall_s)
