"""In-memory implementations of the ports to S3 and to the database."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import md5

from batch_core.cursor import Cursor
from batch_core.errors import (
    AccessError,
    DatabaseError,
    MigrationError,
    PayloadAlteredError,
    PayloadMissingError,
    SchemaError,
    UnknownDatabaseError,
)
from batch_core.job import Table, User
from batch_core.outcomes import Outcome, Tally
from batch_core.ports import (
    Candidate,
    Ending,
    LastRun,
    Lease,
    ListedColumn,
    Listing,
    PayloadStore,
    RowStore,
    RunLedger,
    SchemaStore,
    ServerFacts,
    SqlFile,
    TableFacts,
    UserSource,
    Written,
)
from batch_core.records import Place, Record, RejectedRow
from batch_core.run import Run, Slot
from batch_core.user_state import marks_of


class FakePayloadStore(PayloadStore):
    """A bucket whose objects can be looked at and tampered with."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.metadata: dict[str, Mapping[str, str]] = {}
        self.reads: list[tuple[str, tuple[int, int] | None]] = []

    def put(self, key: str, body: bytes, *, metadata: Mapping[str, str]) -> str:
        self.objects[key] = body
        self.metadata[key] = metadata
        return self.etag(key)

    def put_new(self, key: str, body: bytes, *, metadata: Mapping[str, str]) -> bool:
        if key not in self.objects:
            self.put(key, body, metadata=metadata)
        return self.objects[key] == body

    def get(
        self, key: str, *, etag: str | None = None, span: tuple[int, int] | None = None
    ) -> bytes:
        self.reads.append((key, span))
        if key not in self.objects:
            raise PayloadMissingError(f"the object {key} is not there")
        if etag is not None and etag != self.etag(key):
            raise PayloadAlteredError(f"the object {key} is not the one expected")
        body = self.objects[key]
        if span is None:
            return body
        if span[1] > len(body):
            raise PayloadAlteredError(f"the object {key} ends before {span[1]}")
        return body[span[0] : span[1]]

    def etag(self, key: str) -> str:
        return md5(self.objects[key], usedforsecurity=False).hexdigest()


@dataclass
class FakeRun:
    """What is known about a run."""

    owner: str
    code: str
    opened_at: float
    started: datetime | None = None
    fence: int = 0
    version: int = 0
    status: str = "running"
    told: str = ""
    listing: Listing | None = None
    ending: Ending | None = None


@dataclass
class FakeDatabase:
    """One tenant's schema, shared by the fakes below.

    Parameters
    ----------
    parents
        The users that exist; None when the table has no foreign key.
    refuses
        Says why a row cannot be stored, or None.
    outages
        Raised, one after the other, instead of answering.
    """

    now: float = 0.0
    parents: set[object] | None = None
    refuses: Callable[[Mapping[str, object]], str | None] = lambda _: None
    outages: list[DatabaseError] = field(default_factory=list)
    table: dict[object, tuple[int, dict[str, object]]] = field(default_factory=dict)
    records: dict[Place, Tally] = field(default_factory=dict)
    runs: dict[str, FakeRun] = field(default_factory=dict)
    fence: int = 0
    version: int = 0
    holder: str = ""
    expires_at: float = 0.0
    next_user: Cursor | None = None
    users: dict[str, tuple[int, int, str]] = field(default_factory=dict)

    def counts(self, version: int) -> bool:
        """Whether the marks of the run with this version count."""
        ran = [run.ending for run in self.runs.values() if run.version == version]
        return all(ending is not None and not ending.fault for ending in ran)

    def answer(self) -> None:
        if self.outages:
            raise self.outages.pop(0)


class FakeUserSource(UserSource):
    """A users query with an answer of any length; `fault` is raised behind its last row.

    `known` are the failures of a user and the version of the last one; with a `database` it is
    what that one remembers.
    """

    def __init__(
        self,
        users: Sequence[User],
        *,
        fault: Exception | None = None,
        known: Mapping[object, tuple[int, int]] | None = None,
        database: FakeDatabase | None = None,
    ) -> None:
        self.rows = users
        self.fault = fault
        self.known = dict(known or {})
        self.database = database
        self.queries: list[str] = []

    def users(self, query: str, *, start: Cursor | None = None) -> Generator[Candidate]:
        self.queries.append(query)
        before = [user for user in self.rows if start is not None and user["user_id"] < start]
        behind = [user for user in self.rows if start is None or user["user_id"] >= start]
        for user in [*behind, *before]:
            yield Candidate(dict(user), *self._known(user.get("user_id")))
        if self.fault is not None:
            raise self.fault

    def _known(self, user_id: object) -> tuple[int, int]:
        if self.database is None:
            return self.known.get(user_id, (0, 0))
        version, failures, _ = self.database.users.get(str(user_id), (0, 0, ""))
        void = failures > 0 and not self.database.counts(version)
        return failures - void, version


