"""Whether what a run put on the stream has been written, group by group.

A sum could balance by accident: a line too many of one group would stand in for a line that is
missing of another. So the workflow says of every group how many rows it put on the stream, in two
characters, and the lines of one attempt at the group must come to exactly that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any, Final

from batch_core.outcomes import Tally
from batch_core.ports import Written

type Place = tuple[int, int]
"""A chunk and a group of it."""

# What the workflow writes for a group that failed: nobody knows whether it put anything.
FAILED: Final = "--"
_WIDTH: Final = 2
_BASE: Final = 36


def awaited_rows(event: Mapping[str, Any]) -> dict[Place, int | None]:
    """How many rows each group put on the stream; None for a group that failed.

    Parameters
    ----------
    event
        In `awaited` it holds a text for each chunk, in which each group has two characters: the
        rows in base 36, or `FAILED`. It is empty when the workflow's Map broke as a whole.
    """
    return {
        (chunk, group): None if text == FAILED else int(text, _BASE)
        for chunk, texts in enumerate(event.get("awaited") or [])
        for group, text in enumerate(_cut(texts))
    }


def _cut(text: str) -> Iterator[str]:
    return (text[at : at + _WIDTH] for at in range(0, len(text), _WIDTH))


@dataclass(frozen=True, slots=True)
class Balance:
    """What has been written of a run.

    Parameters
    ----------
    arrived
        The outcomes of the rows that were awaited.
    of_failed
        The outcomes of rows that failed groups had put on the stream all the same.
    kept
        Of both, the rows that were not written since a newer run has the say; `unchanged`.
    missing
        Rows that are still awaited.
    silent
        Groups whose rows have not all arrived.
    """

    arrived: Tally
    of_failed: Tally
    kept: int
    missing: int
    silent: Sequence[Place]

    @property
    def complete(self) -> bool:
        """Whether there is nothing to wait for."""
        return self.missing <= 0 and not self.silent

    def settle(self, promised: Tally) -> Tally:
        """Replace the promise of queued rows by what became of them.

        The users of failed groups are all `retry_later` in `promised`; those with a row are not.
        """
        moved = min(self.of_failed.settled, promised.retry_later)
        left = replace(promised, queued=0, retry_later=promised.retry_later - moved)
        return left + self.arrived + self.of_failed


def balance(
    awaited: Mapping[Place, int | None], queued: int, written: Sequence[Written]
) -> Balance:
    """Compare what was put on the stream with what was written.

    Parameters
    ----------
    awaited
        As :func:`awaited_rows` gives it. What is written for a group that it does not know is taken
        as it is.
    queued
        The rows that were put on the stream, all together.
    written
        What the ledger has of the run. Of the attempts at one group, one counts.
    """
    attempts: dict[Place, list[Written]] = defaultdict(list)
    for each in written:
        attempts[each.chunk, each.group].append(each)
    counted: list[Written] = []
    of_failed: list[Written] = []
    for place, own in attempts.items():
        rows = awaited.get(place)
        if rows is None:
            largest = max(own, key=_rows)
            (of_failed if place in awaited else counted).append(largest)
        elif fitting := [each for each in own if each.rows <= rows]:
            counted.append(max(fitting, key=_rows))
    arrived = {(each.chunk, each.group): each.rows for each in counted}
    return Balance(
        arrived=_sum(counted),
        of_failed=_sum(of_failed),
        kept=sum(each.kept for each in (*counted, *of_failed)),
        missing=queued - sum(arrived.values()),
        silent=sorted(p for p, rows in awaited.items() if rows and arrived.get(p) != rows),
    )


def _rows(written: Written) -> int:
    return written.rows


def _sum(written: Sequence[Written]) -> Tally:
    return reduce(add, (each.tally for each in written), Tally())
