"""The tables, or the server's settings, are not what the writer expects."""

from __future__ import annotations

from pathlib import Path

import pytest

from batch_core.adapters import mysql_rows
from batch_core.adapters.mysql_connection import Database
from batch_core.adapters.mysql_schema import MySqlSchemaStore
from batch_core.errors import MigrationError, SchemaError, TransientDatabaseError
from batch_core.migrate import Migrator
from batch_core.upsert import Upsert
from functions.write_rows import app as write_rows
from tests.faults.conftest import Lab
from tests.support.clock import Clock
from tests.support.databases import DatabaseServer, Schema
from tests.support.deliveries import Deliveries, writer
from tests.support.fakes import FakePayloadStore
from tests.support.world import TABLE

USERS = range(1, 41)


def alter(schema: Schema, change: str) -> None:
    with schema.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE note {change}")


@pytest.mark.fault(52)
def test_statements_fit_into_small_packets(
    deliveries: Deliveries, own_server: DatabaseServer, lab: Lab
) -> None:
    batch = [deliveries.record(range(1, 3_001), 1), deliveries.record(range(1, 3_001), 2)]

    with own_server.global_variable("max_allowed_packet", 16 * 1024):
        deliveries.deliver(*batch)

    lab.report("max_allowed_packet = 16 KiB", times=1, **deliveries.figures())


@pytest.mark.fault(52)
def test_a_server_that_takes_no_statement_of_this_size_fails_the_batch_and_nothing_is_put_aside(
    deliveries: Deliveries, own_server: DatabaseServer, clock: Clock, lab: Lab
) -> None:
    batch = deliveries.record(range(1, 3_001), 1)

    with (
        # A packet that fits into the buffer a session begins with is taken whatever the limit.
        own_server.global_variable("net_buffer_length", 1024),
        own_server.global_variable("max_allowed_packet", 1024),
        pytest.raises(TransientDatabaseError, match=r"1153|2006|2013"),
    ):
        deliveries.deliver(batch)

    assert (deliveries.stored, deliveries.accounted) == (0, 0)
    assert clock.now == pytest.approx(write_rows.PATIENCE_SECONDS)
    deliveries.deliver(batch)
    lab.report("max_allowed_packet = 1 KiB", times=1, **deliveries.figures())


@pytest.mark.fault(55)
@pytest.mark.parametrize("column", ["more INT NULL", "more INT NOT NULL DEFAULT 7"])
def test_a_column_that_is_added_does_not_disturb_the_writer_that_does_not_know_it(
    deliveries: Deliveries, own_schema: Schema, lab: Lab, column: str
) -> None:
    deliveries.deliver(deliveries.record(USERS, 1))
    alter(own_schema, f"ADD COLUMN {column} AFTER user_id")

    deliveries.deliver(deliveries.record(USERS, 2), deliveries.record(range(30, 60), 2))

    lab.report("a column added between batches", times=1, **deliveries.figures())


@pytest.mark.fault(56)
@pytest.mark.parametrize(
    ("change", "number", "repair"),
    [
        ("DROP COLUMN data", "1054", "ADD COLUMN data JSON NULL"),
        ("ADD COLUMN more INT NOT NULL", "1364", "ALTER COLUMN more SET DEFAULT 0"),
        ("RENAME TO noted", "1146", ""),
    ],
)
def test_tables_that_do_not_fit_fail_the_batch_and_put_no_good_row_aside(
    deliveries: Deliveries,
    own_schema: Schema,
    clock: Clock,
    change: str,
    number: str,
    repair: str,
    lab: Lab,
) -> None:
    deliveries.deliver(deliveries.record(USERS, 1))
    batch = deliveries.record(USERS, 2)
    alter(own_schema, change)

    with pytest.raises(SchemaError, match=number):
        deliveries.deliver(batch)

    assert clock.pauses == []  # no retry helps
    assert deliveries.accounted == len(USERS)
    with own_schema.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE note {repair}" if repair else "RENAME TABLE noted TO note")
    deliveries.deliver(batch)
    lab.report("column dropped, column without default", times=1, **deliveries.figures())


@pytest.mark.fault(58)
def test_text_outside_the_character_set_of_a_column_costs_only_its_own_rows(
    own_schema: Schema, database: Database, lab: Lab
) -> None:
    aside = FakePayloadStore()
    deliveries = Deliveries(own_schema, writer(database, aside))
    alter(own_schema, "MODIFY text VARCHAR(20) CHARACTER SET utf8mb3 NOT NULL")

    deliveries.deliver(
        deliveries.record(USERS, 1),
        deliveries.record([50, 51], 1, text="wave \N{WAVING HAND SIGN}"),
    )

    assert deliveries.rejected == 2
    assert len(aside.objects) == 1
    lab.report("emoji into a utf8mb3 column", times=2, **deliveries.figures())
    deliveries.close()


COLUMNS = """
  user_id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  data    JSON            NULL,
  version BIGINT          NOT NULL,
"""


def migrator(database: Database, folder: Path, text: str) -> Migrator:
    """Migrate a job whose table is made like this."""
    (folder / "0001_note.sql").write_text(f"CREATE TABLE note ({COLUMNS}{text});")
    return Migrator(
        MySqlSchemaStore(database), [("job", folder)], TABLE, "SELECT user_id FROM note"
    )


@pytest.mark.fault(58)
def test_a_column_that_does_not_hold_every_character_is_refused_at_migration(
    database: Database, tmp_path: Path, lab: Lab
) -> None:
    column = "text VARCHAR(20) CHARACTER SET utf8mb3 NOT NULL"

    with pytest.raises(MigrationError, match="only utf8mb4 holds every character"):
        migrator(database, tmp_path, column)()

    lab.report("utf8mb3 refused at migration", times=1, users=0, accounted=0)


@pytest.mark.fault(59)
def test_a_second_unique_key_is_refused_at_migration(
    database: Database, tmp_path: Path, lab: Lab
) -> None:
    with pytest.raises(MigrationError, match="must have one unique key"):
        migrator(database, tmp_path, "text VARCHAR(20) NOT NULL UNIQUE")()

    lab.report("a second unique key refused at migration", times=1, users=0, accounted=0)


@pytest.mark.fault(60)
def test_an_upsert_speaks_the_dialect_that_mysql_and_mariadb_share(
    deliveries: Deliveries, own_server: DatabaseServer, lab: Lab
) -> None:
    statements = [
        Upsert.guarded(TABLE, (TABLE.key, *TABLE.columns)),
        mysql_rows.LEDGER,
    ]

    for upsert in statements:
        assert b"VALUES(" in upsert.tail
        # An alias for the new row is MySQL 8's alone.
        assert b" AS " not in upsert.statement([b"(1)"]).upper()
    deliveries.deliver(deliveries.record(USERS, 2), deliveries.record(USERS, 1))
    lab.report(f"VALUES(), on {own_server.title}", times=len(statements), **deliveries.figures())
