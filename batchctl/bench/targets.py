"""What the bench is to show, and whether it did. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from batchctl.bench.fit import spread
from batchctl.bench.results import Crowd, Growth, Writing
from batchctl.bench.samples import Row, times_slower

_WALL_MOST: Final = 1.25
_SPEEDUP_LEAST: Final = 40
# What may still be called flat, from the fewest users to the most.
_FLAT: Final = 1.2
_WRITING_LEAST: Final = 0.75
# Hundreds of invocations at once against tens of connections.
_CROWD_LEAST: Final = 10


@dataclass(frozen=True, slots=True)
class Target:
    """One figure and its bound; `measured` is None when the bench was told to leave it out."""

    name: str
    bound: Literal["at most", "at least"]
    wanted: float
    measured: float | None

    @property
    def met(self) -> bool | None:
        """Whether the figure keeps the bound; None when it was not measured."""
        if self.measured is None:
            return None
        if self.bound == "at most":
            return self.measured <= self.wanted
        return self.measured >= self.wanted


def targets_of(
    *,
    grouped: Row,
    per_user: Row,
    cron: Row,
    growth: Growth | None,
    crowd: Crowd | None,
    writing: Writing,
) -> list[Target]:
    """Hold the measured against the wanted."""
    points = growth.points if growth else []

    def flat(name: str, values: list[float]) -> Target:
        return Target(
            f"{name}, over the growth",
            "at most",
            _FLAT,
            spread(values) if values else None,
        )

    return [
        Target("wall, a / c", "at most", _WALL_MOST, times_slower(grouped, cron)),
        Target(
            "wall per user, b / a",
            "at least",
            _SPEEDUP_LEAST,
            times_slower(per_user, grouped),
        ),
        flat("largest state", [point.max_state_bytes for point in points]),
        flat("connections", [point.connections for point in points]),
        Target(
            "invocations at once per connection",
            "at least",
            _CROWD_LEAST,
            crowd.invocations / crowd.connections if crowd else None,
        ),
        flat("List Users memory", [point.listing_peak_bytes for point in points]),
        Target(
            "rows/s, row store / 500-row statements",
            "at least",
            _WRITING_LEAST,
            writing.ratio,
        ),
    ]
