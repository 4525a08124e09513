"""One run: its name, its version, and the little that every state carries about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from batch_core.errors import ConfigurationError
from batch_core.limits import RUN_SECONDS

# EventBridge Scheduler replaces this text; an execution started by hand, or by an emulator that
# does not know it, still carries it.
# https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
SCHEDULED_TIME_ATTRIBUTE: Final = "<aws.scheduler.scheduled-time>"

# By how much clocks may differ: the schedule's or the operator's may be so far ahead of Step
# Functions'.
CLOCK_SKEW: Final = timedelta(seconds=60)

# Of a run whose lister did not say.
_FIRST_CALLS: Final = 10
_LATER_CALLS: Final = 1.0

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

TENANT_PATTERN: Final = re.compile(r"(?=.{1,24}$)[a-z](-?[a-z0-9])*")


@dataclass(frozen=True, slots=True)
class Slot:
    """The moment a run stands for; two deliveries of one schedule are the same slot."""

    tenant: str
    at: datetime

    @property
    def run_id(self) -> str:
        """Tenant and time, sortable, safe in S3 keys and URLs."""
        fraction = f".{self.at.microsecond // 1000:03d}" if self.at.microsecond >= 1000 else ""
        return f"{self.tenant}-{self.at:%Y%m%dT%H%M%S}{fraction}Z"

    @property
    def version(self) -> int:
        """Milliseconds since 1970: the least version that the run's rows may have."""
        return milliseconds(self.at)


def milliseconds(at: datetime) -> int:
    """Milliseconds since 1970."""
    # In whole numbers: a float of seconds rounds some milliseconds to the one before.
    return (at - _EPOCH) // timedelta(milliseconds=1)


def slot_of(tenant: str, scheduled_time: str | None, started_at: str) -> Slot:
    """Name the slot of an execution.

    Parameters
    ----------
    tenant
        The stack's tenant.
    scheduled_time
        ISO-8601 text with a zone, from the schedule. None, or the schedule's literal attribute
        where nobody replaced it, stands for the start itself: a run that is started by hand is a
        run of its own.
    started_at
        The execution's start, likewise.

    Raises
    ------
    ConfigurationError
        When a time cannot be read, names no zone, or is in the future.
    """
    started = instant("started_at", started_at)
    if not scheduled_time or scheduled_time == SCHEDULED_TIME_ATTRIBUTE:
        return Slot(tenant, started)
    at = instant("scheduled_time", scheduled_time)
    if at - started > CLOCK_SKEW:
        raise ConfigurationError(
            f"scheduled_time is {scheduled_time!r}, later than the execution's start at "
            f"{started_at}; give a time that is not in the future, or leave it out"
        )
    return Slot(tenant, at)


def instant(field: str, text: str) -> datetime:
    """Read an ISO-8601 time that names its zone.

    Raises
    ------
    ConfigurationError
        Naming `field`, when it is none, names no zone, or is before 1970.
    """
    try:
        read = datetime.fromisoformat(text)
        at = read.astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"{field} is {text!r}; give an ISO-8601 time such as 2026-01-31T10:20:00Z"
        ) from error
    if read.tzinfo is None:
        raise ConfigurationError(
            f"{field} is {text!r}, which names no zone; end it with Z or with an offset such as "
            "+09:00"
        )
    if at < _EPOCH:
        raise ConfigurationError(f"{field} is {text!r}; give a time after 1970")
    return at


@dataclass(frozen=True, slots=True)
class Run:
    """What every state knows about its run; about 150 bytes of JSON.

    Parameters
    ----------
    id
        The run's name.
    version
        The version of the rows it writes. It comes with the lease: the slot's time in milliseconds
        since 1970, or more, so that each lease has a higher version than the one before.
    fence
        Grows with each lease taken, so that what an earlier holder of the lease wrote is told
        apart from what this one writes.
    group_size
        Users per invocation, at most.
    requests_per_second
        What one group may ask of the API per second; 0 is no limit.
    ends_at
        Seconds since 1970 by which the groups must have finished.
    first_calls, later_calls
        What an environment may ask before it is answered well, see :mod:`~batch_core.caution`.
    fair_seconds
        What a group may take so that all have their turn.
    """

    id: str
    version: int
    fence: int
    group_size: int
    requests_per_second: float
    ends_at: float
    first_calls: int = _FIRST_CALLS
    later_calls: float = _LATER_CALLS
    fair_seconds: float = float(RUN_SECONDS)

    @property
    def prefix(self) -> str:
        """Where the run keeps its objects."""
        return f"runs/{self.id}/{self.fence}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read the run out of a state's input, ignoring fields of a later version.

        Raises
        ------
        ConfigurationError
            When a field is missing.
        """
        try:
            return cls(
                id=str(value["id"]),
                version=int(value["version"]),
                fence=int(value["fence"]),
                group_size=int(value["group_size"]),
                requests_per_second=float(value["requests_per_second"]),
                ends_at=float(value["ends_at"]),
                first_calls=int(value.get("first_calls", _FIRST_CALLS)),
                later_calls=float(value.get("later_calls", _LATER_CALLS)),
                fair_seconds=float(value.get("fair_seconds", RUN_SECONDS)),
            )
        except KeyError as error:
            raise ConfigurationError(f"the state's input lacks run.{error.args[0]}") from error
