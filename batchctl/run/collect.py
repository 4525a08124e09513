"""Gathers a run's log lines while it runs, and knows which of them are still to come."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Final, Protocol

from batchctl.log_events import LogEvent
from batchctl.run.lines import (
    CALL_API,
    EVENT_OVERHEAD_BYTES,
    FINISH_RUN,
    FUNCTIONS,
    LIST_USERS,
    NOTICED,
    PROCESS_USERS,
    WRITE_ROWS,
    Example,
    FailedGroup,
    Invocation,
    Notice,
    Received,
    Start,
    WithoutRow,
    parse,
)

# An event becomes readable some time after its timestamp, not in the order of timestamps; a live
# poll looks back this far, and the sweeps after the end look at everything again.
_LOOK_BACK_MS: Final = 2_000
# Of each class of failure, so many users are remembered.
_EXAMPLES: Final = 6
# In this order no later state is ever seen ahead of an earlier one.
_BACKWARDS: Final = FUNCTIONS[::-1]


class LogReader(Protocol):
    """The log groups of a stack, by state."""

    def events(self, state: str, *, since_ms: int, containing: str) -> Iterator[LogEvent]:
        """Read the events not older than `since_ms` that contain the text."""
        ...


@dataclass(frozen=True, slots=True)
class Counts:
    """How far a run has come, in users.

    Parameters
    ----------
    listed
        None until the users are listed.
    called, processed
        Users whose group is through with the state of that name.
    queued
        Users for whom a row was put on the stream.
    stored
        Users whose row the writer has received.
    failed
        Users that got no row, and not because nothing had changed.
    """

    listed: int | None = None
    called: int = 0
    processed: int = 0
    queued: int = 0
    stored: int = 0
    failed: int = 0

    @property
    def to_store(self) -> int:
        """Rows to be stored, counting one for each user not processed yet."""
        return (self.listed or 0) - self.processed + self.queued


class Collector:
    """The log lines of one run, each once.

    Parameters
    ----------
    reader
        Reads the logs.
    run_id
        The run; every line of it carries this.
    since_ms
        When it began, at the earliest.
    group_size
        Users per group: lines name groups, a person thinks in users.
    """

    def __init__(self, reader: LogReader, run_id: str, *, since_ms: int, group_size: int) -> None:
        self.run_id = run_id
        self.invocations: list[Invocation] = []
        self.received: list[Received] = []
        self.failures: Counter[tuple[str, str]] = Counter()
        self.without_row: list[WithoutRow] = []
        self.failed_groups: list[FailedGroup] = []
        self.starts: list[Start] = []
        self.notices: Counter[Notice] = Counter()
        self.log_bytes = 0
        self._reader = reader
        self._since_ms = since_ms
        self._group_size = group_size
        self._newest_ms = dict.fromkeys(FUNCTIONS, since_ms)
        self._seen: set[str] = set()
        self._put_aside: set[str] = set()
        self._listed: int | None = None
        self._admitted = 0

    def poll(self) -> None:
        """Read what is new; cheap enough to repeat every second while the run goes on."""
        for state in _BACKWARDS:
            self._read(state, max(self._newest_ms[state] - _LOOK_BACK_MS, self._since_ms))

    def sweep(self) -> None:
        """Read everything again from the start: a late event may be older than those seen."""
        for state in _BACKWARDS:
            self._read(state, self._since_ms)

    @property
    def examples(self) -> dict[tuple[str, str], list[Example]]:
        """Some of the users that failed, by outcome and class of failure."""
        found: defaultdict[tuple[str, str], list[Example]] = defaultdict(list)
        for each in self.without_row:
            own = found[each.outcome, each.error]
            wanted = _EXAMPLES - len(own)
            own += [
                Example(user, each.state, each.chunk, each.group) for user in each.examples[:wanted]
            ]
        return found

    @property
    def groups(self) -> int:
        """How many groups the run has; 0 until its users are listed."""
        return ceil(self._admitted / self._group_size)

    @property
    def counts(self) -> Counts:
        """How far the run has come, as far as the logs have."""
        return Counts(
            listed=self._listed,
            called=self._users(CALL_API),
            processed=self._users(PROCESS_USERS),
            queued=self._metered(PROCESS_USERS, "rows"),
            # A record that is delivered again is logged again.
            stored=min(sum(each.rows for each in self.received), self._listed or 0),
            failed=self.failures.total(),
        )

    @property
    def missing(self) -> int:
        """How many lines a run that reached its end implies and that have not arrived."""
        told = {line.slice for line in self.invocations}
        # Environments that were killed will never tell.
        killed = Counter(each.state for each in self.failed_groups if each.slice not in told)
        called = self.groups - killed[CALL_API]
        processed = called - self._found(CALL_API, failed=True) - killed[PROCESS_USERS]
        expected = {LIST_USERS: 1, CALL_API: called, PROCESS_USERS: processed, FINISH_RUN: 1}
        missing = sum(max(count - self._found(state), 0) for state, count in expected.items())
        put, received = (self._metered(s, "records") for s in (PROCESS_USERS, WRITE_ROWS))
        return missing + (put > received)

    def _found(self, state: str, *, failed: bool = False) -> int:
        """Slices of the run that a state was invoked for; with `failed`, only ever in vain."""
        found = {line.slice for line in self.invocations if line.state == state}
        if failed:
            found -= {line.slice for line in self.invocations if not line.failed}
        return len(found)

    def _metered(self, state: str, name: str) -> int:
        return sum(line.meter.get(name, 0) for line in self.invocations if line.state == state)

    def _users(self, state: str) -> int:
        """Users of the groups that a state is through with; only a chunk's last may be short.

        Those who were listed and are in no group have nothing to wait for.
        """
        in_groups = min(self._found(state) * self._group_size, self._admitted)
        return in_groups + (self._listed or 0) - self._admitted

    def _read(self, state: str, since_ms: int) -> None:
        for event in self._reader.events(state, since_ms=since_ms, containing=self.run_id):
            if event.key in self._seen:
                continue
            self._seen.add(event.key)
            self._newest_ms[state] = max(self._newest_ms[state], event.timestamp_ms)
            line = parse(event.text)
            if line is not None:
                self.log_bytes += len(event.text.encode()) + EVENT_OVERHEAD_BYTES
                self._take(line, event.timestamp_ms)

    def _take(self, line: Mapping[str, Any], at_ms: int) -> None:
        match line.get("message"):
            case "invocation":
                self.invocations.append(Invocation.from_line(line, at_ms))
                if line.get("execution") and line.get("error"):
                    # Who fails to list says so in no other line.
                    self.starts.append(Start.from_line(line, at_ms))
            case "listed":
                self._listed = int(line["listed"])
                self._admitted = int(line["admitted"])
                # The lister makes groups smaller than it was asked to when the API's rate is low.
                self._group_size = int(line["group_size"])
                self.starts.append(Start.from_line(line, at_ms))
            case "not listed":
                self.starts.append(Start.from_line(line, at_ms))
            case "records received":
                self.received.append(Received.from_line(line, at_ms))
            case "users without a row":
                self._take_without_row(line)
            case "groups failed":
                self.failed_groups += FailedGroup.from_line(line, at_ms)
            case _ if line.get("level") in NOTICED:
                self.notices[Notice.from_line(line)] += 1

    def _take_without_row(self, line: Mapping[str, Any]) -> None:
        # A batch that is delivered again puts the same rows aside again, under the same name.
        name = line.get("object")
        if name in self._put_aside:
            return
        if name:
            self._put_aside.add(name)
        for each in WithoutRow.from_line(line):
            self.without_row.append(each)
            self.failures[each.outcome, each.error] += each.users
