"""Rounds of the variants, their medians and the ratios between them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Sample:
    """What one round of one variant took; None where a variant has no such thing.

    Parameters
    ----------
    wall_s
        Seconds from the first query to the last stored row; no start of a program in it.
    users, stored
        How many users it was given, and how many rows the table has of it.
    cpu_s
        CPU seconds of the program itself; of the project, its functions and the emulator.
    functions_cpu_s
        The functions' part of that.
    database_cpu_s, api_cpu_s
        CPU seconds of the two servers meanwhile.
    statements, connections
        SQL statements sent, and database connections held.
    in_flight
        The most calls that the API saw at once.
    invocations, cold_starts, s3_requests, put_units, max_state_bytes
        As a run's report has them.
    missing_lines
        Log lines of the run that did not arrive in time; its counts are too low by them.
    usd_core, usd_all_in
        US dollars per million user-runs: Step Functions and Lambda, and everything.
    """

    wall_s: float
    users: int
    stored: int
    cpu_s: float
    functions_cpu_s: float | None
    database_cpu_s: float
    api_cpu_s: float
    statements: int
    connections: int
    in_flight: int
    invocations: int | None = None
    cold_starts: int | None = None
    s3_requests: int | None = None
    put_units: int | None = None
    max_state_bytes: int | None = None
    missing_lines: int | None = None
    usd_core: float | None = None
    usd_all_in: float | None = None

    @property
    def users_per_s(self) -> float:
        """Users per second."""
        return self.users / self.wall_s

    @property
    def ms_per_user(self) -> float:
        """Milliseconds of the run's wall time that fall to each user."""
        return self.wall_s * 1000 / self.users


@dataclass(frozen=True, slots=True)
class Row:
    """One variant and its rounds.

    Parameters
    ----------
    key
        Names it for programs.
    title, note
        Names it for people, and what they have to know of it, if anything.
    rounds
        Those that count, in order.
    first
        The round before them, with cold environments; None for a script, which is always new.
    """

    key: str
    title: str
    note: str
    rounds: Sequence[Sample]
    first: Sample | None = None

    @property
    def median(self) -> Sample:
        """A sample of the medians, field by field."""
        return median_of(self.rounds)


def median_of(samples: Sequence[Sample]) -> Sample:
    """Take the median of each field; None where the samples have none.

    Raises ValueError when there are no samples.
    """
    if not samples:
        raise ValueError("no samples")
    medians: dict[str, Any] = {}
    for field in fields(Sample):
        values = [getattr(sample, field.name) for sample in samples]
        medians[field.name] = None if None in values else median(values)
    return Sample(**medians)


def times_slower(row: Row, base: Row) -> float:
    """How many times as long as `base` a variant takes for one user.

    The median of the rounds' own ratios: neighbours in time share the machine's mood, which changes
    more from minute to minute than the variants do.
    """
    ratios = [
        sample.wall_s * other.users / (other.wall_s * sample.users)
        for sample, other in zip(row.rounds, base.rounds, strict=True)
    ]
    return median(ratios)
