"""The job's table and what the ledger says of it, written in one transaction."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from batch_core import meter
from batch_core.adapters.mysql_connection import Session
from batch_core.adapters.mysql_parents import Parents, called_gone
from batch_core.adapters.mysql_types import formats_of
from batch_core.error_classes import ErrorClass, cut
from batch_core.errors import (
    AccessError,
    DatabaseError,
    GoneError,
    SchemaError,
    TransientDatabaseError,
    UnknownDatabaseError,
)
from batch_core.job import Table
from batch_core.limits import REASON_BYTES
from batch_core.observability import logger
from batch_core.outcomes import Outcome
from batch_core.records import RejectedRow
from batch_core.upsert import OF_ROWS, Format, Upsert, identifier, isolate
from batch_core.user_state import can_be_marked, marks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from batch_core.adapters.mysql_connection import Database
    from batch_core.records import Place, Record

    type Name = tuple[Place, bool]

# A record that is delivered again overwrites its own line, but a row that it had stored does not
# become one that was kept because a newer run has written it since. Assignments run from left to
# right and see what was assigned before them.
LEDGER: Final = Upsert.of(
    "`batch_record`",
    (
        *("run_id", "fence", "chunk", "grp", "attempt", "part"),
        *("`rows`", "`stored`", "kept", "rejected", "gone"),
    ),
    (
        "`rows`=VALUES(`rows`)",
        "`stored`=LEAST(GREATEST(`stored`,VALUES(`stored`)),VALUES(`stored`)+VALUES(kept))",
        "kept=VALUES(`stored`)+VALUES(kept)-`stored`",
        "rejected=VALUES(rejected)",
        "gone=VALUES(gone)",
    ),
)
# Guarded like the job's table: a mark that arrives late does not undo a newer one.
_USERS: Final = Upsert.guarded(Table("batch_user", ()), ("user_id", "failures", "error", "said"))
_DUE: Final = Upsert.of(
    "`batch_user`", ("user_id", "failures", "error", "version"), ("failures=0",)
)


@dataclass(frozen=True, slots=True)
class _Line:
    """One row on its way into the table."""

    record: Record
    row: tuple[Any, ...]
    upsert: Upsert
    text: bytes

    @property
    def order(self) -> tuple[bool, Any]:
        """By key, so that writers lock rows in the same order; text keys behind numbers."""
        return isinstance(self.row[0], str), self.row[0]


class MySqlRowStore:
    """Guarded bulk upserts; what cannot be stored is found and reported.

    Parameters
    ----------
    users
        The job's users query, which tells among several parents of the key which are the users.
    now
        Seconds since 1970.
    """

    def __init__(
        self, database: Database, *, users: str = "", now: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._now = now
        self._formats: dict[str, Mapping[str, Format]] = {}
        self._users = users

    def write(
        self, table: Table, records: Sequence[Record], *, search: bool = False
    ) -> list[RejectedRow]:
        """Upsert the rows of these records and enter them in the ledger, in one transaction.

        A replayed record is not entered: its run's account is closed. Of a record that comes when
        its run is over, nothing is written if a later run may have found its users unchanged: the
        rows there are the newer ones. Who has such a row in a replayed record is due again.

        Parameters
        ----------
        search
            Whether to look for rows at fault behind an error that is not known to be a row's. One
            is put aside for it only while the table takes a row that it has.

        Returns
        -------
        The rows that cannot be stored, each with its error; they are entered too.

        Raises
        ------
        TransientDatabaseError, SchemaError, AccessError, UnknownDatabaseError
            When nothing of it is stored, retries included. But for the first, the runs know why.
        """
        # A record that was delivered twice counts once; what is replayed of it is another one.
        unique = list({_name(record): record for record in records}.values())
        now = self._now()
        overdue = [record for record in unique if record.is_overdue(now)]
        lines, unwritable = _lines(table, unique, self._formats_of(table.name))

        def work(session: Session) -> tuple[list[RejectedRow], Counter[Name]]:
            writer = _TableWriter(session, table)
            if search:
                writer.allow_search(_column_sets(unique))
            overtaken = _overtaken(session, overdue)
            left = [line for line in lines if _name(line.record) in overtaken]
            current = [line for line in lines if _name(line.record) not in overtaken]
            writer.kept.update(_name(line.record) for line in left)
            rejected = [*unwritable, *self._judged(session, table, _write_lines(writer, current))]
            _mark(session, unique, rejected)
            _make_due(session, [line for line in left if line.record.replayed])
            _enter(session, unique, rejected, writer.kept)
            return rejected, writer.kept

        try:
            rejected, kept = self._database.transact(work)
        except (SchemaError, AccessError, UnknownDatabaseError) as error:
            self._tell(unique, f"Write Rows: {type(error).__name__}: {error}")
            raise
        if kept:
            meter.count("rows_kept", kept.total())
        if overdue:
            logger.info(
                "overdue rows",
                rows=sum(len(record.rows) for record in overdue),
                kept=sum(kept[_name(record)] for record in overdue),
                refused=sum(row.record in overdue for row in rejected),
            )
        return rejected

    def _formats_of(self, table: str) -> Mapping[str, Format]:
        """Look once per environment; a migration brings code, and so a new one."""
        if table not in self._formats:
            found = self._database.ask(lambda session: formats_of(session, table))
            if found is None:
                return {}
            self._formats[table] = found
        return self._formats[table]

    def _judged(
        self, session: Session, table: Table, rejected: list[RejectedRow]
    ) -> list[RejectedRow]:
        """Reject the rows whose users are not gone, though a foreign key does not hold."""
        if not any(row.outcome is Outcome.GONE for row in rejected):
            return rejected
        parents = Parents.of(session, table, self._users)
        known: dict[int, set[str]] = {}
        judged = []
        for row in rejected:
            if row.outcome is not Outcome.GONE:
                judged.append(row)
                continue
            version = row.record.version
            if version not in known:
                gone = (row.row[0] for row in rejected if row.outcome is Outcome.GONE)
                known[version] = called_gone(session, gone, before=version)
            key = parents.violated(row.error)
            if key is None:
                judged.append(replace(row, outcome=Outcome.REJECTED))
            elif str(row.row[0]) in known[version]:
                fault = parents.fault(key)
                judged.append(
                    replace(
                        row,
                        outcome=Outcome.REJECTED,
                        error=f"{ErrorClass.NOT_GONE}: {row.error}; {fault}",
                    )
                )
                _leave_word(session, [row.record], fault)
            else:
                judged.append(row)
        return judged

    def _tell(self, records: Sequence[Record], reason: str) -> None:
        """Leave word for Finish Run, which waits for the rows, if the database takes as much."""
        with suppress(DatabaseError):
            self._database.once(
                lambda connection: _leave_word(Session(connection), records, reason)
            )


def _leave_word(session: Session, records: Sequence[Record], reason: str) -> None:
    """Write into the account of the records' runs, while they are open, what is wrong."""
    if runs := sorted({record.run_id for record in records if not record.replayed}):
        named = ", ".join(["%s"] * len(runs))
        session.execute(
            f"UPDATE batch_run SET reason = %s WHERE closed_at IS NULL AND run_id IN ({named})",  # noqa: S608
            (cut(reason, REASON_BYTES), *runs),
        )


