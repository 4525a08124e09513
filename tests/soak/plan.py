"""What happens during a soak, and when: plain data that follows from a seed alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final, Self


class Kind(StrEnum):
    """What may happen."""

    STARTED = "run started"
    STARTED_TWICE = "run started twice at once"
    API_ERRORS = "API answers 500 at times"
    API_THROTTLES = "API answers 429 at times"
    API_SLOW = "API slow"
    API_DOWN = "API answers 500 to everyone"
    API_WELL = "API well again"
    ODD_ANSWERS = "odd answers about single users"
    ROWS_REFUSED = "rows too long for their column"
    DATABASE_KILLED = "database killed"
    DATABASE_STOPPED = "database shut down"
    DATABASE_BACK = "database back"
    WORKERS_KILLED = "Lambda workers killed"
    REDELIVERED = "records delivered again, shuffled"
    TOUCHED = "users did something"
    ADDED = "users added"
    DEACTIVATED = "users deactivated"
    REACTIVATED = "users activated again"
    DELETED = "users deleted"

    @property
    def is_fault(self) -> bool:
        """Whether it is one of the faults, and not the life that goes on meanwhile."""
        return self in _FAULTS

    @property
    def needs_database(self) -> bool:
        """Whether it cannot be done while the database is away."""
        return self in {Kind.ADDED, Kind.DEACTIVATED, Kind.REACTIVATED, Kind.DELETED}


_FAULTS: Final = frozenset(
    {
        Kind.STARTED_TWICE,
        Kind.API_ERRORS,
        Kind.API_THROTTLES,
        Kind.API_SLOW,
        Kind.API_DOWN,
        Kind.ODD_ANSWERS,
        Kind.ROWS_REFUSED,
        Kind.DATABASE_KILLED,
        Kind.DATABASE_STOPPED,
        Kind.WORKERS_KILLED,
        Kind.REDELIVERED,
        Kind.DELETED,
    }
)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happens.

    Parameters
    ----------
    at
        Seconds since the soak began.
    kind
        What it is.
    amount
        A share for API errors, throttling and redelivery, milliseconds for a slow API, how many
        for workers.
    users
        Whom it concerns, by number.
    draw
        Seeds what can be chosen on the spot only: which of the workers, which records.
    """

    at: float
    kind: Kind
    amount: float = 0
    users: tuple[int, ...] = ()
    draw: int = 0

    @property
    def line(self) -> str:
        """The event in words, without its moment."""
        if self.users:
            return f"{self.kind}: {_named(self.users)}"
        if self.kind in {Kind.API_ERRORS, Kind.API_THROTTLES, Kind.REDELIVERED}:
            return f"{self.kind}: {self.amount:.0%}"
        if self.kind is Kind.API_SLOW:
            return f"{self.kind}: {self.amount:.0f} ms"
        if self.kind is Kind.WORKERS_KILLED:
            return f"{self.kind}: {self.amount:.0f}"
        return str(self.kind)


def _named(users: Sequence[int]) -> str:
    shown = " ".join(str(number) for number in users[:3])
    return shown if len(users) <= 3 else f"{shown} and {len(users) - 3} more"


