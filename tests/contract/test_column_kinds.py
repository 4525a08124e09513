"""Columns that users' tables have: as a job gets them, and back into a column of the same type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch_core.adapters.mysql_connection import Database
from batch_core.adapters.mysql_schema import MySqlSchemaStore
from batch_core.adapters.mysql_users import MySqlUserSource
from batch_core.codec import dump_json, parse_json
from batch_core.errors import JobError, MigrationError
from batch_core.job import Table
from batch_core.migrate import Migrator
from batch_core.outcomes import Outcome
from batch_core.records import Record
from batch_core.table_faults import faults_of_query
from tests.support.world import MySqlWorld

KINDS = [
    ("TINYINT(1)", "TRUE", 1),
    ("BIGINT", "-9223372036854775808", -9223372036854775808),
    ("BIGINT UNSIGNED", "18446744073709551615", 18446744073709551615),
    ("YEAR", "2026", 2026),
    ("BIT(1)", "b'1'", 1),
    ("BIT(64)", "b'1111111111'", 1023),
    ("DOUBLE", "1.5", 1.5),
    ("FLOAT", "0.25", 0.25),
    ("DECIMAL(20,5)", "12345678901234.56789", "12345678901234.56789"),
    ("DECIMAL(65,30)", "0.000000000000000000000000000001", "0.000000000000000000000000000001"),
    ("DATE", "'2026-01-31'", "2026-01-31"),
    ("DATE", "'0999-12-31'", "0999-12-31"),
    ("DATETIME", "'2026-01-31 10:00:00'", "2026-01-31T10:00:00"),
    ("DATETIME(6)", "'0001-01-01 00:00:00.000001'", "0001-01-01T00:00:00.000001"),
    ("TIMESTAMP(3) NULL", "'2026-01-31 10:00:00.250'", "2026-01-31T10:00:00.250"),
    ("TIME", "'30:00:01'", "30:00:01"),
    ("TIME", "'-838:59:59'", "-838:59:59"),
    ("TIME(3)", "'-05:00:00.250'", "-05:00:00.250"),
    ("BINARY(16)", "X'7F1C1C1E0D6B4A869A559D7F0F6A0001'", "7f1c1c1e0d6b4a869a559d7f0f6a0001"),
    ("VARBINARY(9)", "X'00FF5C27'", "00ff5c27"),
    ("VARBINARY(9)", "X''", ""),
    ("BLOB", "X'DEADBEEF'", "deadbeef"),
    ("SET('a','b','c')", "'a,c'", "a,c"),
    ("ENUM('a','b')", "'b'", "b"),
    ("CHAR(5)", "'ab'", "ab"),
    ("VARCHAR(20) CHARACTER SET latin1", "'Müller'", "Müller"),
    ("TEXT", "'👩‍👩‍👧 \\\\ '''", "👩‍👩‍👧 \\ '"),
    ("VARCHAR(9)", "NULL", None),
    ("BINARY(2)", "NULL", None),
]


def listed(database: Database, query: str) -> list[dict[str, Any]]:
    """The users as they lie in a chunk."""
    candidates = MySqlUserSource(database).users(query)
    return [parse_json(dump_json(candidate.user)) for candidate in candidates]


def run(database: Database, statement: str) -> None:
    database.ask(lambda s: s.execute(statement))


def record(columns: tuple[str, ...], *rows: tuple[Any, ...], version: int = 1) -> Record:
    return Record("demo", "run", 0, 0, version, "", "", 0, columns, rows)


@pytest.mark.parametrize(("kind", "literal", "value"), KINDS)
def test_a_column_arrives_in_its_documented_form_and_can_be_written_back(
    mysql_world: MySqlWorld, kind: str, literal: str, value: object
) -> None:
    database = mysql_world.database
    for statement in (
        f"CREATE TABLE source (user_id BIGINT PRIMARY KEY, v {kind}) CHARSET utf8mb4",
        f"INSERT INTO source VALUES (1, {literal})",
        "CREATE TABLE target LIKE source",
        "ALTER TABLE target ADD version BIGINT NOT NULL",
    ):
        run(database, statement)

    (user,) = listed(database, "SELECT user_id, v FROM source")
    assert user == {"user_id": 1, "v": value}

    written = mysql_world.rows.write(
        Table("target", ("v",)), [record(("user_id", "v"), (1, user["v"]))]
    )
    assert written == []
    same = "SELECT s.v <=> t.v FROM source AS s JOIN target AS t USING (user_id)"
    assert database.ask(lambda s: s.rows(same)) == [(1,)]


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5))
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_bytes_survive_the_way_there_and_back(mysql_world: MySqlWorld, cells: list[bytes]) -> None:
    database = mysql_world.database
    database.ask(
        lambda s: s.execute(
            "CREATE TABLE IF NOT EXISTS raw_bytes"
            " (user_id BIGINT PRIMARY KEY, v VARBINARY(40), version BIGINT NOT NULL)"
        )
    )
    rows = [(n, cell.hex()) for n, cell in enumerate(cells)]

    table = Table("raw_bytes", ("v",))
    assert mysql_world.rows.write(table, [record(("user_id", "v"), *rows)]) == []

    users = listed(database, "SELECT user_id, v FROM raw_bytes")
    assert [(user["user_id"], user["v"]) for user in users] == rows
    database.ask(lambda s: s.execute("DELETE FROM raw_bytes"))


@pytest.mark.parametrize("value", ["no hex", "abc", 5, True, [1]])
def test_what_is_no_hex_text_is_refused_for_a_column_of_bytes(
    mysql_world: MySqlWorld, value: object
) -> None:
    mysql_world.database.ask(
        lambda s: s.execute(
            "CREATE TABLE b (user_id BIGINT PRIMARY KEY, v BLOB, version BIGINT NOT NULL)"
        )
    )

    rows = ((1, value), (2, "ff"))
    (rejected,) = mysql_world.rows.write(Table("b", ("v",)), [record(("user_id", "v"), *rows)])
    assert rejected.row == (1, value)
    assert "takes hex text" in rejected.error


IDS = [bytes([n]) * 16 for n in (0, 1, 127, 128, 255)]


@pytest.fixture
def uuids(mysql_world: MySqlWorld) -> Database:
    """People keyed by 16 bytes, the second of whom has failed three times."""
    database = mysql_world.database
    values = ", ".join(f"(X'{each.hex()}')" for each in IDS)
    for statement in (
        "CREATE TABLE uuid_person (user_id BINARY(16) PRIMARY KEY)",
        f"INSERT INTO uuid_person VALUES {values}",
        "CREATE TABLE uuid_note (user_id BINARY(16) PRIMARY KEY, n INT, version BIGINT NOT NULL)",
        "ALTER TABLE uuid_note ADD FOREIGN KEY (user_id) REFERENCES uuid_person (user_id)",
    ):
        run(database, statement)
    failed = "INSERT INTO batch_user SET user_id = %s, failures = 3, error = '', version = 1"
    database.ask(lambda s: s.execute(failed, (IDS[1].hex(),)))
    return database


def test_users_keyed_by_bytes_are_listed_known_and_taken_up_where_a_run_left_off(
    uuids: Database,
) -> None:
    source = MySqlUserSource(uuids)
    query = "SELECT user_id FROM uuid_person"

    found = [(each.user["user_id"], each.failures) for each in source.users(query)]
    assert found == [(each.hex(), 3 if each == IDS[1] else 0) for each in IDS]
    turned = [each.user["user_id"] for each in source.users(query, start=IDS[3].hex())]
    assert turned == [each.hex() for each in (*IDS[3:], *IDS[:3])]
    # The ids were numbers when the last run noted down where to go on.
    assert len(list(source.users(query, start=12345))) == len(IDS)
    assert len(list(source.users(query, start="no hex"))) == len(IDS)


def test_rows_keyed_by_bytes_are_stored_and_gone_like_any_other(
    uuids: Database, mysql_world: MySqlWorld
) -> None:
    stranger = "ee" * 16
    rows = [(each.hex(), n) for n, each in enumerate(IDS)]
    table = Table("uuid_note", ("n",))

    (gone,) = mysql_world.rows.write(table, [record(("user_id", "n"), *rows, (stranger, 9))])

    assert (gone.row[0], gone.outcome) == (stranger, Outcome.GONE)
    stored = uuids.ask(lambda s: s.rows("SELECT LOWER(HEX(user_id)), n FROM uuid_note"))
    assert sorted(stored) == sorted(rows)
    # Who finds a newer row looks for it by the same bytes.
    older = record(("user_id", "n"), (rows[0][0], 99), version=0)
    assert mysql_world.rows.write(table, [older]) == []
    assert sorted(uuids.ask(lambda s: s.rows("SELECT n FROM uuid_note"))) == [
        (n,) for n in range(len(IDS))
    ]


DOCUMENTS = [5, -1.5, True, False, "[1, 2]", '"text"', {"k": [None, "ü"]}, [], None]


def test_a_json_column_takes_every_json_value(mysql_world: MySqlWorld) -> None:
    mysql_world.database.ask(
        lambda s: s.execute(
            "CREATE TABLE j (user_id BIGINT PRIMARY KEY, v JSON, version BIGINT NOT NULL)"
        )
    )
    rows = list(enumerate(DOCUMENTS))

    assert mysql_world.rows.write(Table("j", ("v",)), [record(("user_id", "v"), *rows)]) == []

    stored = mysql_world.database.ask(lambda s: s.rows("SELECT v FROM j ORDER BY user_id"))
    wanted = [parse_json(each) if isinstance(each, str) else each for each in DOCUMENTS]
    assert [None if text is None else parse_json(text) for (text,) in stored] == wanted


def test_text_that_is_no_json_and_nesting_beyond_the_servers_limit_cost_their_own_row(
    mysql_world: MySqlWorld,
) -> None:
    mysql_world.database.ask(
        lambda s: s.execute(
            "CREATE TABLE j (user_id BIGINT PRIMARY KEY, v JSON, version BIGINT NOT NULL)"
        )
    )
    deep: list[Any] = []
    for _ in range(150):
        deep = [deep]

    rejected = mysql_world.rows.write(
        Table("j", ("v",)), [record(("user_id", "v"), (1, "no json"), (2, deep), (3, [1]))]
    )

    assert {each.row[0] for each in rejected} == {1, 2}
    assert mysql_world.database.ask(lambda s: s.rows("SELECT user_id FROM j")) == [(3,)]


def test_a_time_with_an_offset_is_stored_in_utc_or_refused(mysql_world: MySqlWorld) -> None:
    """MySQL converts it, MariaDB does not know it; neither knows a Z."""
    mysql_world.database.ask(
        lambda s: s.execute(
            "CREATE TABLE d (user_id BIGINT PRIMARY KEY, v DATETIME, version BIGINT NOT NULL)"
        )
    )
    given_ = [(1, "2026-01-31T10:00:00+09:00"), (2, "2026-01-31T10:00:00Z"), (3, "2026-01-31")]

    rejected = mysql_world.rows.write(Table("d", ("v",)), [record(("user_id", "v"), *given_)])

    version = str(mysql_world.database.ask(lambda s: s.row("SELECT VERSION()")))
    converted = [] if "MariaDB" in version else [(1, "2026-01-31T01:00:00")]
    stored = mysql_world.database.ask(lambda s: s.rows("SELECT user_id, v FROM d ORDER BY user_id"))
    assert stored == [*converted, (3, "2026-01-31T00:00:00")]
    assert {each.row[0] for each in rejected} == {1, 2, 3} - {user for user, _ in stored}


def test_a_row_follows_its_user_to_another_id_and_the_old_one_is_gone(
    mysql_world: MySqlWorld,
) -> None:
    database = mysql_world.database
    for statement in (
        "CREATE TABLE mover (id BIGINT PRIMARY KEY)",
        "INSERT INTO mover VALUES (1)",
        "CREATE TABLE moving (user_id BIGINT PRIMARY KEY, n INT, version BIGINT NOT NULL)",
        "ALTER TABLE moving ADD FOREIGN KEY (user_id) REFERENCES mover (id) ON UPDATE CASCADE",
    ):
        run(database, statement)
    table = Table("moving", ("n",))
    assert mysql_world.rows.write(table, [record(("user_id", "n"), (1, 10))]) == []
    run(database, "UPDATE mover SET id = 2")

    late = [record(("user_id", "n"), (1, 11), version=2)]
    (gone,) = mysql_world.rows.write(table, late)

    assert gone.outcome is Outcome.GONE
    assert database.ask(lambda s: s.rows("SELECT user_id, n FROM moving")) == [(2, 10)]


WITHOUT_FORM = "SELECT 1 AS user_id, POINT(1, 2) AS place"


def test_a_column_without_a_form_in_json_is_named_by_the_listing_and_by_migrate(
    mysql_world: MySqlWorld, tmp_path: Path
) -> None:
    database = mysql_world.database
    with pytest.raises(JobError, match="yields the column place, whose type has no form in JSON"):
        list(MySqlUserSource(database).users(WITHOUT_FORM))
    assert database.ask(lambda s: s.row("SELECT 1")) == (1,)

    migrate = Migrator(
        MySqlSchemaStore(database),
        [("job", tmp_path)],
        Table("note", ("text", "data")),
        WITHOUT_FORM,
    )
    with pytest.raises(MigrationError, match="the job's users query yields the column place"):
        migrate()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT 1 AS id", "yields no column user_id"),
        ("SELECT 'a' AS user_id", "yields user_id as varchar, and the key user_id of note is big"),
        ("SELECT 1.5 AS user_id", "yields user_id as decimal"),
        ("SELECT 1.5e0 AS user_id", "yields user_id as double"),
        ("SELECT NOW() AS user_id", "yields user_id as datetime"),
        ("SELECT nothing AS user_id FROM person", "refuses the job's users query: 1054"),
        ("SELECT user_id, COUNT(*) OVER FROM person", "refuses the job's users query: 1064"),
        ("SELECT user_id, MAX(stored) AS x FROM batch_record", "refuses the job's users query"),
    ],
)
def test_a_users_query_that_cannot_be_listed_into_the_table_is_refused_by_migrate(
    mysql_world: MySqlWorld, tmp_path: Path, query: str, words: str
) -> None:
    migrate = Migrator(
        MySqlSchemaStore(mysql_world.database),
        [("job", tmp_path)],
        Table("note", ("text", "data")),
        query,
    )

    with pytest.raises(MigrationError, match=words):
        migrate()


@pytest.mark.parametrize("query", ["SELECT user_id FROM person", "SELECT 1 AS user_id;"])
def test_a_users_query_whose_ids_are_the_tables_keys_is_fine(
    mysql_world: MySqlWorld, query: str
) -> None:
    store = MySqlSchemaStore(mysql_world.database)
    facts = store.facts("note")

    assert facts is not None
    assert faults_of_query(Table("note", ("text", "data")), facts, store.listed(query)) == []
