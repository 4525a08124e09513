"""Many transfers at once in one thread, each making one call after the other.

The work is written as generators, so that what happens to one call can be read from top to bottom;
which of them goes on, and when, is decided here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Final

import pycurl

from batch_core.adapters.http_transfer import Transfer

type Work[T] = Generator[float | Transfer, int, T]
"""Yields seconds to wait, or its transfer once that is prepared, and is then told libcurl's code
for what came of it; returns the result."""

# Where nothing is due to happen sooner.
_PATIENCE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Lane[T]:
    """A transfer, and the work that it is used for."""

    transfer: Transfer
    place: int
    work: Work[T]


class Lanes[T]:
    """Does as much work at once as there are transfers.

    Parameters
    ----------
    multi
        Holds the connections.
    work
        Pieces by their places, in the order to begin them. Each is begun with the transfer that it
        may use, and chosen no sooner than there is one to spare.
    """

    def __init__(
        self, multi: pycurl.CurlMulti, work: Iterable[tuple[int, Callable[[Transfer], Work[T]]]]
    ) -> None:
        self._multi = multi
        self._queue = iter(work)
        self._results: list[tuple[int, T]] = []
        self._moving: dict[pycurl.Curl, _Lane[T]] = {}
        self._waiting: list[tuple[float, int, _Lane[T]]] = []
        # Of several that wait for the same instant the first goes on first.
        self._number = count()

    def run(self, transfers: Sequence[Transfer]) -> Iterator[tuple[int, T]]:
        """Do all the work; yields the place of each piece and its result, as they come."""
        try:
            for transfer in transfers:
                self._begin(transfer)
            while self._moving or self._waiting or self._results:
                results, self._results = self._results, []
                yield from results
                if not self._move_on() and (self._moving or self._waiting):
                    self._multi.select(self._patience())
        finally:
            for curl in self._moving:
                self._multi.remove_handle(curl)

    def _begin(self, transfer: Transfer) -> None:
        """Use the transfer for what comes next, unless that ends without it."""
        for place, begin in self._queue:
            if self._go_on(_Lane(transfer, place, begin(transfer))):
                return

    def _move_on(self) -> bool:
        """Let everyone go on who can; returns whether anyone could."""
        self._multi.perform()
        _, made, broken = self._multi.info_read()
        ended = [(curl, pycurl.E_OK) for curl in made]
        ended += [(curl, code) for curl, code, _ in broken]
        for curl, code in ended:
            self._multi.remove_handle(curl)
            self._resume(self._moving.pop(curl), code)
        now = time.monotonic()
        due = []
        while self._waiting and self._waiting[0][0] <= now:
            due.append(heappop(self._waiting)[2])
        for lane in due:
            self._resume(lane)
        return bool(ended or due)

    def _resume(self, lane: _Lane[T], code: int = pycurl.E_OK) -> None:
        if not self._go_on(lane, code):
            self._begin(lane.transfer)

    def _go_on(self, lane: _Lane[T], code: int | None = None) -> bool:
        """Take the next step of some work; returns whether there is more of it."""
        try:
            step = next(lane.work) if code is None else lane.work.send(code)
        except StopIteration as end:
            self._results.append((lane.place, end.value))
            return False
        if isinstance(step, Transfer):
            self._moving[step.curl] = lane
            self._multi.add_handle(step.curl)
        else:
            heappush(self._waiting, (time.monotonic() + step, next(self._number), lane))
        return True

    def _patience(self) -> float:
        """How long to wait at most for something to happen on a connection."""
        seconds = _PATIENCE_SECONDS
        if self._waiting:
            seconds = min(seconds, max(self._waiting[0][0] - time.monotonic(), 0.0))
        # Until libcurl has to look at its own clock; negative when it need not.
        milliseconds = self._multi.timeout()
        return min(seconds, milliseconds / 1000) if milliseconds >= 0 else seconds
