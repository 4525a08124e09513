"""Errors that real servers answer with: what one row sets off costs that row and nobody else."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from batch_core.adapters.mysql_connection import Database
from batch_core.adapters.mysql_ledger import MySqlRunLedger
from batch_core.adapters.mysql_rows import MySqlRowStore
from batch_core.adapters.mysql_users import MySqlUserSource
from batch_core.errors import (
    AccessError,
    DatabaseError,
    DataError,
    SchemaError,
    TransientDatabaseError,
    UnknownDatabaseError,
)
from batch_core.job import Table
from batch_core.outcomes import Outcome, Tally
from batch_core.records import Record
from tests.support.ledger import Total
from tests.support.world import MySqlWorld

RUN = "demo-20260131T100000Z"
COLUMNS = ("hits", "total", "text")
RATED = Table("rated", COLUMNS)
GOOD = (5, 7, "fine")
USERS = 6


@dataclass(frozen=True, slots=True)
class Case:
    """A table, and values that it refuses, unlike `GOOD`.

    Parameters
    ----------
    numbers
        What MySQL and MariaDB answer.
    more
        Columns and constraints of the table, each behind a comma.
    options
        What stands behind the table's parentheses.
    before
        Statements of a trigger that sees each new row.
    bad
        The values that are refused.
    """

    numbers: set[int]
    more: str = ""
    options: str = ""
    before: str = ""
    bad: tuple[object, object, object] = (0, 0, "odd")


def signal(state: str, more: str = "") -> str:
    return f"IF NEW.hits = 0 THEN SIGNAL SQLSTATE '{state}'{more}; END IF"


ROWS_OWN = {
    "a generated column divides by zero": Case({1365}, ", r DECIMAL(9,6) AS (hits/total) STORED"),
    "a generated column overflows": Case(
        {1690}, ", r DOUBLE AS (POW(10, hits)) STORED", bad=(4_000, 1, "odd")
    ),
    "a trigger reads no date": Case(
        {1411}, before="IF NEW.hits = 0 THEN SET NEW.at = STR_TO_DATE(NEW.text, '%Y'); END IF"
    ),
    "a CHECK": Case({3819, 4025}, ", CHECK (hits > 0)"),
    "no partition": Case(
        {1526}, options=" PARTITION BY RANGE (user_id) (PARTITION p VALUES LESS THAN (4))"
    ),
    "a trigger's subquery finds several rows": Case(
        {1242}, before="IF NEW.hits = 0 THEN SET NEW.total = (SELECT x FROM many); END IF"
    ),
    "a trigger's SELECT INTO finds several rows": Case(
        {1172}, before="DECLARE v INT; IF NEW.hits = 0 THEN SELECT x INTO v FROM many; END IF"
    ),
    "a trigger leaves the calendar": Case(
        {1441},
        before="IF NEW.hits = 0 THEN SET NEW.at = DATE_ADD('9999-12-31', INTERVAL 2 DAY); END IF",
    ),
    "a trigger has no case": Case({1339}, before="CASE NEW.hits WHEN 5 THEN BEGIN END; END CASE"),
    "a trigger finds no row": Case(
        {1329},
        before="DECLARE v INT; DECLARE k CURSOR FOR SELECT x FROM many WHERE x < NEW.hits;"
        " OPEN k; FETCH k INTO v; CLOSE k",
    ),
    "a trigger refuses": Case({1644}, before=signal("45000")),
    "a trigger refuses with a number of its own": Case(
        {50_000}, before=signal("45000", " SET MYSQL_ERRNO = 50000")
    ),
    "a trigger refuses with the number of an outage": Case(
        {1205}, before=signal("45000", " SET MYSQL_ERRNO = 1205")
    ),
    "a trigger refuses with a number of the standard's": Case(
        {1365}, before=signal("22012", " SET MYSQL_ERRNO = 1365")
    ),
    **{
        f"a trigger refuses with the class {state}": Case({1643, 1644}, before=signal(state))
        for state in ("02000", "08S01", "25006", "28000", "40001", "42S02", "HY000", "99999")
    },
}
TYPES = {
    "JSON": ("JSON", '{"a": 1}', "{", {3140, 4025}),
    "JSON that is nested too deep": ("JSON", "[]", "[" * 150 + "]" * 150, {3157, 4025}),
    "a number for a point": ("POINT", None, 5, {1416, 4078}),
    "text for a point": ("POINT", None, "POINT(1 1)", {1416}),
    "a word that is not in the ENUM": ("ENUM('a','b')", "a", "c", {1265}),
    "words that are not in the SET": ("SET('a','b')", "a,b", "a,c", {1265}),
    "a number beyond BIT": ("BIT(2)", 3, 4, {1406}),
    "a year": ("YEAR", 2026, 9_999, {1264}),
    "a time": ("TIME", "838:59:59", "999:00:00", {1292}),
    "a day": ("DATE", "2024-02-29", "2026-02-29", {1292}),
    "text for a number": ("INT", 5, "alice", {1366}),
    "a list for a number": ("INT", 5, [1, 2], {1366}),
    "an object for a number": ("INT", 5, {"a": 1}, {1366}),
    "a number beyond INT": ("INT", 5, 2**40, {1264}),
    "text that is too long": ("VARCHAR(2)", "ab", "abc", {1406}),
    "text that the character set lacks": (
        "VARCHAR(9) CHARACTER SET latin1",
        "caf\u00e9",
        "\N{WAVING HAND SIGN}",
        {1366},
    ),
    "NULL": ("INT NOT NULL", 5, None, {1048}),
    "a list for NULL": ("VARCHAR(3)", None, [1, 2, 3], {1406}),
}


@pytest.fixture
def rows(mysql_world: MySqlWorld) -> MySqlRowStore:
    """The row store, in a schema that has the ledger's tables."""
    store = mysql_world.rows
    assert isinstance(store, MySqlRowStore)
    return store