@dataclass(slots=True)
class Population:
    """Who there is; numbers are given once, so that a deleted user never comes back."""

    active: set[int]
    inactive: set[int]
    deleted: set[int]

    @classmethod
    def of(cls, users: int) -> Self:
        """Users 1 to `users`, all active."""
        return cls(set(range(1, users + 1)), set(), set())

    def change(self, event: Event) -> None:
        """Let an event change who there is."""
        users = set(event.users)
        if event.kind in {Kind.ADDED, Kind.REACTIVATED}:
            self.active |= users
            self.inactive -= users
        elif event.kind is Kind.DEACTIVATED:
            self.active -= users
            self.inactive |= users
        elif event.kind is Kind.DELETED:
            self.active -= users
            self.inactive -= users
            self.deleted |= users

    @property
    def next_number(self) -> int:
        """The first number that nobody has had."""
        return max(self.active | self.inactive | self.deleted, default=0) + 1


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole soak; the same seed, length and number of users give the same plan.

    At its end the API and the database are well.
    """

    seed: int
    seconds: float
    users: int
    events: tuple[Event, ...]

    @classmethod
    def of(cls, *, seed: int, seconds: float, users: int) -> Self:
        """Draw up the plan of a seed."""

        def drawn(lane: str) -> Random:
            # One for each lane, so that a new kind of event in one leaves the others as they were.
            return Random(f"{seed}/{lane}")

        database = list(_database(drawn("database"), seconds))
        people = _after_outages(_people(drawn("people"), seconds, users), database)
        events = [
            *database,
            *_api(drawn("API"), seconds),
            *people,
            *_workers(drawn("workers"), seconds),
            *_stream(drawn("stream"), seconds),
            *_starts(drawn("starts"), seconds),
        ]
        # Stable: what happens at the same moment stays in the order of the lanes.
        events.sort(key=lambda event: event.at)
        return cls(seed, seconds, users, tuple(events))

    @property
    def population(self) -> Population:
        """Who there is at the end."""
        population = Population.of(self.users)
        for event in self.events:
            population.change(event)
        return population


def _starts(random: Random, seconds: float) -> Iterator[Event]:
    at = 0.0
    while at < seconds:
        yield Event(at, Kind.STARTED if random.random() < 0.85 else Kind.STARTED_TWICE)
        at += random.uniform(3, 6)


def _api(random: Random, seconds: float) -> Iterator[Event]:
    at = random.uniform(2, 8)
    while at < seconds:
        kind = random.choices(
            (Kind.API_ERRORS, Kind.API_THROTTLES, Kind.API_SLOW, Kind.API_DOWN), (5, 2, 2, 1)
        )[0]
        most = {Kind.API_SLOW: 1500.0, Kind.API_DOWN: 0.0}.get(kind, 0.6)
        yield Event(at, kind, amount=random.uniform(most / 10, most), draw=random.getrandbits(31))
        end = min(at + random.uniform(3, 10), seconds)
        yield Event(end, Kind.API_WELL)
        at = end + random.uniform(3, 12)


def _database(random: Random, seconds: float) -> Iterator[Event]:
    at = random.uniform(4, 12)
    while at < seconds:
        yield Event(at, random.choice((Kind.DATABASE_KILLED, Kind.DATABASE_STOPPED)))
        # Most outages are those of a restart; some outlast the patience of a writer.
        away = random.uniform(0, 4) if random.random() < 0.8 else random.uniform(8, 25)
        back = min(at + away, seconds)
        yield Event(back, Kind.DATABASE_BACK)
        at = back + random.uniform(8, 25)


def _workers(random: Random, seconds: float) -> Iterator[Event]:
    at = random.uniform(3, 10)
    while at < seconds:
        yield Event(
            at, Kind.WORKERS_KILLED, amount=random.randint(1, 2), draw=random.getrandbits(31)
        )
        at += random.uniform(6, 18)


def _stream(random: Random, seconds: float) -> Iterator[Event]:
    at = random.uniform(5, 10)
    while at < seconds:
        yield Event(
            at, Kind.REDELIVERED, amount=random.uniform(0.05, 0.5), draw=random.getrandbits(31)
        )
        at += random.uniform(4, 12)


def _people(random: Random, seconds: float, users: int) -> Iterator[Event]:
    population = Population.of(users)
    at = random.uniform(1, 3)
    while at < seconds:
        event = _of_people(random, at, population)
        population.change(event)
        if event.users:
            yield event
        at += random.uniform(0.5, 3)


def _of_people(random: Random, at: float, population: Population) -> Event:
    kind = random.choices(
        (
            Kind.TOUCHED,
            Kind.ODD_ANSWERS,
            Kind.ROWS_REFUSED,
            Kind.ADDED,
            Kind.DEACTIVATED,
            Kind.REACTIVATED,
            Kind.DELETED,
        ),
        (12, 3, 1, 2, 2, 2, 2),
    )[0]
    if kind is Kind.ADDED:
        first = population.next_number
        return Event(at, kind, users=tuple(range(first, first + random.randint(1, 5))))
    among = sorted(population.inactive if kind is Kind.REACTIVATED else population.active)
    most = {Kind.TOUCHED: len(among) // 4, Kind.ODD_ANSWERS: 4, Kind.ROWS_REFUSED: 2}.get(kind, 5)
    count = min(random.randint(1, max(most, 1)), len(among))
    return Event(
        at, kind, users=tuple(sorted(random.sample(among, count))), draw=random.getrandbits(31)
    )


def _after_outages(events: Iterator[Event], database: Sequence[Event]) -> Iterator[Event]:
    """Put off what the database is needed for until it is back."""
    outages = [(away.at, back.at) for away, back in zip(database[::2], database[1::2], strict=True)]
    for event in events:
        at = event.at
        if event.kind.needs_database:
            at = next((back for away, back in outages if away <= at < back), at)
        yield Event(at, event.kind, event.amount, event.users, event.draw)
