"""Runs in any order, of any slots, that end or die, and whose records come late or twice."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch_core.adapters.mysql_connection import Session
from batch_core.outcomes import Tally
from batch_core.ports import Ending, Written
from batch_core.records import Record
from batch_core.run import Run, Slot
from tests.support.world import TABLE, FakeWorld, MySqlWorld, World

BASE = datetime(2026, 1, 31, 10, tzinfo=UTC)
USERS = range(1, 6)

starts = st.fixed_dictionaries(
    {
        # Of the slot, in minutes: years ahead and before, as earlier releases let them in.
        "at": st.integers(-60, 60) | st.sampled_from([-600_000, 600_000]),
        "users": st.sets(st.sampled_from(USERS)),
        "unchanged": st.integers(0, 1),
        "closes": st.booleans(),
        "late": st.booleans(),
    }
)


@dataclass
class Model:
    """What must be, said as simply as possible."""

    versions: dict[int, int] = field(default_factory=dict)
    # For each run, by its version: whether a later one that is so may have found anybody unchanged.
    silent: dict[int, bool] = field(default_factory=dict)
    stored: dict[int, int] = field(default_factory=dict)

    def deliver(self, record: Record, users: set[int]) -> None:
        version = record.version
        overtaken = record.is_overdue(time.time()) and any(
            silent for other, silent in self.silent.items() if other > version
        )
        mine = {user for user in users if not overtaken and self.versions.get(user, 0) <= version}
        self.versions |= dict.fromkeys(mine, version)
        # What was stored once is not unstored by a second delivery.
        self.stored[version] = max(self.stored.get(version, 0), len(mine))


def plays(world: World, drawn: list[dict[str, Any]]) -> None:
    """Play runs, and hold every lease, count and row to the model."""
    world.people(*USERS)
    model = Model()
    runs: list[Run] = []
    late: list[tuple[Run, Record, set[int]]] = []

    def deliver(run: Run, record: Record, users: set[int]) -> None:
        world.rows.write(TABLE, [record])
        model.deliver(record, users)
        line, stored = world.ledger.written(run.id, run.fence), model.stored[run.version]
        kept = len(users) - stored
        assert line == [Written(0, 0, len(users), Tally(stored=stored, unchanged=kept), kept=kept)]

    for n, start in enumerate(drawn):
        slot = Slot("demo", BASE + timedelta(minutes=start["at"], milliseconds=n))
        lease = world.ledger.open(slot, owner=f"e-{n}", started=BASE, seconds=300, code="c0de")
        assert lease.granted
        assert all((lease.version, lease.fence) > (run.version, run.fence) for run in runs)
        assert all(lease.version > run.version for run in runs)
        run = Run(slot.run_id, lease.version, lease.fence, 100, 0, 0)
        runs.append(run)
        model.silent[run.version] = True
        users: set[int] = start["users"]
        record = record_of(run, users)
        if start["late"]:
            late.append((run, record, users))
        else:
            deliver(run, record, users)
        if start["closes"]:
            ending = Ending("completed", Tally(unchanged=start["unchanged"]), "")
            assert world.ledger.close(run, ending)
            model.silent[run.version] = start["unchanged"] > 0
        world.wait(301)
    for run, record, users in late:
        deliver(run, record, users)
        deliver(run, record, users)

    assert {user: version for user, (version, _) in world.notes().items()} == model.versions


def record_of(run: Run, users: set[int]) -> Record:
    return Record(
        tenant="demo",
        run_id=run.id,
        chunk=0,
        group=0,
        version=run.version,
        trace_id="",
        segment_id="",
        part=0,
        columns=("user_id", *TABLE.columns),
        rows=tuple((user, f"{run.fence}", None) for user in sorted(users)),
        fence=run.fence,
    )


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(drawn=st.lists(starts, min_size=1, max_size=5))
def test_the_run_that_took_the_lease_last_wins_and_no_count_claims_more(
    world: World, drawn: list[dict[str, Any]]
) -> None:
    plays(anew(world), drawn)


def anew(world: World) -> World:
    """The world as it was at first."""
    if not isinstance(world, MySqlWorld):
        return FakeWorld()
    for statement in (
        "DELETE FROM note",
        "DELETE FROM batch_record",
        "DELETE FROM batch_run",
        "UPDATE batch_lease SET fence = 0, version = 0, expires_at = '2000-01-01'",
    ):
        world.database.ask(partial(Session.execute, sql=statement))
    return world