def _overtaken(session: Session, overdue: Sequence[Record]) -> set[Name]:
    """Name the records of which nothing is written, since a later run has the say."""
    if not overdue:
        return set()
    row = session.row(
        "SELECT COALESCE(MAX(version), 0) FROM batch_run WHERE closed_at IS NULL OR unchanged > 0"
    )
    assert row is not None
    return {_name(record) for record in overdue if record.version < int(row[0])}


def _name(record: Record) -> tuple[Place, bool]:
    return record.place, record.replayed


def _column_sets(records: Iterable[Record]) -> set[tuple[str, ...]]:
    """One, but for the minutes in which a deployment replaces one job by the next."""
    return {record.columns for record in records}


def _lines(
    table: Table, records: Sequence[Record], formats: Mapping[str, Format]
) -> tuple[list[_Line], list[RejectedRow]]:
    lines: list[_Line] = []
    rejected: list[RejectedRow] = []
    upserts = {
        columns: Upsert.guarded(table, columns, formats) for columns in _column_sets(records)
    }
    for record in records:
        upsert = upserts[record.columns]
        for row in record.rows:
            if type(row[0]) not in {int, str}:
                fault = f"the key is of type {type(row[0]).__name__}, neither a number nor text"
                rejected.append(RejectedRow(record, row, Outcome.REJECTED, fault))
                continue
            try:
                text = upsert.row((*row, record.version))
                lines.append(_Line(record, row, upsert, text))
            except ValueError as error:
                rejected.append(RejectedRow(record, row, Outcome.REJECTED, str(error)))
    return lines, rejected


