"""List Users: take the lease of the run, write its users into chunks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Final

from batch_core import chunks, meter, tracing
from batch_core.admission import Admission, Lanes, deal, narrowed, plan
from batch_core.back_off import BackOff
from batch_core.caution import calls_in_vain, caution_of
from batch_core.chunks import Chunk
from batch_core.errors import ConfigurationError, DatabaseError, TransientDatabaseError
from batch_core.failures import Failures
from batch_core.limits import FINISH_SECONDS, LISTING_SECONDS, RUN_SECONDS
from batch_core.observability import logger
from batch_core.outcomes import Tally
from batch_core.ports import (
    Ending,
    HeldBack,
    Lease,
    Listing,
    PayloadStore,
    RunLedger,
    UserSource,
)
from batch_core.run import Run, Slot, instant, milliseconds, slot_of
from batch_core.settings.list_users import ListUsersSettings

# Groups that were running when the machine stopped itself may put a last record on the stream.
LEASE_MARGIN_SECONDS: Final = 10
# A connection that is lost between two rows costs the whole listing; chunks are overwritten.
LISTINGS: Final = 3


@dataclass(frozen=True, slots=True)
class Start:
    """What an execution was started with.

    Parameters
    ----------
    slot
        The run it stands for.
    started
        When the execution began.
    owner
        The execution's name.
    group_size
        Users per invocation.
    everyone
        Whether users that failed are asked for although they are not due, and whether the run goes
        all the way although the API failed for everyone in the last one.
    late
        Whether it was delivered too late to be of use.
    """

    slot: Slot
    started: datetime
    owner: str
    group_size: int
    everyone: bool
    late: bool


@dataclass(frozen=True, slots=True)
class UserLister:
    """What listing needs, made once per execution environment.

    Parameters
    ----------
    query
        The job's users query.
    code
        Names the code that works, for the ledger.
    """

    settings: ListUsersSettings
    query: str
    code: str
    users: UserSource
    ledger: RunLedger
    store: PayloadStore

    def __call__(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Answer the state List Users.

        Raises
        ------
        ConfigurationError
            When the input is wrong.
        JobError, SchemaError
            When the users query does not fit the tables or yields no `user_id`.
        """
        start = read_start(event, self.settings)
        run = Run(
            id=start.slot.run_id,
            version=start.slot.version,
            fence=0,
            group_size=start.group_size,
            requests_per_second=self.settings.api_requests_per_second,
            ends_at=start.started.timestamp() + RUN_SECONDS - FINISH_SECONDS,
        )
        # The workflow's log names the execution alone, and no run.
        logger.append_keys(run_id=run.id, execution=start.owner)
        tracing.annotate(run_id=run.id)
        if start.late:
            return self._not_listed("late", run)
        lease = self.ledger.open(
            start.slot,
            owner=start.owner,
            started=start.started,
            seconds=RUN_SECONDS + LEASE_MARGIN_SECONDS,
            code=self.code,
        )
        if not lease.granted:
            return self._not_listed(lease.reason, run)
        run = replace(run, version=lease.version, fence=lease.fence)
        try:
            return self._list_again_if_need_be(run, lease, start)
        except Exception as error:
            # Nothing was started, so the lease need not bar the next run until it expires. The
            # error that counts is the first one.
            with suppress(DatabaseError):
                reason = f"List Users: {type(error).__name__}: {error}"
                self.ledger.close(run, Ending(status="failed", tally=Tally(), reason=reason))
            raise

    def _not_listed(self, decision: str, run: Run) -> dict[str, Any]:
        logger.info("not listed", decision=decision)
        return answer(decision, run, listed=0, tally=Tally(), pointers=[])

    def _list_again_if_need_be(self, run: Run, lease: Lease, start: Start) -> dict[str, Any]:
        for attempt in range(1, LISTINGS + 1):
            try:
                return self._list(run, lease, start)
            except TransientDatabaseError:
                if attempt == LISTINGS:
                    raise
                meter.count("listings_again")
        raise AssertionError("LISTINGS must be at least 1")

    def _list(self, run: Run, lease: Lease, start: Start) -> dict[str, Any]:
        settings = self.settings
        seconds = RUN_SECONDS - FINISH_SECONDS
        planned = plan(settings, group_size=run.group_size, last=lease.last, seconds=seconds)
        run = replace(run, group_size=planned.group_size)
        admission = Admission(
            # The version may be ahead of every clock, see `Lease`.
            now=min(run.version, milliseconds(start.started)),
            limit=planned.users,
            back_off=None if start.everyone else back_off_of(settings),
            failures=Failures(settings.tenant_id),
        )
        # Where a chunk cannot be written, the rows behind it need not be read.
        with closing(self.users.users(self.query, start=lease.start)) as candidates:
            pointers = [
                self._put(run, n, users)
                for n, users in enumerate(deal(admission(candidates), planned))
            ]
        held_back = admission.held_back
        listing = Listing(
            listed=admission.listed,
            groups=[chunk.groups for chunk in pointers],
            held_back=held_back,
            next_user=admission.next_user,
        )
        if not self.ledger.listed(run, listing):
            # Another attempt took the lease meanwhile and lists the same users.
            return self._not_listed("duplicate", run)
        lanes = narrowed(planned.lanes, calls_in_vain(admission.admitted))
        groups = sum(chunk.groups for chunk in pointers)
        at_once = groups_at_once(lanes, pointers)
        caution = caution_of(admission.admitted, groups=groups, at_once=at_once)
        run = replace(
            run,
            # What one group may ask, when all that run at once share the tenant's rate.
            requests_per_second=settings.api_requests_per_second / at_once,
            first_calls=caution.first,
            later_calls=caution.later,
            fair_seconds=round((seconds - LISTING_SECONDS) / max(ceil(groups / at_once), 1), 3),
        )
        admission.failures.log()
        tally = admission.failures.tally
        logger.info(
            "listed",
            listed=admission.listed,
            admitted=admission.admitted,
            group_size=run.group_size,
            chunks=len(pointers),
            rejected=tally.rejected,
            **asdict(held_back),
        )
        return answer(
            "process",
            run,
            listed=admission.listed,
            tally=tally,
            pointers=pointers,
            held_back=held_back,
            lanes=lanes,
        )

    def _put(self, run: Run, n: int, users: Sequence[bytes]) -> Chunk:
        body, groups, stride = chunks.pack(users, run.group_size)
        chunk = Chunk(n=n, users=len(users), groups=groups, stride=stride, etag="")
        metadata = {"run-id": run.id, "fence": str(run.fence)}
        return replace(chunk, etag=self.store.put(chunk.key(run), body, metadata=metadata))