class FakeRunLedger(RunLedger):
    """The run's account in a fake database."""

    def __init__(self, database: FakeDatabase) -> None:
        self.database = database

    def open(self, slot: Slot, *, owner: str, started: datetime, seconds: int, code: str) -> Lease:
        db = self.database
        db.answer()
        run = db.runs.get(slot.run_id)
        if run is not None and (run.owner, run.started) != (owner, started):
            return Lease(granted=False, reason="duplicate")
        if db.expires_at > db.now and db.holder != slot.run_id:
            return Lease(granted=False, reason="skipped")
        db.fence += 1
        db.version = max(slot.version, db.version + 1)
        db.holder, db.expires_at = slot.run_id, db.now + seconds
        run = db.runs.setdefault(slot.run_id, FakeRun(owner, code, db.now, started))
        run.status, run.code = "running", code
        run.fence, run.version = db.fence, db.version
        run.version = db.version
        return Lease(
            granted=True,
            fence=db.fence,
            version=db.version,
            start=db.next_user,
            last=self._last(),
        )

    def _last(self) -> LastRun | None:
        for run in reversed(self.database.runs.values()):
            ending = run.ending
            if ending is not None and ending.called and not ending.fault:
                listed = run.listing.listed if run.listing else 0
                return LastRun(ending.api_ms / ending.called, listed)
        return None

    def lately_listed(self) -> int:
        latest = list(self.database.runs.values())[-10:]
        return max((run.listing.listed for run in latest if run.listing), default=0)

    def listed(self, run: Run, listing: Listing) -> bool:
        self.database.answer()
        known = self.database.runs.get(run.id)
        if known is None or known.fence != run.fence:
            return False
        known.listing = listing
        return True

    def written(self, run_id: str, fence: int) -> list[Written]:
        self.database.answer()
        attempts: dict[tuple[int, int, int], Written] = {}
        for (run, lease, chunk, group, attempt, _), line in self.database.records.items():
            if run == run_id and lease in {0, fence}:
                known = attempts.get((chunk, group, attempt), Written(chunk, group, 0, Tally()))
                attempts[chunk, group, attempt] = Written(
                    chunk,
                    group,
                    known.rows + line.settled,
                    known.tally + line,
                    known.kept + line.unchanged,
                )
        return list(attempts.values())

    def told(self, run_id: str) -> str:
        run = self.database.runs.get(run_id)
        return run.told if run is not None and run.ending is None else ""

    def close(self, run: Run, ending: Ending) -> bool:
        db = self.database
        db.answer()
        known = db.runs.get(run.id)
        if known is None or known.fence != run.fence:
            return False
        known.status, known.ending = ending.status, ending
        if db.holder == run.id and db.fence == run.fence and db.expires_at > db.now:
            db.expires_at = db.now
            if known.listing is not None:
                late = ending.late_user
                db.next_user = known.listing.next_user if late is None else late
        return True

    def forget(self, *, keep_days: int) -> None:
        db = self.database
        db.answer()
        old = {i for i, run in db.runs.items() if run.opened_at < db.now - keep_days * 86_400}
        if old:
            old |= {place[0] for place in db.records if place[0] not in db.runs}
        db.runs = {i: run for i, run in db.runs.items() if i not in old}
        db.records = {place: entry for place, entry in db.records.items() if place[0] not in old}


