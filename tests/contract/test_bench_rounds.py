"""What a round of the bench finds in the ledger: as much as in the middle of a day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from batch_core.outcomes import Tally
from batch_core.ports import Ending, LastRun
from batch_core.run import Run, Slot
from batchctl.bench.place import remember_one_run
from tests.support.databases import Schema
from tests.support.world import MySqlWorld

TEN = Slot("demo", datetime(2026, 1, 31, 10, tzinfo=UTC))
LATER = Slot("demo", TEN.at + timedelta(minutes=5))


def test_a_round_knows_how_many_users_come_and_not_how_slow_the_last_one_was(
    mysql_world: MySqlWorld, schema: Schema
) -> None:
    ledger = mysql_world.ledger
    ledger.open(TEN, owner="a", started=TEN.at, seconds=300, code="c0de")
    run = Run(TEN.run_id, TEN.version, 1, 100, 0.0, 0.0)
    ledger.close(run, Ending("completed", Tally(), "", called=10, api_ms=9_000_000))

    with schema.connect() as connection:
        remember_one_run(connection, 300)

    lease = ledger.open(LATER, owner="b", started=LATER.at, seconds=300, code="c0de")
    assert lease.last == LastRun(user_ms=0.0, listed=300)
