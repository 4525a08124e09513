"""What the pure code asks of the outside world.

Adapters implement these against AWS, MySQL and HTTP; the tests' fakes implement them in memory,
and one contract suite runs on both.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from batch_core.cursor import Cursor
from batch_core.job import Request, Response, Table, User
from batch_core.outcomes import Outcome, Tally
from batch_core.records import Record, RejectedRow
from batch_core.retry import Setback
from batch_core.run import Run, Slot


class PayloadStore(Protocol):
    """Immutable objects in the payload bucket."""

    def put(self, key: str, body: bytes, *, metadata: Mapping[str, str]) -> str:
        """Write an object and return its ETag; the same key may be overwritten by a retry."""
        ...

    def put_new(self, key: str, body: bytes, *, metadata: Mapping[str, str]) -> bool:
        """Write an object unless there is one; returns whether it is the one that is there now.

        Of several that write at once one alone is told True.
        """
        ...

    def get(
        self, key: str, *, etag: str | None = None, span: tuple[int, int] | None = None
    ) -> bytes:
        """Read an object, or the bytes `span[0]` up to but not including `span[1]`.

        Raises
        ------
        PayloadMissingError
            When there is no such object.
        PayloadAlteredError
            When its ETag is not `etag`.
        """
        ...


class RecordStream(Protocol):
    """The stream between the workflow and the writer."""

    def put(self, records: Sequence[tuple[str, bytes]]) -> None:
        """Put (partition key, data) pairs on the stream, each at least once.

        Raises
        ------
        StreamError
            When some are still refused after the retries; says how many.
        """
        ...


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that gave no usable answer."""

    outcome: Outcome
    error: str  # short class name such as "http_404", "timeout", "too_large"


LATE: Final = Failure(Outcome.RETRY_LATER, "deadline")
"""The run's time was over before there was an answer."""

BREAKER_OPEN: Final = Failure(Outcome.SKIPPED, "breaker_open")
"""Never asked about, because the API answers nobody."""

PERHAPS_SENT: Final = Failure(Outcome.RETRY_LATER, "perhaps_sent")
"""Not to be sent twice, and an earlier attempt of the run, which died, may have sent it."""

type Answer = Response | Failure | None
"""None is "not modified"."""


class CallBreaker(Protocol):
    """Says when the API may be asked; a client obeys and does not judge."""

    served: bool
    """Whether the API is known to answer."""

    def begin(self, *, again: bool) -> float | None:
        """Ask to make a call, which `heard` or `withdraw` ends.

        Returns 0 when it may be made now, else the seconds to wait before asking again; None when
        there is nothing to wait for. `again` says that its user was asked before.
        """
        ...

    def withdraw(self) -> None:
        """Take back a call that was begun and is not made."""
        ...

    def heard(self, result: Answer | Setback, *, counts: bool) -> None:
        """Take in what a call came to, and whether a failure says anything about the API."""
        ...


class ApiClient(Protocol):
    """The outside API."""

    def call(
        self,
        requests: Sequence[Request],
        *,
        seconds: float,
        fair_seconds: float,
        requests_per_second: float,
        breaker: CallBreaker,
        doubtful: Collection[int] = (),
    ) -> Iterator[tuple[int, Answer]]:
        """Make the calls, many at once, within `seconds`.

        Yields the place of each request and its answer, as they come and keeping none of them.
        While its caller is busy nothing more is sent.

        Parameters
        ----------
        requests
            In the order to make them. While it is not known whether the API answers they are
            picked at random, since neighbours may share a fault.
        fair_seconds
            What the group may take so that the others have their turn: beyond it nothing is tried
            again, and a call that takes far longer than others did is given up.
        breaker
            Once it allows nothing more, who was never asked about is `BREAKER_OPEN`.
        doubtful
            The places of those known to fail. They are asked early, so that those who take long
            take it beside the others, and prove nothing about the API.

        Never raises for what the API does: that is a :class:`Failure`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row of the users query, with what earlier runs say about the user.

    `failed_at` is the version of the run in which the last of the `failures` in a row happened.
    """

    user: User
    failures: int = 0
    failed_at: int = 0