def read_start(event: Mapping[str, Any], settings: ListUsersSettings) -> Start:
    """Read what the execution was started with.

    Raises
    ------
    ConfigurationError
        Naming the field that is wrong.
    """
    started_at = str(event["started_at"])
    started = instant("started_at", started_at)
    slot = slot_of(settings.tenant_id, event.get("scheduled_time"), started_at)
    patience = number_of(event, "max_age_minutes", least=1, most=1440)
    return Start(
        slot=slot,
        started=started,
        owner=str(event["execution"]),
        group_size=number_of(event, "group_size", least=1, most=1000)
        or settings.users_per_invocation,
        everyone=flag_of(event, "everyone"),
        late=patience is not None and started - slot.at > timedelta(minutes=patience),
    )


def number_of(event: Mapping[str, Any], field: str, *, least: int, most: int) -> int | None:
    """Read a number of the execution's input that may be left out.

    Raises
    ------
    ConfigurationError
        When it is not a whole number in the range.
    """
    value = event.get(field)
    if value is None or (type(value) is int and least <= value <= most):
        return value
    raise ConfigurationError(
        f"{field} in the execution's input is {value!r}; give a whole number from {least} to {most}"
    )


def flag_of(event: Mapping[str, Any], field: str) -> bool:
    """Read a flag of the execution's input that may be left out.

    Raises
    ------
    ConfigurationError
        When it is neither true nor false.
    """
    value = event.get(field)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise ConfigurationError(
        f"{field} in the execution's input is {value!r}; give true or false, or leave it out"
    )


def back_off_of(settings: ListUsersSettings) -> BackOff:
    """The tenant's way with users that fail."""
    return BackOff(
        period=timedelta(minutes=settings.schedule_minutes),
        quarantine_after=settings.quarantine_after,
        quarantine=timedelta(hours=settings.quarantine_hours),
    )


def groups_at_once(lanes: Lanes, pointers: Sequence[Chunk]) -> int:
    """How many groups run at once: no more than there are, and than the Maps run."""
    widest = max((chunk.groups for chunk in pointers), default=1)
    return min(len(pointers) or 1, lanes.chunks) * min(widest, lanes.groups)


_NOBODY: Final = HeldBack()
_ONE: Final = Lanes(1, 1)


def answer(
    decision: str,
    run: Run,
    *,
    listed: int,
    tally: Tally,
    pointers: Iterable[Chunk],
    held_back: HeldBack = _NOBODY,
    lanes: Lanes = _ONE,
) -> dict[str, Any]:
    """What the state hands on."""
    return {
        "decision": decision,
        "run": run.to_json(),
        "listed": listed,
        "tally": tally.to_json(),
        "held_back": asdict(held_back),
        "lanes": asdict(lanes),
        "chunks": [chunk.to_json() for chunk in pointers],
    }
