"""The functions' log lines, parsed: one `invocation` line per invocation carries its meter."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from batchctl.run.lambda_model import Time

LIST_USERS: Final = "List Users"
CALL_API: Final = "Call API"
PROCESS_USERS: Final = "Process Users"
WRITE_ROWS: Final = "Write Rows"
FINISH_RUN: Final = "Finish Run"
FUNCTIONS: Final = (LIST_USERS, CALL_API, PROCESS_USERS, WRITE_ROWS, FINISH_RUN)

# How an execution may have begun, beside what List Users decides instead of listing.
LISTED: Final = "process"
NOT_LISTED: Final = "failed"

# The levels of lines that a person should know of.
NOTICED: Final = frozenset({"WARNING", "ERROR", "CRITICAL"})

# CloudWatch Logs bills this much on top of each event's text.
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
EVENT_OVERHEAD_BYTES: Final = 26


@dataclass(frozen=True, slots=True)
class Invocation:
    """What one invocation of one function said about itself.

    Parameters
    ----------
    state
        The state, or the function where there is no state, such as ``Call API``.
    chunk, group
        Which slice of the run it worked on; None where there is none.
    duration, init
        Time in the handler, and in INIT before it; `init` is None in a warm environment.
    memory_mb
        The function's memory.
    env_id
        Names the execution environment.
    ended_ms
        When it ended, in milliseconds since 1970.
    request_id
        Lambda's name for it.
    error
        The class of what it raised; empty when it did not.
    meter
        Counts of what it used, such as ``s3_get``.
    api_latency
        The histogram of its API calls, by :mod:`batch_core.meter`'s bucket.
    """

    state: str
    chunk: int | None
    group: int | None
    duration: Time
    init: Time | None
    memory_mb: int
    env_id: str
    ended_ms: int = 0
    request_id: str = ""
    error: str = ""
    meter: Mapping[str, int] = field(default_factory=dict)
    api_latency: Mapping[int, int] = field(default_factory=dict)

    @property
    def slice(self) -> tuple[str, int | None, int | None]:
        """What it worked on; the same for a repeated invocation."""
        return self.state, self.chunk, self.group

    @property
    def started_ms(self) -> float:
        """When its handler began; INIT, if there was one, came before."""
        return self.ended_ms - self.duration.wall

    @property
    def init_ms(self) -> float:
        """Milliseconds of INIT; none in a warm environment."""
        return self.init.wall if self.init else 0

    @property
    def failed(self) -> bool:
        """Whether it raised: the answer was then logged as JSON's null."""
        return self.meter.get("response_bytes") == len("null")

    @classmethod
    def from_line(cls, line: Mapping[str, Any], at_ms: int) -> Self:
        """Read an `invocation` line, the last of its invocation; KeyError names what it lacks."""
        meter = line["meter"]
        return cls(
            state=line["state"],
            chunk=line.get("chunk"),
            group=line.get("group"),
            duration=_time(meter, "duration_ms", ""),
            init=_time(meter, "init_ms", "init_") if "init_ms" in meter else None,
            memory_mb=meter["memory_mb"],
            env_id=meter["env_id"],
            ended_ms=at_ms,
            request_id=line.get("request_id", ""),
            error=line.get("error", ""),
            meter={name: value for name, value in meter.items() if isinstance(value, int)},
            api_latency={int(b): n for b, n in meter.get("api_latency", {}).items()},
        )


def _time(meter: Mapping[str, Any], wall: str, prefix: str) -> Time:
    return Time(meter[wall], meter[f"{prefix}cpu_ms"], meter[f"{prefix}queued_ms"])


@dataclass(frozen=True, slots=True)
class Received:
    """The records of one run that one invocation of Write Rows received.

    Parameters
    ----------
    at_ms
        When, in milliseconds since 1970.
    groups
        The chunk and group of each record, as far as the line names them.
    """

    at_ms: int
    records: int
    rows: int
    groups: Sequence[tuple[int, int]] = ()

    @classmethod
    def from_line(cls, line: Mapping[str, Any], at_ms: int) -> Self:
        """Read a `records received` line; a record is named chunk-group-part."""
        places = [name.split("-") for name in line.get("groups", ())]
        return cls(
            at_ms=at_ms,
            records=int(line["records"]),
            rows=int(line["rows"]),
            groups=tuple((int(chunk), int(group)) for chunk, group, _ in places),
        )


@dataclass(frozen=True, slots=True)
class Start:
    """How an execution began: it listed the users, failed to, or left the run to another one.

    Parameters
    ----------
    decision
        `LISTED`, `NOT_LISTED` of one whose listing raised, or what List Users decided instead.
    """

    at_ms: int
    execution: str
    decision: str

    @classmethod
    def from_line(cls, line: Mapping[str, Any], at_ms: int) -> Self:
        """Read a `listed` or a `not listed` line."""
        decision = NOT_LISTED if line.get("error") else line.get("decision", LISTED)
        return cls(at_ms, line.get("execution", ""), decision)

    @property
    def left_alone(self) -> bool:
        """Whether it found that the run was another one's, or no one's."""
        return self.decision not in (LISTED, NOT_LISTED)


@dataclass(frozen=True, slots=True)
class FailedGroup:
    """A group that failed, as the workflow told Finish Run.

    Parameters
    ----------
    state, error
        Empty for all but the first few of a run.
    """

    at_ms: int
    chunk: int
    group: int
    state: str
    error: str

    @property
    def slice(self) -> tuple[str, int, int]:
        """What the invocation that failed worked on."""
        return self.state, self.chunk, self.group

    @classmethod
    def from_line(cls, line: Mapping[str, Any], at_ms: int) -> list[Self]:
        """Read a `groups failed` line."""
        return [
            cls(at_ms, each["chunk"], each["group"], each["state"] or "", each["error"] or "")
            for each in line["groups"]
        ]


@dataclass(frozen=True, slots=True)
class WithoutRow:
    """Users of one group that got no row for the same reason, some of them by pseudonym."""

    outcome: str
    error: str
    users: int
    examples: Sequence[str]
    state: str
    chunk: int | None
    group: int | None

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> list[Self]:
        """Read a `users without a row` line."""
        return [
            cls(
                failure["outcome"],
                failure["error"],
                failure["users"],
                failure["examples"],
                line["state"],
                line.get("chunk"),
                line.get("group"),
            )
            for failure in line["failures"]
        ]


@dataclass(frozen=True, slots=True)
class Example:
    """One user without a row, by pseudonym, and where that was logged."""

    user: str
    state: str
    chunk: int | None
    group: int | None


@dataclass(frozen=True, slots=True)
class Notice:
    """What a function found worth a warning, without what differs from line to line.

    Parameters
    ----------
    detail
        The class of the error, where the line names one.
    """

    level: str
    state: str
    message: str
    detail: str

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> Self:
        """Read a line of the levels in `NOTICED`."""
        told = (line.get(name) for name in ("error", "reason", "exception_name"))
        return cls(
            level=str(line["level"]),
            state=str(line.get("state", "")),
            message=str(line.get("message", "")),
            detail=next((str(detail) for detail in told if detail), ""),
        )


def parse(text: str) -> dict[str, Any] | None:
    """Read one line of JSON; None for what the platform writes, such as START and REPORT."""
    if not text.startswith("{"):
        return None
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None
