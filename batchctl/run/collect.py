"""Gathers a run's invocation lines while it runs, and waits afterwards for those still to come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from batchctl.run.lines import (
    CALL_API,
    FINISH_RUN,
    FUNCTIONS,
    LIST_USERS,
    PROCESS_USERS,
    WRITE_ROWS,
    Invocation,
)

# An event becomes readable some time after its timestamp, not in the order of timestamps; a live
# poll looks back this far, and the sweeps after the end look at everything again.
_LOOK_BACK_MS: Final = 2_000


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One log line; `key` names it, so that reading it twice counts once."""

    key: str
    timestamp_ms: int
    text: str


class LogReader(Protocol):
    """The log groups of a stack, by state."""

    def events(self, state: str, *, since_ms: int, containing: Sequence[str]) -> Iterator[LogEvent]:
        """Read the events not older than `since_ms` that contain each of the texts."""
        ...


@dataclass(frozen=True, slots=True)
class Counts:
    """How far a run has come, in users."""

    listed: int | None = None
    called: int = 0
    processed: int = 0
    written: int = 0
    failed: int = 0


class Collector:
    """The invocation lines of one run, each once."""

    def __init__(self, reader: LogReader, run_id: str, since_ms: int) -> None:
        self.run_id = run_id
        self._reader = reader
        self._since_ms = since_ms
        self._newest_ms = dict.fromkeys(FUNCTIONS, since_ms)
        self._seen: set[str] = set()
        self._invocations: list[Invocation] = []

    @property
    def invocations(self) -> Sequence[Invocation]:
        """What was found so far."""
        return self._invocations

    def poll(self) -> None:
        """Read what is new; cheap enough to repeat every second while the run goes on."""
        for state in FUNCTIONS:
            self._read(state, max(self._newest_ms[state] - _LOOK_BACK_MS, self._since_ms))

    def sweep(self) -> None:
        """Read everything again from the start: late events may be older than those seen."""
        for state in FUNCTIONS:
            self._read(state, self._since_ms)

    def _read(self, state: str, since_ms: int) -> None:
        # The first text keeps out other runs, the second the functions' other lines.
        for event in self._reader.events(
            state, since_ms=since_ms, containing=[self.run_id, "invocation"]
        ):
            if event.key in self._seen:
                continue
            self._seen.add(event.key)
            self._newest_ms[state] = max(self._newest_ms[state], event.timestamp_ms)
            invocation = Invocation.from_line(event.text)
            if invocation is not None and self._is_ours(invocation):
                self._invocations.append(invocation)

    def _is_ours(self, invocation: Invocation) -> bool:
        # A writer's invocation may carry records of several runs; that it names this one is enough.
        return invocation.state == WRITE_ROWS or invocation.run_id == self.run_id


def missing(invocations: Sequence[Invocation], *, groups: int, status: str) -> int:
    """How many invocations the run implies whose lines have not arrived.

    Parameters
    ----------
    invocations
        The lines that have.
    groups
        How many groups the run had.
    status
        How the execution ended; one that did not succeed may have left out anything.
    """
    if status != "SUCCEEDED":
        return 0
    found = {invocation.slice for invocation in invocations}
    counts = {
        state: sum(each_state == state for each_state, _, _ in found)
        for state in (LIST_USERS, CALL_API, PROCESS_USERS, FINISH_RUN)
    }
    return (
        max(1 - counts[LIST_USERS], 0)
        + max(groups - counts[CALL_API], 0)
        + max(groups - counts[PROCESS_USERS], 0)
        + max(1 - counts[FINISH_RUN], 0)
    )