class UserSource(Protocol):
    """The users query.

    A user's failures are what the marks of earlier runs say. The mark of a run that had a fault as
    a whole, or that never came to its end, counts one failure less: the one that it added.
    """

    def users(self, query: str, *, start: Cursor | None = None) -> Generator[Candidate]:
        """Stream the rows of the query with flat memory, ordered by `user_id`.

        Those from `start` on come first, those before it behind them. Closed before its end, it
        reads no more.
        """
        ...


@dataclass(frozen=True, slots=True)
class LastRun:
    """What the last run that served its users found.

    Parameters
    ----------
    user_ms
        Milliseconds of a lane's time that a user took on average; 0 says nothing.
    listed
        How many users it listed.
    """

    user_ms: float
    listed: int


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to process a slot, or the reason why not.

    Parameters
    ----------
    reason
        "duplicate" or "skipped", when it is not granted.
    fence, version
        Each higher than those of every lease before.
    start
        The user to begin with; None is the first.
    last
        None when there was no run before.
    """

    granted: bool
    fence: int = 0
    version: int = 0
    reason: str = ""
    start: Cursor | None = None
    last: LastRun | None = None


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Listed users that the run does not ask for, on purpose."""

    backing_off: int = 0
    quarantined: int = 0
    carried_over: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """What a run listed.

    Parameters
    ----------
    listed
        All users of the query.
    groups
        Groups per chunk.
    next_user
        The first of those carried over to the next run, if any.
    """

    listed: int
    groups: Sequence[int]
    held_back: HeldBack
    next_user: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended.

    Parameters
    ----------
    kept
        Rows that were not written since a newer run has the say.
    called, api_ms
        Users whose calls were made, and the milliseconds that their groups took all together.
    stopped
        Users who lost their turn because the API failed for everyone.
    late_user
        The first whose turn never came, if there is one: the next run begins with it.
    fault
        The word for what was wrong with the run as a whole, if that was so: it marks nobody then.
    """

    status: str
    tally: Tally
    reason: str
    kept: int = 0
    called: int = 0
    api_ms: int = 0
    stopped: int = 0
    late_user: Cursor | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """What the ledger has of one attempt at a group.

    Parameters
    ----------
    rows
        How many arrived.
    tally
        What became of them.
    kept
        How many of them were not written since a newer run has the say; they are `unchanged`.
    """

    chunk: int
    group: int
    rows: int
    tally: Tally
    kept: int = 0


class RunLedger(Protocol):
    """The run's account in the database."""

    def open(self, slot: Slot, *, owner: str, started: datetime, seconds: int, code: str) -> Lease:
        """Take the lease for a slot for `seconds`, noting which code works.

        An execution is known by its name, `owner`, and by its start: the same one asking again (a
        retry) gets the lease again with a higher fence. A slot that was opened by another execution
        is a "duplicate"; a slot while another one is being processed is "skipped".
        """
        ...

    def listed(self, run: Run, listing: Listing) -> bool:
        """Record what was listed, if the run's last lease is this one; says whether it is."""
        ...

    def written(self, run_id: str, fence: int) -> list[Written]:
        """Tell what was written so far under a lease, for each attempt at each group."""
        ...

    def told(self, run_id: str) -> str:
        """What the writer left word of while the run was open; empty when nothing hindered it."""
        ...

    def close(self, run: Run, ending: Ending) -> bool:
        """Write the run's end, if its last lease is this one; says whether it is.

        If the lease has not expired, it is given back.

        The next run begins with the late user, or else with the first who was carried over. A run
        that listed nobody leaves the beginning where it was.
        """
        ...

    def lately_listed(self) -> int:
        """How many users the last ten runs listed, the most of any; 0 before the first.

        Raises
        ------
        SchemaError
            When there is no ledger yet.
        """
        ...

    def forget(self, *, keep_days: int) -> None:
        """Delete some of the runs opened more than `keep_days` ago, with their records."""
        ...


