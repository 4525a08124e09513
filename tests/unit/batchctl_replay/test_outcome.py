"""What the writer tells of rows that were put back."""

from __future__ import annotations

import json
from collections.abc import Iterator

from batchctl.errors import BatchctlError
from batchctl.log_events import LogEvent
from batchctl.replay.outcome import PATIENCE_S, Told, wait_for_word
from batchctl.run.collect import LogReader


def line(message: str = "overdue rows", **counts: int) -> LogEvent:
    return LogEvent("k", 0, json.dumps({"message": message, **counts}))


class Logs(LogReader):
    """A log that shows one line more each second."""

    def __init__(self, *lines: LogEvent) -> None:
        self.lines = lines
        self.now = 0.0

    def events(self, state: str, *, since_ms: int, containing: str) -> Iterator[LogEvent]:
        assert (state, since_ms, containing) == ("Write Rows", 7, "overdue rows")
        yield from self.lines[: int(self.now)]

    def wait(self, rows: int) -> Told | None:
        def sleep(seconds: float) -> None:
            self.now += seconds

        return wait_for_word(self, rows, since_ms=7, clock=lambda: self.now, sleep=sleep)


def test_the_lines_are_waited_for_and_added_up() -> None:
    logs = Logs(
        line(rows=3, kept=1, refused=0),
        line("something about overdue rows"),
        line(rows=4, kept=0, refused=2),
        line(rows=9, kept=9, refused=0),
    )

    told = logs.wait(7)

    assert told == Told(rows=7, kept=1, refused=2)
    assert told.written == 4


def test_the_wait_has_an_end_and_what_is_known_then_is_told() -> None:
    logs = Logs(line(rows=3, kept=1, refused=0))

    assert logs.wait(7) == Told(rows=3, kept=1, refused=0)
    assert logs.now >= PATIENCE_S


def test_logs_that_cannot_be_read_tell_nothing() -> None:
    class Closed(Logs):
        def events(self, state: str, *, since_ms: int, containing: str) -> Iterator[LogEvent]:
            raise BatchctlError("not allowed")

    assert Closed().wait(7) is None