class FakeRowStore(RowStore):
    """The job's table in a fake database."""

    def __init__(self, database: FakeDatabase) -> None:
        self.database = database
        self.now = time.time()
        self.writes: list[Sequence[Record]] = []
        self.searches: list[bool] = []

    def write(
        self, table: Table, records: Sequence[Record], *, search: bool = False
    ) -> list[RejectedRow]:
        self.writes.append(records)
        self.searches.append(search)
        try:
            return self._write(table, records)
        except (SchemaError, AccessError, UnknownDatabaseError) as error:
            for record in records:
                if record.run_id in self.database.runs and not record.replayed:
                    told = f"Write Rows: {type(error).__name__}: {error}"
                    self.database.runs[record.run_id].told = told
            raise

    def _write(self, table: Table, records: Sequence[Record]) -> list[RejectedRow]:
        self.database.answer()
        rejected: list[RejectedRow] = []
        unique = {(record.place, record.replayed): record for record in records}
        for record in sorted(unique.values(), key=lambda record: -record.version):
            outcomes = []
            overtaken = self._is_overtaken(record)
            for row in record.rows:
                outcome, error = (Outcome.UNCHANGED, "") if overtaken else self._store(record, row)
                if overtaken and record.replayed:
                    known = self.database.users.get(str(row[0]), (record.version, 0, ""))
                    self.database.users[str(row[0])] = (known[0], 0, known[2])
                outcomes.append(outcome)
                if error:
                    rejected.append(RejectedRow(record, row, outcome, error))
            for mark in marks_of(record, rejected):
                user_id, failures, error, _said = mark.values
                if record.version > self.database.users.get(user_id, (-1,))[0]:
                    self.database.users[user_id] = (record.version, failures, error)
            if not record.replayed:
                self._enter(record, Tally.of(outcomes))
        return rejected

    def _is_overtaken(self, record: Record) -> bool:
        return record.is_overdue(self.now) and any(
            run.version > record.version and (run.ending is None or run.ending.tally.unchanged)
            for run in self.database.runs.values()
        )

    def _enter(self, record: Record, line: Tally) -> None:
        """What was stored once stays so, though a newer run has written the row since."""
        written = line.stored + line.unchanged
        before = self.database.records.get(record.place, Tally()).stored
        stored = min(max(before, line.stored), written)
        self.database.records[record.place] = replace(
            line, stored=stored, unchanged=written - stored
        )

    def _store(self, record: Record, row: Sequence[object]) -> tuple[Outcome, str]:
        db, values = self.database, dict(zip(record.columns, row, strict=True))
        key = row[0]
        if type(key) not in {int, str}:
            return Outcome.REJECTED, "the key is neither a number nor text"
        if db.parents is not None and key not in db.parents:
            version, _, word = db.users.get(str(key), (record.version, 0, ""))
            if word in {"gone", "not_gone"} and version < record.version:
                return Outcome.REJECTED, "not_gone: 1452: the user is listed again"
            return Outcome.GONE, "1452: the user is gone"
        if error := db.refuses(values):
            return Outcome.REJECTED, error
        if key in db.table and db.table[key][0] > record.version:
            return Outcome.UNCHANGED, ""
        if key not in db.table or record.version > db.table[key][0]:
            db.table[key] = (record.version, values)
        return Outcome.STORED, ""


class FakeSchemaStore(SchemaStore):
    """Remembers statements; one that holds the word TABEL fails."""

    def __init__(self, facts: Mapping[str, TableFacts] | None = None) -> None:
        self.statements: list[str] = []
        self.tables = dict(facts or {})
        self.server_facts = ServerFacts(
            version="8.0.39",
            sql_mode="STRICT_TRANS_TABLES",
            character_set="utf8mb4",
            collation="utf8mb4_0900_ai_ci",
            rights=frozenset({"ALTER", "CREATE", "DELETE", "INDEX", "INSERT", "SELECT", "UPDATE"}),
        )
        self.columns = {"user_id": ListedColumn("bigint")}
        self._applied: dict[tuple[str, int], tuple[tuple[str, ...], bool]] = {}

    def migrate(self, files: Sequence[SqlFile]) -> list[str]:
        return [f"{file.source}/{file.name}" for file in files if self._apply(file)]

    def facts(self, table: str) -> TableFacts | None:
        return self.tables.get(table)

    def server(self) -> ServerFacts:
        return self.server_facts

    def strangers(self, table: Table, query: str) -> list[str]:
        return [f"{query}: {table.name}"] if "STRANGER" in query else []

    def listed(self, query: str) -> Mapping[str, ListedColumn]:
        if "TABEL" in query:
            raise SchemaError("1064: near TABEL")
        return self.columns

    def _apply(self, file: SqlFile) -> bool:
        done, complete = self._applied.get((file.source, file.number), ((), False))
        if file.statements[: len(done)] != done or (complete and file.statements != done):
            raise MigrationError(f"{file.source}/{file.name} has changed since it was applied")
        if complete:
            return False
        for number, statement in enumerate(file.statements[len(done) :], start=len(done) + 1):
            if "TABEL" in statement:
                raise MigrationError(f"{file.source}/{file.name}, statement {number}, failed")
            self.statements.append(statement)
            applied = file.statements[:number]
            self._applied[file.source, file.number] = (applied, applied == file.statements)
        if not file.statements:
            self._applied[file.source, file.number] = ((), True)
        return True