class RowStore(Protocol):
    """The job's table and the ledger's records, written together."""

    def write(
        self, table: Table, records: Sequence[Record], *, search: bool = False
    ) -> list[RejectedRow]:
        """Upsert the rows of these records and enter them in the ledger, in one transaction.

        A replayed record is not entered: its run's account is closed. Of a record that comes when
        its run is over, nothing is written if a later run may have found its users unchanged; who
        has such a row in a replayed record is due again.

        `search` looks for rows at fault behind errors, too, that are not known to be a row's.

        Raises
        ------
        TransientDatabaseError, SchemaError, AccessError, UnknownDatabaseError
            When nothing of it is stored. But for the first, the runs know why.
        """
        ...


@dataclass(frozen=True, slots=True)
class SqlFile:
    """A numbered SQL file, cut into statements."""

    source: str  # "batch_core" or "job"; each has numbers of its own
    number: int
    name: str
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """What the database says about a column.

    Parameters
    ----------
    type, declared
        Such as "varchar" and "varchar(18)", in lower case.
    required
        Whether a row that does not name the column is refused.
    generated
        Whether it is worked out from other columns.
    counts
        Whether it gives itself numbers (AUTO_INCREMENT).
    charset, collation
        None unless it holds text.
    """

    name: str
    type: str
    declared: str
    nullable: bool = False
    required: bool = False
    generated: bool = False
    counts: bool = False
    charset: str | None = None
    collation: str | None = None


@dataclass(frozen=True, slots=True)
class UniqueKey:
    """A unique key; `prefix_of` is a column of which it holds the beginning only."""

    columns: tuple[str, ...]
    prefix_of: str | None = None


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What the database says about a table.

    Parameters
    ----------
    columns
        By name.
    referring
        The columns that are a foreign key by themselves.
    triggers_before
        The statements of the triggers that may change a row before it is stored, by name.
    exact_collation
        The collation of this server under which every two texts that differ are told apart.
    """

    engine: str
    columns: Mapping[str, ColumnFacts]
    unique_keys: tuple[UniqueKey, ...]
    exact_collation: str
    referring: frozenset[str] = frozenset()
    triggers_before: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What the database says about itself, the schema, and the user who asks.

    Parameters
    ----------
    character_set, collation
        What tables of the schema get that name none.
    rights
        What the user may do in the whole schema, in capitals as in a GRANT.
    role
        The role through which the user may do more than that, if there is one; else empty.
    """

    version: str
    sql_mode: str
    character_set: str
    collation: str
    rights: frozenset[str]
    role: str = ""


@dataclass(frozen=True, slots=True)
class ListedColumn:
    """What the database says about a column of the users query.

    Parameters
    ----------
    type
        As in :class:`ColumnFacts`; None when its values have no JSON form.
    scale
        Digits behind the point.
    """

    type: str | None
    scale: int = 0


class SchemaStore(Protocol):
    """The numbered SQL files that were applied."""

    def strangers(self, table: Table, query: str) -> list[str]:
        """Name the foreign keys to the users that listed users do not satisfy, and how many."""
        ...

    def migrate(self, files: Sequence[SqlFile]) -> list[str]:
        """Apply files once each, in order, under a lock.

        Returns the names of those applied now.

        Raises
        ------
        MigrationError
            When a statement fails, when an applied file has changed since, or when the lock is
            taken.
        """
        ...

    def facts(self, table: str) -> TableFacts | None:
        """Describe a table, or None when there is none of that name."""
        ...

    def server(self) -> ServerFacts:
        """Describe the server, the schema and the user; changes nothing, and tries once.

        Raises
        ------
        DatabaseError, ConfigurationError
            When there is no connection, or the server is one that must not be used.
        """
        ...

    def listed(self, query: str) -> Mapping[str, ListedColumn]:
        """Describe the columns of the users query.

        Raises
        ------
        DatabaseError
            When the database refuses it.
        """
        ...