def run(database: Database, *statements: str) -> None:
    database.ask(lambda session: [session.execute(each) for each in statements])


def create(database: Database, case: Case) -> None:
    run(
        database,
        "CREATE TABLE many (x INT)",
        "INSERT INTO many VALUES (1), (2)",
        "CREATE TABLE rated (user_id BIGINT PRIMARY KEY, hits INT NULL, total INT NULL,"
        f" text VARCHAR(20) NULL, at DATE NULL, version BIGINT NOT NULL{case.more})"
        f" ENGINE = InnoDB DEFAULT CHARSET = utf8mb4{case.options}",
    )
    if case.before:
        run(
            database,
            f"CREATE TRIGGER t BEFORE INSERT ON rated FOR EACH ROW BEGIN {case.before}; END",
        )


def record(*rows: tuple[object, ...], columns: tuple[str, ...] = COLUMNS) -> Record:
    return Record(
        tenant="demo",
        run_id=RUN,
        chunk=0,
        group=len(rows),
        version=5,
        trace_id="",
        segment_id="",
        part=0,
        columns=("user_id", *columns),
        rows=rows,
    )


def one_of(bad: tuple[object, ...], good: tuple[object, ...] = GOOD) -> Record:
    """A record whose user 4 has these values."""
    return record(*((user, *(bad if user == 4 else good)) for user in range(1, USERS)))


def stored(database: Database) -> set[int]:
    found = database.ask(lambda session: session.rows("SELECT user_id FROM rated"))
    return {user for (user,) in found}


@pytest.mark.parametrize("name", ROWS_OWN)
def test_what_a_row_sets_off_is_that_rows_fault(
    database: Database, rows: MySqlRowStore, name: str
) -> None:
    case = ROWS_OWN[name]
    create(database, case)
    users = 4 if "partition" in case.options.lower() else USERS - 1
    good = record(*((user, *GOOD) for user in range(1, 4)))
    bad = one_of(case.bad) if users != 4 else record(*((user, *GOOD) for user in range(1, 5)))

    assert rows.write(RATED, [good]) == []
    (rejected,) = rows.write(RATED, [bad])

    assert (rejected.outcome, rejected.row[0]) == (Outcome.REJECTED, 4)
    assert int(rejected.error.partition(":")[0]) in case.numbers
    assert stored(database) == set(range(1, users + 1)) - {4}
    assert Total.of(MySqlRunLedger(database), RUN).tally == Tally(stored=3 + users - 1, rejected=1)


@pytest.mark.parametrize("name", TYPES)
def test_a_value_that_does_not_fit_its_column_is_that_rows_fault(
    database: Database, rows: MySqlRowStore, name: str
) -> None:
    column, good, bad, numbers = TYPES[name]
    create(database, Case(numbers, f", value {column}"))
    columns = (*COLUMNS, "value")
    given = [(user, *GOOD, bad if user == 4 else good) for user in range(1, USERS)]

    (rejected,) = rows.write(Table("rated", columns), [record(*given, columns=columns)])

    assert rejected.row[0] == 4
    assert int(rejected.error.partition(":")[0]) in numbers
    assert stored(database) == {1, 2, 3, 5}


