"""The numbered SQL files, in memory and in real databases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch_core.adapters.mysql_connection import Database
from batch_core.adapters.mysql_schema import MySqlSchemaStore
from batch_core.errors import MigrationError
from batch_core.job import Table
from batch_core.migrate import read
from batch_core.ports import SchemaStore, SqlFile, UniqueKey
from batch_core.records import Record
from batch_core.table_faults import faults_of
from batchctl.local.ports import free_port
from tests.support.checkout import ROOT
from tests.support.databases import DatabaseServer, Schema
from tests.support.fakes import FakeSchemaStore
from tests.support.world import MySqlWorld

RECORD = Record(
    tenant="demo",
    run_id="run",
    chunk=0,
    group=0,
    version=1,
    trace_id="",
    segment_id="",
    part=0,
    columns=(),
    rows=(),
)
JOBS = (ROOT / "layers/job", *sorted((ROOT / "examples").iterdir()))
ONE = SqlFile("job", 1, "0001_one.sql", ("CREATE TABLE one (id INT)", "CREATE TABLE uno (id INT)"))
TWO = SqlFile("job", 2, "0002_two.sql", ("CREATE TABLE two (id INT)",))


@pytest.fixture
def mysql_store(database: Database) -> MySqlSchemaStore:
    return MySqlSchemaStore(database)


@pytest.fixture
def store(database_or_fake: Database | None) -> SchemaStore:
    return MySqlSchemaStore(database_or_fake) if database_or_fake else FakeSchemaStore()


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_every_database_applies_the_files_of_each_job(database: Database, job: Path) -> None:
    core = read("batch_core", ROOT / "layers/batch_core/batch_core/schema")
    files = [*core, *read("job", job / "schema")]

    assert MySqlSchemaStore(database).migrate(files) == [f"{f.source}/{f.name}" for f in files]


def test_a_file_is_applied_once(store: SchemaStore) -> None:
    assert store.migrate([ONE]) == ["job/0001_one.sql"]
    assert store.migrate([ONE, TWO]) == ["job/0002_two.sql"]
    assert store.migrate([ONE, TWO]) == []


def test_each_source_has_numbers_of_its_own(store: SchemaStore) -> None:
    core = SqlFile("batch_core", 1, "0001_core.sql", ("CREATE TABLE core (id INT)",))

    assert store.migrate([core, ONE]) == ["batch_core/0001_core.sql", "job/0001_one.sql"]


@pytest.mark.parametrize(
    "changed",
    [
        ("CREATE TABLE one (id BIGINT)", "CREATE TABLE uno (id INT)"),
        ("CREATE TABLE one (id INT)",),
        (*ONE.statements, "CREATE TABLE ein (id INT)"),
        (),
    ],
)
def test_a_file_that_changed_after_it_was_applied_is_an_error(
    store: SchemaStore, changed: tuple[str, ...]
) -> None:
    store.migrate([ONE])

    with pytest.raises(MigrationError, match=r"job/0001_one\.sql has changed"):
        store.migrate([SqlFile("job", 1, "0001_one.sql", changed)])


def test_a_file_that_fails_is_named_and_taken_up_again_where_it_failed(store: SchemaStore) -> None:
    broken = SqlFile("job", 1, "0001_one.sql", (ONE.statements[0], "CREATE TABEL uno (id INT)"))

    with pytest.raises(MigrationError, match=r"job/0001_one\.sql, statement 2"):
        store.migrate([broken, TWO])
    # Applied again, the first statement would fail: the table is there.
    assert store.migrate([ONE, TWO]) == ["job/0001_one.sql", "job/0002_two.sql"]


def test_what_was_applied_of_a_file_that_failed_may_not_change(store: SchemaStore) -> None:
    broken = SqlFile("job", 1, "0001_one.sql", (ONE.statements[0], "CREATE TABEL uno (id INT)"))
    with pytest.raises(MigrationError):
        store.migrate([broken])

    changed = SqlFile("job", 1, "0001_one.sql", ("CREATE TABLE eins (id INT)",))
    with pytest.raises(MigrationError, match="has changed"):
        store.migrate([changed])


def test_a_file_without_statements_is_applied_too(store: SchemaStore) -> None:
    empty = SqlFile("job", 1, "0001_nothing.sql", ())

    assert store.migrate([empty]) == ["job/0001_nothing.sql"]
    assert store.migrate([empty]) == []


def test_there_are_no_facts_about_a_table_that_is_not_there(store: SchemaStore) -> None:
    assert store.facts("nowhere") is None


def test_the_facts_about_a_table_are_what_the_database_says(
    database: Database, mysql_store: MySqlSchemaStore
) -> None:
    create = (
        "CREATE TABLE t (a INT NOT NULL, b VARCHAR(9) NULL,"
        " c CHAR(4) CHARACTER SET latin1 NOT NULL, v BIGINT UNSIGNED NOT NULL,"
        " d INT NOT NULL DEFAULT 5, twice INT AS (a * 2) STORED,"
        " made DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,"
        " PRIMARY KEY (a), UNIQUE KEY two (c(3), v), KEY three (b))"
        " ENGINE = MyISAM DEFAULT CHARSET = utf8mb4"
    )
    mysql_store.migrate([SqlFile("job", 1, "0001_t.sql", (create,))])

    facts = mysql_store.facts("t")

    assert facts is not None
    assert facts.engine == "MyISAM"
    of = facts.columns
    assert list(of) == ["a", "b", "c", "v", "d", "twice", "made"]
    assert [name for name in of if of[name].nullable] == ["b", "twice"]
    assert [name for name in of if of[name].required] == ["a", "c", "v"]
    assert [name for name in of if of[name].generated] == ["twice"]
    assert (of["c"].type, of["c"].declared, of["c"].charset) == ("char", "char(4)", "latin1")
    assert (of["v"].type, of["b"].charset) == ("bigint", "utf8mb4")
    assert set(facts.unique_keys) == {UniqueKey(("a",)), UniqueKey(("c", "v"), prefix_of="c")}
    assert facts.referring == set()
    assert facts.triggers_before == {}


def test_keys_that_count_and_refer_and_triggers_are_among_the_facts(
    database: Database, mysql_store: MySqlSchemaStore
) -> None:
    statements = (
        "CREATE TABLE parent (id BIGINT AUTO_INCREMENT PRIMARY KEY, n INT, UNIQUE KEY (n, id))",
        "CREATE TABLE t (a BIGINT PRIMARY KEY, b INT, c BIGINT)",
        "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES parent (id)",
        "ALTER TABLE t ADD FOREIGN KEY (b, c) REFERENCES parent (n, id)",
        "CREATE TRIGGER first BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1",
        "CREATE TRIGGER second BEFORE UPDATE ON t FOR EACH ROW SET NEW.b = 2",
        "CREATE TRIGGER third AFTER INSERT ON t FOR EACH ROW SET @x = 3",
        "CREATE TRIGGER fourth BEFORE DELETE ON t FOR EACH ROW SET @x = 4",
    )
    mysql_store.migrate([SqlFile("job", 1, "0001_t.sql", statements)])

    parent, facts = mysql_store.facts("parent"), mysql_store.facts("t")

    assert parent is not None
    assert facts is not None
    assert parent.columns["id"].counts
    assert facts.referring == {"a"}
    assert facts.triggers_before == {"first": "SET NEW.a = 1", "second": "SET NEW.b = 2"}


# What collations that are not exact take for one another: case, accents composed and apart, kana,
# emoji of several code points, blanks.
letters = [*"aAbBéßsSかがカｶ😀👩ﬁ ", "e\u0301", "ss", "fi", "\u200d", "か\u3099"]
ids = st.lists(st.sampled_from(letters), max_size=4).map("".join)


@given(st.sets(ids, min_size=2, max_size=30))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_under_the_collation_that_is_demanded_all_ids_stay_apart(
    mysql_world: MySqlWorld, users: set[str]
) -> None:
    store = MySqlSchemaStore(mysql_world.database)
    table = Table("exact", ("n",))
    create = (
        "CREATE TABLE IF NOT EXISTS exact (user_id VARCHAR(40) NOT NULL PRIMARY KEY, n INT,"
        " version BIGINT NOT NULL) CHARSET utf8mb4"
    )
    mysql_world.database.ask(lambda s: s.execute(create))
    facts = store.facts("exact")
    if faults := faults_of(table, facts):
        ((_, _, alter),) = [fault.partition("; ALTER") for fault in faults]
        mysql_world.database.ask(lambda s: s.execute(f"ALTER{alter}"))
        assert faults_of(table, store.facts("exact")) == []
    rows = tuple((user, n) for n, user in enumerate(sorted(users)))
    record = replace(RECORD, columns=("user_id", "n"), rows=rows)

    assert mysql_world.rows.write(table, [record]) == []

    stored = mysql_world.database.ask(lambda s: s.rows("SELECT user_id, n FROM exact"))
    assert sorted(stored) == sorted(rows)
    mysql_world.database.ask(lambda s: s.execute("DELETE FROM exact"))


REST = "n INT, version BIGINT NOT NULL"


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        (f"user_id VARCHAR(40) PRIMARY KEY, {REST}", "ids that differ may be one row"),
        (f"user_id CHAR(40) PRIMARY KEY, {REST}", "ids that differ may be one row"),
        (f"user_id VARCHAR(40) COLLATE utf8mb4_bin PRIMARY KEY, {REST}", "ids that differ may be"),
        (f"user_id VARCHAR(40), {REST}, PRIMARY KEY (user_id(8))", "beginning of user_id only"),
        (f"user_id BIGINT AUTO_INCREMENT PRIMARY KEY, {REST}", "counts by itself"),
        ("user_id BIGINT PRIMARY KEY, n INT, version INT NOT NULL", "version of type int"),
        ("user_id BIGINT PRIMARY KEY, n INT, version CHAR(9) NOT NULL", "version of type char(9)"),
        (f"user_id BIGINT PRIMARY KEY, {REST}, m INT NOT NULL", "requires the column m"),
        (
            "user_id BIGINT PRIMARY KEY, m INT, n INT AS (m) STORED, version BIGINT NOT NULL",
            "generates the column n",
        ),
    ],
)
def test_a_table_of_the_kinds_that_swallow_users_is_faulty(
    database: Database, mysql_store: MySqlSchemaStore, columns: str, fault: str
) -> None:
    database.ask(lambda s: s.execute(f"CREATE TABLE t ({columns}) CHARSET utf8mb4"))

    assert fault in "; ".join(faults_of(Table("t", ("n",)), mysql_store.facts("t")))


FILE_OF_AN_EDITOR = """\ufeffCREATE TABLE d (id INT PRIMARY KEY, n INT); -- one; two\r
CREATE TRIGGER d_first BEFORE INSERT ON d FOR EACH ROW BEGIN\r
  IF NEW.n IS NULL THEN SET NEW.n = 1; END IF;\r
  SET NEW.n = NEW.n + 1;\r
