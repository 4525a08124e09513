"""What became of a user, and the sums of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Self


class Outcome(StrEnum):
    """The one word the run has for each listed user."""

    STORED = "stored"  # this run's row was written
    UNCHANGED = "unchanged"  # nothing was written: nothing is new, or a newer run has the say
    REJECTED = "rejected"  # this user's data or answer is at fault; trying again changes nothing
    RETRY_LATER = "retry_later"  # the next run tries again
    SKIPPED = "skipped"  # not attempted on purpose
    GONE = "gone"  # deleted since it was listed; never resurrected


@dataclass(frozen=True, slots=True)
class Tally:
    """How many users came to each end, and how many rows are still on the stream.

    `queued` is not an outcome: it is a promise that the writer turns into `stored`, `rejected` or
    `gone`, and that Finish Run waits for.
    """

    queued: int = 0
    stored: int = 0
    unchanged: int = 0
    rejected: int = 0
    retry_later: int = 0
    skipped: int = 0
    gone: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def settled(self) -> int:
        """Users that have an outcome."""
        return sum(getattr(self, outcome.value) for outcome in Outcome)

    @property
    def outcomes(self) -> dict[str, int]:
        """The count of each outcome, in the order of :class:`Outcome`."""
        return {outcome.value: getattr(self, outcome.value) for outcome in Outcome}

    def to_json(self) -> dict[str, int]:
        """Every count, zeros included: JSONata sums need the field to exist."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, int]) -> Self:
        """Read a tally back, ignoring what it does not know."""
        return cls(**{f.name: int(value.get(f.name, 0)) for f in fields(cls)})

    @classmethod
    def of(cls, outcomes: Iterable[Outcome], *, queued: int = 0) -> Self:
        """Count outcomes."""
        counts = dict.fromkeys((outcome.value for outcome in Outcome), 0)
        for outcome in outcomes:
            counts[outcome.value] += 1
        return cls(queued=queued, **counts)