UNKNOWN = signal("HY000", " SET MYSQL_ERRNO = 5555, MESSAGE_TEXT = 'of ''alice'''")
ITS_OWN_TABLE = "IF NEW.hits = 0 THEN INSERT INTO nowhere VALUES (1); END IF"
ITS_OWN_FUNCTION = "IF NEW.hits = 0 THEN SET NEW.total = nofn(1); END IF"
EITHERS: dict[str, tuple[str, type[DatabaseError]]] = {
    "an error that nobody knows": (UNKNOWN, UnknownDatabaseError),
    "a table that a trigger misses for some rows": (ITS_OWN_TABLE, SchemaError),
    "a function that a trigger misses for some rows": (ITS_OWN_FUNCTION, SchemaError),
}


@pytest.mark.parametrize("name", EITHERS)
def test_an_error_that_may_be_the_tables_stores_nothing_at_first_and_then_costs_its_row(
    database: Database, rows: MySqlRowStore, name: str
) -> None:
    trigger, kind = EITHERS[name]
    create(database, Case(set(), before=trigger))
    rows.write(RATED, [record((9, *GOOD))])

    with pytest.raises(kind) as told:
        rows.write(RATED, [one_of((0, 0, "odd"))])

    assert "alice" not in str(told.value)
    assert stored(database) == {9}
    (rejected,) = rows.write(RATED, [one_of((0, 0, "odd"))], search=True)
    assert rejected.row[0] == 4
    assert stored(database) == {1, 2, 3, 5, 9}
    assert Total.of(MySqlRunLedger(database), RUN).tally == Tally(stored=5, rejected=1)


def test_a_row_that_is_alone_in_its_record_is_searched_like_any_other(
    database: Database, rows: MySqlRowStore
) -> None:
    create(database, Case(set(), before=UNKNOWN))
    rows.write(RATED, [record((9, *GOOD))])

    (rejected,) = rows.write(RATED, [record((4, 0, 0, "odd"))], search=True)

    assert rejected.row[0] == 4
    assert stored(database) == {9}


def test_in_an_empty_table_an_error_that_nobody_knows_costs_its_row(
    database: Database, rows: MySqlRowStore
) -> None:
    create(database, Case(set(), before=UNKNOWN))

    (rejected,) = rows.write(RATED, [one_of((0, 0, "odd"))], search=True)

    assert rejected.row[0] == 4
    assert stored(database) == {1, 2, 3, 5}


def test_in_an_empty_table_nothing_speaks_against_the_deployment_being_at_fault(
    database: Database, rows: MySqlRowStore
) -> None:
    create(database, Case(set(), before=ITS_OWN_TABLE))

    with pytest.raises(SchemaError, match="1146"):
        rows.write(RATED, [one_of((0, 0, "odd"))], search=True)

    assert stored(database) == set()


TRIGGER = "CREATE TRIGGER t BEFORE INSERT ON rated FOR EACH ROW "
OF_EVERYONE: dict[str, tuple[str, type[DatabaseError]]] = {
    "a column is gone": ("ALTER TABLE rated DROP COLUMN total", SchemaError),
    "a column is required": ("ALTER TABLE rated ADD COLUMN due INT NOT NULL", SchemaError),
    "the table is gone": ("RENAME TABLE rated TO elsewhere", SchemaError),
    "a trigger misses its table": (f"{TRIGGER}INSERT INTO nowhere VALUES (1)", SchemaError),
    "an error that nobody knows": (
        f"{TRIGGER}SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 5555",
        UnknownDatabaseError,
    ),
}


@pytest.mark.parametrize("name", OF_EVERYONE)
def test_what_the_table_refuses_of_everyone_puts_no_row_aside_however_long_it_lasts(
    database: Database, rows: MySqlRowStore, name: str
) -> None:
    change, kind = OF_EVERYONE[name]
    create(database, Case(set()))
    rows.write(RATED, [record((9, *GOOD))])
    run(database, change)

    for search in (False, True):
        with pytest.raises(kind):
            rows.write(RATED, [one_of(GOOD)], search=search)

    assert Total.of(MySqlRunLedger(database), RUN).tally == Tally(stored=1)


def test_a_search_leaves_nothing_of_what_a_trigger_did_about_the_row_it_tried(
    database: Database, rows: MySqlRowStore
) -> None:
    create(database, Case(set(), before="INSERT INTO many VALUES (NEW.user_id)"))
    rows.write(RATED, [record((9, *GOOD))])

    rows.write(RATED, [one_of(GOOD)], search=True)

    seen = database.ask(lambda session: session.rows("SELECT x FROM many WHERE x > 2 ORDER BY x"))
    assert [x for (x,) in seen] == [3, 4, 5, 9]