class _TableWriter:
    """The job's table in one transaction."""

    def __init__(self, session: Session, table: Table) -> None:
        self._session = session
        self._table = table
        # By columns: which errors one row may be at fault for.
        self._faults: dict[tuple[str, ...], tuple[type[DatabaseError], ...]] = {}
        # Rows that the version's guard did not let through.
        self.kept: Counter[Name] = Counter()

    def allow_search(self, column_sets: Iterable[tuple[str, ...]]) -> None:
        """Find out which errors cannot be the database's or the deployment's fault.

        Where the table takes a row that it has, with the columns of these records, none of them
        can. An empty table proves nothing about the deployment; that the database takes what is
        written, the ledger's line must prove.
        """
        self._session.execute(b"SAVEPOINT batch_search")
        empty = self._session.row(f"SELECT 1 FROM {identifier(self._table.name)} LIMIT 1") is None  # noqa: S608
        for columns in column_sets:
            if empty:
                self._faults[columns] = (*OF_ROWS, UnknownDatabaseError)
            elif self._takes_a_row_again(columns):
                self._faults[columns] = (*OF_ROWS, UnknownDatabaseError, SchemaError, AccessError)

    def _takes_a_row_again(self, columns: tuple[str, ...]) -> bool:
        try:
            self._session.execute(Upsert.unchanged(self._table, columns))
        except TransientDatabaseError:
            raise
        except DatabaseError:
            return False
        finally:
            # Nothing that a trigger did about it may stay.
            with suppress(DatabaseError):
                self._session.execute(b"ROLLBACK TO SAVEPOINT batch_search")
        return True

    def write(self, columns: tuple[str, ...], lines: Sequence[_Line]) -> list[RejectedRow]:
        """Write lines of these columns; gives those that cannot be stored."""
        upsert = Upsert.guarded(self._table, columns)
        faults = self._faults.get(columns, OF_ROWS)

        def act(part: Sequence[_Line]) -> None:
            try:
                written = self._session.upsert(upsert.statement([line.text for line in part]))
            except faults as error:
                if not isinstance(error, OF_ROWS):
                    self._require_transaction()
                raise
            if written < len(part):
                self.kept.update(_kept(self._session, self._table, part))

        rejected: list[RejectedRow] = []
        for part in upsert.split([line.text for line in lines]):
            for line, error in isolate(lines[part], act, faults):
                outcome = Outcome.GONE if isinstance(error, GoneError) else Outcome.REJECTED
                rejected.append(RejectedRow(line.record, line.row, outcome, error.told))
        return rejected

    def _require_transaction(self) -> None:
        """Raise if the error before took the transaction with it: nothing may be written then."""
        try:
            self._session.execute(b"RELEASE SAVEPOINT batch_search")
        except DatabaseError as error:
            raise TransientDatabaseError(f"the transaction was rolled back: {error}") from error
        self._session.execute(b"SAVEPOINT batch_search")


