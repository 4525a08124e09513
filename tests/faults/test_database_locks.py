"""Others hold what the writer wants: rows, deadlocks, and tables that are being changed."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from batch_core import meter
from batch_core.adapters import mysql_schema
from batch_core.adapters.mysql_connection import Connection, Database
from batch_core.adapters.mysql_schema import MySqlSchemaStore
from batch_core.ports import SqlFile
from batch_core.records import Record
from batchctl.local import processes
from batchctl.local.sql_server import series
from tests.faults.conftest import Lab
from tests.support.clock import Clock
from tests.support.databases import DatabaseServer, Schema
from tests.support.deliveries import Deliveries, writer

USERS = range(1, 41)
WRITERS = 6


@pytest.fixture
def other(own_schema: Schema) -> Iterator[Connection]:
    """Open a second session with the tenant's rights."""
    with own_schema.connect() as connection:
        yield connection


def hold(other: Connection, *statements: str) -> None:
    """Begin a transaction that holds what these statements lock."""
    other.begin()
    with other.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.mark.fault(47)
def test_the_victim_of_a_deadlock_writes_all_of_its_batch_again(
    deliveries: Deliveries,
    own_server: DatabaseServer,
    own_schema: Schema,
    database: Database,
    other: Connection,
    lab: Lab,
) -> None:
    deliveries.deliver(deliveries.record(USERS, 1))
    batch = deliveries.record(USERS, 2)
    # Many changed rows make the other one too costly a victim.
    hold(
        other,
        "CREATE TEMPORARY TABLE weight (n INT) ENGINE = InnoDB",
        f"INSERT INTO weight SELECT seq FROM {series(1, 5_000)}",
        "UPDATE note SET text = text WHERE user_id = 40",
    )

    def cross() -> None:
        assert processes.wait_for(own_server.waits_for_a_lock, deadline_s=20)
        with other.cursor() as cursor:
            cursor.execute("UPDATE note SET text = text WHERE user_id = 1")
        other.commit()

    meter.reset()
    with ThreadPoolExecutor(1) as pool:
        crossing = pool.submit(cross)
        deliveries.deliver(batch)
        crossing.result()

    assert meter.reading()["db_retries"] == 1
    lab.report("crossed locks, the writer is the victim", times=1, **deliveries.figures())


def deadlocks(server: DatabaseServer) -> int:
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT `COUNT` FROM information_schema.INNODB_METRICS WHERE NAME = 'lock_deadlocks'"
        )
        ((number,),) = cursor.fetchall()
    return int(number)


@pytest.mark.fault(47)
def test_a_storm_of_writers_over_the_same_rows_loses_none_and_hardly_ever_deadlocks(
    own_server: DatabaseServer, own_schema: Schema, lab: Lab
) -> None:
    shuffled = random.Random(7)
    storm = Deliveries(own_schema, writer(own_schema.reach()))

    def record(version: int) -> Record:
        return storm.record(shuffled.sample(range(1, 101), 60), version)

    batches = [[record(2 * n), record(2 * n + 1)] for n in range(1, 10 * WRITERS + 1)]
    shuffled.shuffle(batches)
    before = deadlocks(own_server)
    together = threading.Barrier(WRITERS)

    def write(mine: list[list[Record]]) -> None:
        database = own_schema.reach()
        together.wait(20)
        for batch in mine:
            storm.deliver(*batch, to=writer(database))
        database.discard()

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, [batches[n::WRITERS] for n in range(WRITERS)]))

    # Unsorted, two transactions of three would have. On MySQL those that insert the first rows of
    # an empty table meet in its gaps now and then.
    assert deadlocks(own_server) - before <= len(batches) // 4
    lab.report(f"{WRITERS} writers over 100 hot rows", times=len(batches), **storm.figures())
    storm.close()


@pytest.mark.fault(48)
def test_a_row_that_is_held_too_long_is_asked_for_again_with_nothing_half_written(
    deliveries: Deliveries,
    own_server: DatabaseServer,
    own_schema: Schema,
    clock: Clock,
    other: Connection,
    lab: Lab,
) -> None:
    # The row that is held is met by the second statement of the batch.
    deliveries.deliver(deliveries.record(range(1, 1_001), 1))
    batch = [deliveries.record(range(1, 1_001), 2), deliveries.record([2_000], 3)]
    hold(other, "UPDATE note SET text = text WHERE user_id = 1000")
    seen: list[int] = []

    def let_go() -> None:
        seen.append(own_server.open_transactions())
        other.rollback()

    clock.at(0, let_go)
    # Only the statement is rolled back by the server; the rest is the writer's to undo.
    waiting = own_schema.reach(clock=clock, sleep=clock.sleep)
    waiting.ask(lambda s: s.execute("SET SESSION innodb_lock_wait_timeout = 1"))
    meter.reset()
    deliveries.deliver(*batch, to=writer(waiting))

    assert seen == [1]  # the other one's
    # The connection was sound and stays.
    assert "db_connections" not in meter.reading()
    waiting.discard()
    lab.report("a row lock outlasts innodb_lock_wait_timeout", times=1, **deliveries.figures())


@pytest.mark.fault(57)
def test_a_table_change_that_must_wait_lets_the_writer_through_and_happens_later(
    deliveries: Deliveries,
    own_server: DatabaseServer,
    own_schema: Schema,
    other: Connection,
    monkeypatch: pytest.MonkeyPatch,
    lab: Lab,
) -> None:
    monkeypatch.setattr(mysql_schema, "LOCK_WAIT_SECONDS", 1)
    deliveries.deliver(deliveries.record(USERS, 1))
    batch = deliveries.record(USERS, 2)
    change = SqlFile("job", 2, "0002_more.sql", ("ALTER TABLE note ADD COLUMN more INT NULL",))
    hold(other, "SELECT * FROM note")
    migrating, waiting = own_schema.reach(), own_schema.reach()

    with ThreadPoolExecutor(1) as pool:
        applied = pool.submit(MySqlSchemaStore(migrating).migrate, [change])
        assert processes.wait_for(lambda: waits_for_a_table(own_server), deadline_s=20)
        # Queued behind the change, which gives up before the writer's connection does.
        deliveries.deliver(batch, to=writer(waiting))
        assert not applied.done()
        other.rollback()
        assert applied.result() == ["job/0002_more.sql"]

    deliveries.deliver(deliveries.record(USERS, 3), to=writer(waiting))
    waiting.discard()
    lab.report("ALTER TABLE behind a long reader", times=1, **deliveries.figures())


def waits_for_a_table(server: DatabaseServer) -> bool:
    """Tell whether a session waits for a metadata lock."""
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SHOW PROCESSLIST")
        return any("Waiting for table metadata lock" in session for session in cursor.fetchall())