class RolledBack:
    """A session whose transaction is gone after an error that nobody knows."""

    def execute(self, sql: bytes) -> int:
        if sql.startswith(b"RELEASE"):
            raise SchemaError("1305: SAVEPOINT batch_search does not exist")
        if sql.startswith(b"INSERT INTO `rated` (`user_id`"):
            raise UnknownDatabaseError("7777: odd")
        return 0

    upsert = execute

    def row(self, sql: str) -> tuple[int] | None:
        # No run is later; the table is empty.
        return (0,) if "MAX(version)" in sql else None


def test_nothing_is_written_behind_an_error_that_took_the_transaction_with_it(
    database: Database, rows: MySqlRowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(database, Case(set()))
    monkeypatch.setattr(database, "transact", lambda work: work(RolledBack()))

    with pytest.raises(TransientDatabaseError, match="rolled back"):
        rows.write(RATED, [one_of(GOOD)], search=True)


def test_what_hindered_the_writer_is_told_to_the_run_until_it_is_closed(
    database: Database, rows: MySqlRowStore
) -> None:
    ledger = MySqlRunLedger(database)
    run(
        database,
        "INSERT INTO batch_run (run_id, version, owner, fence, status, opened_at)"
        f" VALUES ('{RUN}', 5, 'me', 1, 'running', UTC_TIMESTAMP(3))",
    )

    with pytest.raises(SchemaError):
        rows.write(RATED, [one_of(GOOD)])

    assert ledger.told(RUN).startswith("Write Rows: SchemaError: 1146: ")
    assert ledger.told("another") == ""
    run(database, "UPDATE batch_run SET closed_at = UTC_TIMESTAMP(3)")
    assert ledger.told(RUN) == ""


REFUSED: dict[str, str] = {
    "not grouped": "SELECT user_id, text, MAX(hits) AS most FROM rated GROUP BY text",
    "ambiguous": "SELECT user_id FROM rated JOIN rated AS twin ON TRUE",
    "collations": "SELECT user_id FROM rated"
    " WHERE text COLLATE utf8mb4_bin = text COLLATE utf8mb4_general_ci",
    "no such function": "SELECT nofn(user_id) AS user_id FROM rated",
    "no such table": "SELECT user_id FROM nowhere",
    "no such schema": "SELECT user_id FROM nowhere.rated",
    "no such column": "SELECT user_id, nothing FROM rated",
    "a column twice": "SELECT user_id, user_id FROM rated",
    "syntax": "SELEC user_id FROM rated",
    "a subquery of several rows": "SELECT user_id, (SELECT user_id FROM rated) AS x FROM rated",
    "out of range": "SELECT user_id, CAST(0 AS UNSIGNED) - user_id AS x FROM rated",
    "an aggregate in WHERE": "SELECT user_id FROM rated WHERE MAX(hits) = 1",
    "two columns for one": "SELECT user_id, (SELECT 1, 2) AS x FROM rated",
    "a UNION of two widths": "SELECT user_id FROM rated UNION SELECT user_id, hits FROM rated",
    "no full-text index": "SELECT user_id FROM rated WHERE MATCH(text) AGAINST ('x')",
    "a regular expression": "SELECT user_id FROM rated WHERE text REGEXP '('",
    "a window in WHERE": "SELECT user_id FROM rated WHERE ROW_NUMBER() OVER () = 1",
    "no such index": "SELECT user_id FROM rated FORCE INDEX (nothing)",
    "no such collation": "SELECT user_id FROM rated ORDER BY text COLLATE nothing",
    "a collation of another set": "SELECT user_id FROM rated ORDER BY text COLLATE latin1_bin",
    "no such variable": "SELECT @@nothing AS user_id",
    "too many tables": "SELECT 1 AS user_id FROM " + ", ".join(f"rated AS r{n}" for n in range(70)),
    "a view of nothing": "SELECT user_id FROM broken",
    "types": "SELECT user_id + POINT(1, 1) AS user_id FROM rated",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_users_query_that_is_refused_is_refused_at_once_with_the_databases_words(
    database: Database, mysql_world: MySqlWorld, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(database, Case(set()))
    run(
        database,
        "INSERT INTO rated (user_id, text, version) VALUES (1, 'x', 1), (2, 'y', 1)",
        "CREATE TABLE base (user_id INT)",
        "CREATE VIEW broken AS SELECT user_id FROM base",
        "DROP TABLE base",
    )
    pauses: list[float] = []
    monkeypatch.setattr(database, "_sleep", pauses.append)

    with pytest.raises((SchemaError, DataError, AccessError)) as told:
        list(MySqlUserSource(database).users(REFUSED[name]))

    assert pauses == []
    number, _, text = str(told.value).partition(": ")
    assert number.isdigit()
    assert text