END;\r
DELIMITER $$\r
CREATE PROCEDURE fill() BEGIN INSERT INTO d VALUES (1, NULL); INSERT INTO d VALUES (2, 5); END$$\r
DELIMITER ;\r
CALL fill();\r
"""


def test_triggers_and_routines_of_a_file_are_made_as_they_are_written(
    database: Database, mysql_store: MySqlSchemaStore, tmp_path: Path
) -> None:
    (tmp_path / "0001_d.sql").write_bytes(FILE_OF_AN_EDITOR.encode())

    assert mysql_store.migrate(read("job", tmp_path)) == ["job/0001_d.sql"]

    assert database.ask(lambda s: s.rows("SELECT id, n FROM d")) == [(1, 2), (2, 6)]


def test_a_second_migration_at_the_same_time_is_refused(
    schema: Schema, mysql_store: MySqlSchemaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batch_core.adapters.mysql_schema._MUTEX_SECONDS", 0)
    other = schema.reach()
    other.ask(lambda s: s.row(f"SELECT GET_LOCK('batch_migrate.{schema.name}', 0)"))
    try:
        with pytest.raises(MigrationError, match="another migration"):
            mysql_store.migrate([ONE])
    finally:
        other.discard()


def test_migrating_leaves_no_setting_behind_for_others(
    database: Database, mysql_store: MySqlSchemaStore
) -> None:
    usual = database.ask(lambda s: s.row("SELECT @@lock_wait_timeout"))
    mysql_store.migrate([ONE])

    assert database.ask(lambda s: s.row("SELECT @@lock_wait_timeout")) == usual


def test_a_database_that_cannot_be_reached_is_told_as_it_is(schema: Schema) -> None:
    with pytest.raises(MigrationError, match="cannot be reached: 2003"):
        MySqlSchemaStore(schema.reach(port=free_port())).migrate([ONE])


def test_a_table_in_use_is_waited_for_in_short_tries(
    schema: Schema, mysql_store: MySqlSchemaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batch_core.adapters.mysql_schema.LOCK_WAIT_SECONDS", 0)
    mysql_store.migrate([ONE])
    reader = schema.connect()
    reader.begin()
    with reader.cursor() as cursor:
        cursor.execute("SELECT * FROM one")
    alter = SqlFile("job", 2, "0002_alter.sql", ("ALTER TABLE one ADD COLUMN n INT NULL",))
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            reader.rollback()

    monkeypatch.setattr("batch_core.adapters.mysql_schema.time.sleep", pause)

    assert mysql_store.migrate([ONE, alter]) == ["job/0002_alter.sql"]
    reader.close()
    assert pauses == [1, 2]


def test_a_table_that_stays_in_use_fails_the_migration_and_blocks_nobody(
    schema: Schema, mysql_store: MySqlSchemaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batch_core.adapters.mysql_schema.LOCK_WAIT_SECONDS", 0)
    monkeypatch.setattr("batch_core.adapters.mysql_schema.time.sleep", lambda _: None)
    mysql_store.migrate([ONE])
    reader, writer = schema.connect(), schema.connect()
    reader.begin()
    with reader.cursor() as cursor:
        cursor.execute("SELECT * FROM one")
    alter = SqlFile("job", 2, "0002_alter.sql", ("ALTER TABLE one ADD COLUMN n INT NULL",))

    with pytest.raises(MigrationError, match=r"job/0002_alter\.sql, statement 1, .*1205"):
        mysql_store.migrate([ONE, alter])
    with writer.cursor() as cursor:
        assert cursor.execute("INSERT INTO one VALUES (1)") == 1

    reader.close()
    writer.close()
    assert mysql_store.migrate([ONE, alter]) == ["job/0002_alter.sql"]


# --- the server -----------------------------------------------------------------------------------


def test_the_server_is_described_and_nothing_is_changed(store: SchemaStore) -> None:
    facts = store.server()

    assert int(facts.version.split(".")[0]) >= 8
    assert "STRICT_TRANS_TABLES" in facts.sql_mode.split(",")
    assert facts.collation.startswith(facts.character_set)
    assert facts.rights >= {"ALTER", "CREATE", "DELETE", "INDEX", "INSERT", "SELECT", "UPDATE"}
    assert facts.role == ""


def test_only_rights_in_the_whole_schema_are_told(schema: Schema, server: DatabaseServer) -> None:
    user, name = schema.user, schema.name.replace("_", r"\_")
    server.administer(
        f"REVOKE ALL ON `{name}`.* FROM {user}@'%'",
        f"GRANT SELECT, CREATE ON `{name}`.* TO {user}@'%'",
        f"CREATE TABLE {schema.name}.one (id INT)",
        f"GRANT DELETE ON {schema.name}.one TO {user}@'%'",
    )

    assert MySqlSchemaStore(schema.reach()).server().rights >= {"SELECT", "CREATE"}
    assert not MySqlSchemaStore(schema.reach()).server().rights & {"DELETE", "INSERT"}
