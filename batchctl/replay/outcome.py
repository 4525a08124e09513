"""What became of the rows that were put back, as the writer's log tells."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from batchctl.errors import BatchctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from batchctl.log_events import LogEvent
    from batchctl.run.collect import LogReader

# The writer has them within seconds, CloudWatch Logs shows its line some seconds later.
PATIENCE_S: Final = 20.0
_PAUSE_S: Final = 1.0
_MESSAGE: Final = "overdue rows"


@dataclass(frozen=True, slots=True)
class Told:
    """Rows of which the writer has told.

    Parameters
    ----------
    rows
        How many.
    kept
        Of these, rows that were not written, since a later run has the say: the next run asks for
        their users.
    refused
        Of these, rows that the database refused again.
    """

    rows: int = 0
    kept: int = 0
    refused: int = 0

    @classmethod
    def by(cls, events: Iterable[LogEvent]) -> Self:
        """Add up what the lines say."""
        lines = [json.loads(event.text) for event in events]
        told = [line for line in lines if line.get("message") == _MESSAGE]
        return cls(*(sum(line[name] for line in told) for name in ("rows", "kept", "refused")))

    @property
    def written(self) -> int:
        """Rows that are in the table now."""
        return self.rows - self.kept - self.refused


def wait_for_word(
    logs: LogReader,
    rows: int,
    *,
    since_ms: int,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Told | None:
    """Wait until the writer has told of so many rows; None when the logs cannot be read."""
    deadline = clock() + PATIENCE_S
    while True:
        try:
            told = Told.by(logs.events("Write Rows", since_ms=since_ms, containing=_MESSAGE))
        except BatchctlError:
            return None
        if told.rows >= rows or clock() >= deadline:
            return told
        sleep(_PAUSE_S)
