"""The run's account: its lease, what was listed, what was written, how it ended.

Every time is the database's: two environments whose clocks differ agree on who holds the lease.
"""

from __future__ import annotations

from itertools import batched
from typing import TYPE_CHECKING, Final

from batch_core.codec import dump_json, parse_json
from batch_core.errors import SchemaError
from batch_core.outcomes import Tally
from batch_core.ports import Lease, Written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batch_core.adapters.mysql_connection import Database, Session
    from batch_core.run import Slot

# Pairs of numbers named in one statement; 12 bytes each at most.
_PAIRS: Final = 500
# What is forgotten at a time, so that no statement holds locks for long.
_FORGET_RUNS: Final = 20
_FORGET_ROWS: Final = 5_000
REASON_CHARS: Final = 2_000


class MySqlRunLedger:
    """The tables `batch_run`, `batch_lease` and `batch_record`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, slot: Slot, *, owner: str, seconds: int) -> Lease:
        """Take the lease for a slot for `seconds`, or say why not.

        Raises
        ------
        SchemaError
            When the tables are not there: `migrate` was not run.
        """

        def work(session: Session) -> Lease:
            # The lock on the one row makes everything below happen one execution at a time.
            lease = session.row(
                "SELECT fence, run_id, expires_at > UTC_TIMESTAMP(3) FROM batch_lease"
                " WHERE id = 1 FOR UPDATE"
            )
            if lease is None:
                raise SchemaError("the table batch_lease is empty; run the function Migrate")
            fence, holder, live = int(lease[0]) + 1, lease[1], bool(lease[2])
            known = session.row(
                "SELECT owner FROM batch_run WHERE run_id = %s FOR UPDATE", (slot.run_id,)
            )
            if known is not None and known[0] != owner:
                return Lease(granted=False, reason="duplicate")
            if live and holder != slot.run_id:
                return Lease(granted=False, reason="skipped")
            session.execute(
                "UPDATE batch_lease SET fence = %s, run_id = %s,"
                " expires_at = UTC_TIMESTAMP(3) + INTERVAL %s SECOND WHERE id = 1",
                (fence, slot.run_id, seconds),
            )
            session.execute(
                "INSERT INTO batch_run (run_id, version, owner, fence, status, opened_at)"
                " VALUES (%s, %s, %s, %s, 'running', UTC_TIMESTAMP(3))"
                " ON DUPLICATE KEY UPDATE fence = VALUES(fence), status = 'running'",
                (slot.run_id, slot.version, owner, fence),
            )
            return Lease(granted=True, fence=fence)

        return self._database.transact(work)

    def listed(self, run_id: str, listed: int, *, groups: Sequence[int]) -> None:
        """Record how many users were listed, and how many groups each chunk has."""
        self._database.ask(
            lambda session: session.execute(
                "UPDATE batch_run SET listed = %s, chunks = %s WHERE run_id = %s",
                (listed, dump_json(groups).decode(), run_id),
            )
        )

    def written(self, run_id: str, *, excluding: Sequence[tuple[int, int]] = ()) -> Written:
        """Sum the records written so far, leaving out these (chunk, group) pairs."""

        def work(session: Session) -> Written:
            total = _sum(session, run_id, "", ())
            for pairs in batched(excluding, _PAIRS, strict=False):
                named = ",".join(["(%s,%s)"] * len(pairs))
                part = _sum(
                    session,
                    run_id,
                    f" AND (chunk, grp) IN ({named})",
                    [number for pair in pairs for number in pair],
                )
                total = [all_ - these for all_, these in zip(total, part, strict=True)]
            rows, stored, rejected, gone = total
            return Written(rows, Tally(stored=stored, rejected=rejected, gone=gone))

        return self._database.ask(work)

    def silent_groups(self, run_id: str) -> list[tuple[int, int]]:
        """Name the (chunk, group) pairs of a run of which no record was written."""

        def work(session: Session) -> list[tuple[int, int]]:
            run = session.row("SELECT chunks FROM batch_run WHERE run_id = %s", (run_id,))
            if run is None or run[0] is None:
                return []
            heard = set(
                session.rows(
                    "SELECT DISTINCT chunk, grp FROM batch_record WHERE run_id = %s", (run_id,)
                )
            )
            return [
                (chunk, group)
                for chunk, groups in enumerate(parse_json(run[0]))
                for group in range(groups)
                if (chunk, group) not in heard
            ]

        return self._database.ask(work)

    def close(self, run_id: str, *, status: str, tally: Tally, reason: str) -> None:
        """Write the run's end and give the lease back, if the run still has it."""

        def work(session: Session) -> None:
            counts = ", ".join(f"{name} = %s" for name in tally.outcomes)
            session.execute(
                "UPDATE batch_run SET status = %s, closed_at = UTC_TIMESTAMP(3), reason = %s, "  # noqa: S608
                f"{counts} WHERE run_id = %s",
                (status, reason[:REASON_CHARS], *tally.outcomes.values(), run_id),
            )
            session.execute(
                "UPDATE batch_lease SET expires_at = UTC_TIMESTAMP(3)"
                " WHERE id = 1 AND run_id = %s AND expires_at > UTC_TIMESTAMP(3)",
                (run_id,),
            )

        self._database.transact(work)

    def forget(self, *, keep_days: int) -> None:
        """Delete runs opened more than `keep_days` ago, with their records, a few at a time."""

        def work(session: Session) -> None:
            for (run_id,) in session.rows(
                "SELECT run_id FROM batch_run"
                " WHERE opened_at < UTC_TIMESTAMP(3) - INTERVAL %s DAY ORDER BY opened_at LIMIT %s",
                (keep_days, _FORGET_RUNS),
            ):
                deleted = session.execute(
                    "DELETE FROM batch_record WHERE run_id = %s LIMIT %s", (run_id, _FORGET_ROWS)
                )
                if deleted < _FORGET_ROWS:
                    session.execute("DELETE FROM batch_run WHERE run_id = %s", (run_id,))

        self._database.ask(work)


def _sum(session: Session, run_id: str, condition: str, values: Sequence[int]) -> list[int]:
    row = session.row(
        "SELECT COALESCE(SUM(`rows`), 0), COALESCE(SUM(stored), 0), COALESCE(SUM(rejected), 0),"  # noqa: S608
        " COALESCE(SUM(gone), 0) FROM batch_record WHERE run_id = %s" + condition,
        (run_id, *values),
    )
    assert row is not None
    return [int(value) for value in row]
