"""The run's account: its lease, what was listed, what was written, how it ended.

Every time is the database's: two environments whose clocks differ agree on who holds the lease.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from batch_core.codec import dump_json, parse_json
from batch_core.cursor import cursor_from_json, cursor_to_json
from batch_core.error_classes import cut
from batch_core.errors import SchemaError
from batch_core.limits import MARK_DAYS, REASON_BYTES
from batch_core.outcomes import Tally
from batch_core.ports import LastRun, Lease, Written
from batch_core.upsert import identifier

if TYPE_CHECKING:
    from datetime import datetime

    from batch_core.adapters.mysql_connection import Database, Session
    from batch_core.cursor import Cursor
    from batch_core.ports import Ending, Listing
    from batch_core.run import Run, Slot

# What is forgotten at a time, so that no statement holds locks for long.
_FORGET_RUNS: Final = 20
_FORGET_ROWS: Final = 5_000


_LATELY_LISTED: Final = (
    "SELECT COALESCE(MAX(listed), 0) FROM"
    " (SELECT listed FROM batch_run ORDER BY version DESC LIMIT 10) AS latest"
)


class MySqlRunLedger:
    """The tables `batch_run`, `batch_lease` and `batch_record`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, slot: Slot, *, owner: str, started: datetime, seconds: int, code: str) -> Lease:
        """Take the lease for a slot for `seconds`, or say why not.

        Raises
        ------
        SchemaError
            When the tables are not there: `migrate` was not run.
        """

        def work(session: Session) -> Lease:
            # The lock on the one row makes everything below happen one execution at a time.
            lease = session.row(
                "SELECT fence, version, run_id, expires_at > UTC_TIMESTAMP(3), next_user"
                " FROM batch_lease WHERE id = 1 FOR UPDATE"
            )
            if lease is None:
                raise SchemaError("the table batch_lease is empty; run the function Migrate")
            fence, version = int(lease[0]) + 1, max(slot.version, int(lease[1]) + 1)
            holder, live = lease[2], bool(lease[3])
            began = started.replace(tzinfo=None).isoformat(" ", "milliseconds")
            known = session.row(
                "SELECT owner = %s AND COALESCE(started_at = %s, TRUE) FROM batch_run"
                " WHERE run_id = %s FOR UPDATE",
                (owner, began, slot.run_id),
            )
            if known is not None and not known[0]:
                return Lease(granted=False, reason="duplicate")
            if live and holder != slot.run_id:
                return Lease(granted=False, reason="skipped")
            session.execute(
                "UPDATE batch_lease SET fence = %s, version = %s, run_id = %s,"
                " expires_at = UTC_TIMESTAMP(3) + INTERVAL %s SECOND WHERE id = 1",
                (fence, version, slot.run_id, seconds),
            )
            session.execute(
                "INSERT INTO batch_run"
                " (run_id, version, owner, started_at, code, fence, status, opened_at)"
                " VALUES (%s, %s, %s, %s, %s, %s, 'running', UTC_TIMESTAMP(3))"
                " ON DUPLICATE KEY UPDATE version = VALUES(version), code = VALUES(code),"
                " fence = VALUES(fence), status = 'running'",
                (slot.run_id, version, owner, began, code, fence),
            )
            return Lease(
                granted=True,
                fence=fence,
                version=version,
                start=_read_user(lease[4]),
                last=_last_run(session),
            )

        return self._database.transact(work)

    def listed(self, run: Run, listing: Listing) -> bool:
        """Record what was listed, if the run's last lease is this one; says whether it is."""
        held_back = listing.held_back

        def work(session: Session) -> bool:
            changed = session.execute(
                "UPDATE batch_run SET listed = %s, chunks = %s, backing_off = %s,"
                " quarantined = %s, carried_over = %s, next_user = %s"
                " WHERE run_id = %s AND fence = %s",
                (
                    listing.listed,
                    dump_json(listing.groups).decode(),
                    held_back.backing_off,
                    held_back.quarantined,
                    held_back.carried_over,
                    _written_user(listing.next_user),
                    run.id,
                    run.fence,
                ),
            )
            return changed > 0 or _holds(session, run)

        return self._database.ask(work)

    def written(self, run_id: str, fence: int) -> list[Written]:
        """Tell what was written so far under a lease, for each attempt at each group."""
        # The release before this one writes no fence.
        rows = self._database.ask(
            lambda session: session.rows(
                "SELECT chunk, grp, SUM(`rows`), SUM(`stored`), SUM(kept), SUM(rejected), SUM(gone)"
                " FROM batch_record WHERE run_id = %s AND fence IN (0, %s)"
                " GROUP BY chunk, grp, attempt",
                (run_id, fence),
            )
        )
        return [_written(*map(int, row)) for row in rows]

    def told(self, run_id: str) -> str:
        """What the writer left word of while the run was open; empty when nothing hindered it."""
        row = self._database.ask(
            lambda session: session.row(
                "SELECT reason FROM batch_run WHERE run_id = %s AND closed_at IS NULL", (run_id,)
            )
        )
        return (row and row[0]) or ""

    def close(self, run: Run, ending: Ending) -> bool:
        """Write the run's end, if its last lease is this one; says whether it is.

        If the lease has not expired, it is given back.
        """

        def work(session: Session) -> bool:
            values: dict[str, object] = {
                "status": ending.status,
                "reason": cut(ending.reason, REASON_BYTES),
                "kept": ending.kept,
                "called": ending.called,
                "api_ms": ending.api_ms,
                "stopped": ending.stopped,
                "fault": ending.fault or None,
                **ending.tally.outcomes,
            }
            changes = ", ".join(f"{identifier(name)} = %s" for name in values)
            changed = session.execute(
                f"UPDATE batch_run SET closed_at = UTC_TIMESTAMP(3), {changes}"  # noqa: S608
                " WHERE run_id = %s AND fence = %s",
                (*values.values(), run.id, run.fence),
            )
            if not changed and not _holds(session, run):
                return False
            session.execute(
                "UPDATE batch_lease AS l JOIN batch_run AS r USING (run_id) SET"
                " l.expires_at = UTC_TIMESTAMP(3),"
                " l.next_user = IF(r.listed IS NULL, l.next_user, COALESCE(%s, r.next_user))"
                " WHERE l.id = 1 AND l.run_id = %s AND l.fence = %s"
                " AND l.expires_at > UTC_TIMESTAMP(3)",
                (_written_user(ending.late_user), run.id, run.fence),
            )
            return True

        return self._database.transact(work)

    def lately_listed(self) -> int:
        """How many users the last ten runs listed, the most of any; 0 before the first.

        Raises
        ------
        SchemaError
            When there is no ledger yet.
        """
        ((most,),) = self._database.ask(lambda session: session.rows(_LATELY_LISTED))
        return int(most)

    def forget(self, *, keep_days: int) -> None:
        """Delete runs opened more than `keep_days` ago, with their records, a few at a time."""

        def work(session: Session) -> None:
            old = session.rows(
                "SELECT run_id FROM batch_run"
                " WHERE opened_at < UTC_TIMESTAMP(3) - INTERVAL %s DAY ORDER BY opened_at LIMIT %s",
                (keep_days, _FORGET_RUNS),
            )
            for (run_id,) in old:
                deleted = session.execute(
                    "DELETE FROM batch_record WHERE run_id = %s LIMIT %s", (run_id, _FORGET_ROWS)
                )
                if deleted < _FORGET_ROWS:
                    session.execute("DELETE FROM batch_run WHERE run_id = %s", (run_id,))
            if old:
                # A batch that was replayed after its run was forgotten; names begin with a time.
                session.execute(
                    "DELETE FROM batch_record"
                    " WHERE run_id < (SELECT MIN(run_id) FROM batch_run) LIMIT %s",
                    (_FORGET_ROWS,),
                )
            # Those who recovered, and those who are no longer listed.
            session.execute(
                "DELETE FROM batch_user"
                " WHERE version < (UNIX_TIMESTAMP() - %s * 86400) * 1000 LIMIT %s",
                (max(keep_days, MARK_DAYS), _FORGET_ROWS),
            )

        self._database.ask(work)


def _holds(session: Session, run: Run) -> bool:
    """Whether the run's last lease is this one: a row that was changed to what it was counts 0."""
    return bool(
        session.row("SELECT 1 FROM batch_run WHERE run_id = %s AND fence = %s", (run.id, run.fence))
    )


def _written(
    chunk: int, group: int, rows: int, stored: int, kept: int, rejected: int, gone: int
) -> Written:
    tally = Tally(stored=stored, unchanged=kept, rejected=rejected, gone=gone)
    return Written(chunk, group, rows, tally, kept)


def _last_run(session: Session) -> LastRun | None:
    row = session.row(
        "SELECT api_ms / called, listed FROM batch_run"
        " WHERE closed_at IS NOT NULL AND called > 0 AND fault IS NULL"
        " ORDER BY opened_at DESC LIMIT 1"
    )
    return None if row is None else LastRun(float(row[0]), row[1] or 0)


def _written_user(cursor: Cursor | None) -> str | None:
    """As JSON, which tells kinds apart; the users query compares it as what it is."""
    return None if cursor is None else dump_json(cursor_to_json(cursor)).decode()


def _read_user(text: str | None) -> Cursor | None:
    return None if text is None else cursor_from_json(parse_json(text))