def _write_lines(writer: _TableWriter, lines: Sequence[_Line]) -> list[RejectedRow]:
    rejected: list[RejectedRow] = []
    pending = lines
    while pending:
        newest: dict[Any, _Line] = {}
        older: list[_Line] = []
        for line in pending:
            known = newest.setdefault(line.row[0], line)
            if line.record.version > known.record.version:
                newest[line.row[0]] = line
                older.append(known)
            elif line is not known:
                older.append(line)
        failed = _write_newest(writer, sorted(newest.values(), key=lambda x: x.order))
        rejected.extend(failed)
        # Where the newest row of a user cannot be stored, the one before it gets its chance.
        keys = {row.row[0] for row in failed}
        pending = [line for line in older if line.row[0] in keys]
        writer.kept.update(
            _name(line.record)
            for line in older
            if line.row[0] not in keys and line.record.version < newest[line.row[0]].record.version
        )
    return rejected


def _write_newest(writer: _TableWriter, lines: Sequence[_Line]) -> list[RejectedRow]:
    rejected: list[RejectedRow] = []
    for columns in sorted(_column_sets(line.record for line in lines)):
        same = [line for line in lines if line.record.columns == columns]
        rejected += writer.write(columns, same)
    return rejected


def _kept(session: Session, table: Table, lines: Sequence[_Line]) -> Counter[Name]:
    """Count, for each record, the rows that a newer one kept out.

    The statement that could not write them has locked them, and a locking read sees what is there,
    whatever this transaction has read before.
    """
    kept: Counter[Name] = Counter()
    by_record: dict[Name, list[_Line]] = defaultdict(list)
    for line in lines:
        by_record[_name(line.record)].append(line)
    for name, own in by_record.items():
        keys = ",".join(line.upsert.cell(0, line.row[0]) for line in own)
        row = session.row(
            f"SELECT COUNT(*) FROM {identifier(table.name)} WHERE {identifier(table.key)} IN"  # noqa: S608
            f" ({keys}) AND {identifier(table.version)} > {own[0].record.version:d} FOR UPDATE"
        )
        assert row is not None
        kept[name] += row[0]
    return kept


def _mark(session: Session, records: Sequence[Record], rejected: Sequence[RejectedRow]) -> None:
    marked: dict[str, bytes] = {}
    # The newest mark of a user is the one that stays.
    for record in sorted(records, key=lambda record: record.version):
        for mark in marks_of(record, rejected):
            values = mark.values
            marked[values[0]] = _USERS.row((*values, record.version))
    rows = [row for _, row in sorted(marked.items())]
    for part in _USERS.split(rows):
        session.execute(_USERS.statement(rows[part]))


def _make_due(session: Session, lines: Sequence[_Line]) -> None:
    """Let the next run ask for these users, whatever they failed before."""
    rows = [
        _DUE.row((str(line.row[0]), 0, "", line.record.version))
        for line in lines
        if can_be_marked(line.row[0])
    ]
    for part in _DUE.split(rows):
        session.execute(_DUE.statement(rows[part]))


def _enter(
    session: Session,
    records: Sequence[Record],
    rejected: Sequence[RejectedRow],
    kept: Counter[Name],
) -> None:
    lost = Counter((row.record.place, row.outcome) for row in rejected if not row.record.replayed)
    entries = []
    for record in sorted((record for record in records if not record.replayed), key=_place):
        place, rows = record.place, len(record.rows)
        refused, gone = lost[place, Outcome.REJECTED], lost[place, Outcome.GONE]
        left = kept[_name(record)]
        stored = rows - refused - gone - left
        entries.append(LEDGER.row((*place, rows, stored, left, refused, gone)))
    for part in LEDGER.split(entries):
        session.execute(LEDGER.statement(entries[part]))


def _place(record: Record) -> Place:
    return record.place
