"""How far a run has come, shown while it runs: three aligned bars, or a line now and then."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from batchctl.run.collect import Counts

# The current rate is that of this many seconds: long enough not to flicker, short enough to fall
# when the API slows down.
_RATE_WINDOW_S: Final = 3.0
_PLAIN_EVERY_S: Final = 10.0


class Rate:
    """Users per second over the last seconds."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def __call__(self, now: float, users: int) -> float:
        """Enter a point and return the current rate."""
        self._points.append((now, users))
        while len(self._points) > 2 and now - self._points[1][0] >= _RATE_WINDOW_S:
            self._points.popleft()
        (start, before), (end, after) = self._points[0], self._points[-1]
        return (after - before) / (end - start) if end > start else 0.0


def frame(
    counts: Counts, *, expected: int | None, phase: str, elapsed: float, rate: float
) -> RenderableType:
    """Lay out the three bars and the line below them.

    Parameters
    ----------
    counts
        How far the run has come.
    expected
        How many users there should be, until the run has listed them.
    phase
        What is going on, in a word or two.
    elapsed
        Seconds since the start.
    rate
        Users called per second now.
    """
    total = counts.listed if counts.listed is not None else expected
    to_store = total if counts.listed is None else counts.to_store
    bars = Table.grid(padding=(0, 1), expand=True)
    bars.add_column(width=10)
    bars.add_column(ratio=1)
    bars.add_column(justify="right", width=len(f"{total or 0:,}") * 2 + 3, no_wrap=True)
    for label, done, of in (
        ("Called", counts.called, total),
        ("Processed", counts.processed, total),
        ("Stored", counts.stored, to_store),
    ):
        # Nothing to store is done; nothing known yet is not.
        completed, whole = (1, 1) if of == 0 else (done, of or 1)
        bar = ProgressBar(total=whole, completed=completed, complete_style="green")
        bars.add_row(label, bar, f"{done:,} / {of:,}" if of is not None else "")
    failed = f" · [red]{counts.failed:,} without a row[/red]" if counts.failed else ""
    return Group(
        bars,
        Text.from_markup(f"[dim]{phase} · {elapsed:.0f} s · {rate:,.0f} users/s[/dim]{failed}"),
    )


class LiveDisplay:
    """Bars that are redrawn only when there is something new: the machine is busy with the run."""

    def __init__(
        self, console: Console, clock: Callable[[], float], *, expected: int | None
    ) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._clock = clock
        self._started = clock()
        self._expected = expected
        self._rate = Rate()

    def show(self, counts: Counts, phase: str) -> None:
        """Redraw."""
        now = self._clock()
        self._live.update(
            frame(
                counts,
                expected=self._expected,
                phase=phase,
                elapsed=now - self._started,
                rate=self._rate(now, counts.called),
            ),
            refresh=True,
        )

    def __enter__(self) -> LiveDisplay:
        self._live.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()


class PlainDisplay:
    """For a file or a pipe: a line for each phase, and one every ten seconds."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._write = write
        self._clock = clock
        self._started = clock()
        self._phase = ""
        self._said_at = self._started

    def show(self, counts: Counts, phase: str) -> None:
        """Say it, if it is time to."""
        now = self._clock()
        if phase == self._phase and now - self._said_at < _PLAIN_EVERY_S:
            return
        self._phase, self._said_at = phase, now
        listed = "?" if counts.listed is None else f"{counts.listed:,}"
        failed = f", {counts.failed:,} without a row" if counts.failed else ""
        self._write(
            f"{phase} ({now - self._started:.0f} s): {counts.called:,} of {listed} users called,"
            f" {counts.processed:,} processed, {counts.stored:,} stored{failed}"
        )
