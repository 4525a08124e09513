"""Finish Run: wait until the ledger balances, then judge the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from batch_core.balance import Balance, Place, awaited_rows, balance
from batch_core.chunks import Chunk, unpack
from batch_core.cursor import Cursor, cursor_from_json, is_cursor
from batch_core.error_classes import cut
from batch_core.errors import DatabaseError, PayloadError
from batch_core.limits import REASON_BYTES
from batch_core.observability import logger
from batch_core.outcomes import Tally
from batch_core.ports import Ending, PayloadStore, RunLedger
from batch_core.run import Run
from batch_core.run_fault import RunFault, fault_of
from batch_core.settings.finish_run import FinishRunSettings

# The writer's mapping polls once a second; past this, rows are late for a reason worth reporting.
WAIT_SECONDS: Final = 45.0
# Left for judging and closing before Lambda ends the invocation.
MARGIN_SECONDS: Final = 5.0
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0

SUPERSEDED: Final = "another attempt of this run has its lease; that one's account counts"

_NAMED: Final = 20
# And a log line that many groups.
_LOGGED: Final = 200


@dataclass(frozen=True, slots=True)
class RunFinisher:
    """What finishing needs, made once per execution environment.

    Parameters
    ----------
    payloads
        Makes the store that holds the chunks; called only when a user's turn never came, since
        loading the AWS SDK takes longer than finishing a run.
    """

    settings: FinishRunSettings
    ledger: RunLedger
    payloads: Callable[[], PayloadStore]
    clock: Callable[[], float] = field(default=time.monotonic)
    sleep: Callable[[float], None] = field(default=time.sleep)

    def __call__(self, event: Mapping[str, Any], *, remaining_seconds: float) -> dict[str, Any]:
        """Answer the state Finish Run.

        Parameters
        ----------
        remaining_seconds
            What is left of the invocation.

        Raises
        ------
        DatabaseError
            When the ledger cannot be read or closed.
        """
        run = Run.from_json(event["run"])
        listed = int(event["listed"])
        promised = Tally.from_json(event["tally"])
        awaited = awaited_rows(event)
        wait = min(WAIT_SECONDS, remaining_seconds - MARGIN_SECONDS)
        found = self._await(run, awaited, promised.queued, wait)
        tally = found.settle(promised)
        unaccounted = listed - tally.settled
        fault = self._fault(event, listed, tally)
        reason = self._judge(event, run, listed, tally, found, fault)
        status = "failed" if reason else "completed"
        ending = Ending(
            status=status,
            tally=tally,
            reason=reason,
            kept=found.kept,
            called=int(event.get("called") or 0),
            api_ms=int(event.get("api_ms") or 0),
            stopped=int(event.get("stopped") or 0),
            late_user=self._first_late(event, run),
            fault=fault.fault if fault else "",
        )
        if not self.ledger.close(run, ending):
            status, reason = "failed", SUPERSEDED
        try:
            self.ledger.forget(keep_days=self.settings.ledger_retention_days)
        except DatabaseError as error:
            # The run is closed whatever becomes of this; the next one forgets what is left.
            logger.warning("old runs are still there", error=str(error))
        _log_failed_groups(event, [place for place, rows in awaited.items() if rows is None])
        return {
            "status": status,
            "run_id": run.id,
            "listed": listed,
            "outcomes": tally.outcomes,
            "kept": found.kept,
            "unaccounted": unaccounted,
            "reason": reason,
            # The workflow ends with it as its error.
            **({"error": fault.fault} if fault else {}),
        }

    def _await(
        self, run: Run, awaited: Mapping[Place, int | None], queued: int, seconds: float
    ) -> Balance:
        """Look until the rows that were queued have arrived, or the time is over."""
        deadline = self.clock() + seconds
        pause = _FIRST_PAUSE
        while True:
            found = balance(awaited, queued, self.ledger.written(run.id, run.fence))
            left = deadline - self.clock()
            if found.complete or left <= 0:
                return found
            self.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _first_late(self, event: Mapping[str, Any], run: Run) -> Cursor | None:
        """The first user, in the order of listing, whose turn never came."""
        late = event.get("late") or []
        if not late:
            return None
        chunk, group = Chunk.from_json(late[0]["chunk"]), int(late[0]["group"])
        number = int(late[0].get("at", 1)) - 1
        try:
            body = self.payloads().get(chunk.key(run), etag=chunk.etag, span=chunk.span(group))
            users = unpack(body, expected=chunk.users_in(group, run.group_size))
        except PayloadError as error:
            # The next run begins where it would have begun anyway.
            logger.warning("the first late user is not known", error=str(error))
            return None
        first = users[min(number, len(users) - 1)]
        cursor = first.user["user_id"] if first.cursor is None else cursor_from_json(first.cursor)
        return cursor if is_cursor(cursor) else None

    def _fault(self, event: Mapping[str, Any], listed: int, tally: Tally) -> RunFault | None:
        return fault_of(
            tally,
            admitted=listed - sum((event.get("held_back") or {}).values()),
            called=int(event.get("called") or 0),
            stopped=int(event.get("stopped") or 0),
            failed_groups=_count(event),
            tolerated=self.settings.max_retry_later_percent,
        )

    def _judge(
        self,
        event: Mapping[str, Any],
        run: Run,
        listed: int,
        tally: Tally,
        found: Balance,
        fault: RunFault | None,
    ) -> str:
        """Say why the run failed, or nothing when it did not."""
        faults = [fault.reason] if fault else []
        if not found.complete:
            silent = [f"{chunk}/{group}" for chunk, group in found.silent]
            faults.append(
                f"{found.missing} rows that were put on the stream have not reached the database; "
                f"groups (chunk/group) that are not complete: {_some(silent)}"
            )
        if listed != tally.settled:
            faults.append(
                f"{listed - tally.settled} of {listed} users are unaccounted for"
                if listed > tally.settled
                else f"{tally.settled} outcomes for {listed} users"
            )
        # The others who were skipped are held back on purpose: at listing, and counted there.
        unasked = tally.skipped - sum((event.get("held_back") or {}).values())
        faults += [
            fault
            for fault in (
                _over("rejected", tally.rejected, listed, self.settings.max_rejected_percent),
                _over(
                    "left for the next run",
                    tally.retry_later + unasked,
                    listed,
                    self.settings.max_retry_later_percent,
                ),
            )
            if fault
        ]
        if not faults:
            return ""
        if word := self.ledger.told(run.id):
            faults.append(word)
        if unasked:
            faults.append(f"{unasked} of them were not asked, since the API failed for everyone")
        if count := _count(event):
            faults.append(f"{count} groups failed")
        faults += [_described(failure) for failure in event.get("failures") or []]
        return cut("; ".join(faults), REASON_BYTES)


def _log_failed_groups(event: Mapping[str, Any], failed: Sequence[Place]) -> None:
    """Name the groups that failed.

    An environment that was killed logs nothing itself, and the workflow's errors alone do not say
    where they were. Causes are left out: their texts may hold what was said of a user.
    """
    if not (count := _count(event)):
        return
    told = {(each.get("chunk"), each.get("group")): each for each in event.get("failures") or []}
    groups = [
        {
            "chunk": chunk,
            "group": group,
            "state": told.get((chunk, group), {}).get("state"),
            "error": told.get((chunk, group), {}).get("error"),
        }
        for chunk, group in failed[:_LOGGED]
    ]
    logger.error("groups failed", count=count, groups=groups)


def _count(event: Mapping[str, Any]) -> int:
    return int(event.get("failed_groups") or 0)


def _over(word: str, count: int, listed: int, percent: float) -> str:
    if count * 100 <= listed * percent:
        return ""
    share = 100 * count / listed if listed else 100
    return f"{count} of {listed} users ({share:.3g} %) are {word}; {percent:g} % are tolerated"


def _described(failure: Mapping[str, Any]) -> str:
    place = f" {failure['chunk']}/{failure['group']}" if "group" in failure else ""
    return f"{failure.get('state')}{place}: {failure.get('error')} {failure.get('cause')}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (" ".join(names[:_NAMED]) or "none") + more
