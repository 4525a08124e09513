"""The users query, in memory and in real databases."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import job
from batch_core.adapters.mysql_connection import Database
from batch_core.adapters.mysql_schema import MySqlSchemaStore
from batch_core.adapters.mysql_users import MySqlUserSource, listing
from batch_core.errors import SchemaError, TransientDatabaseError
from batch_core.migrate import read
from batch_core.ports import Candidate, UserSource
from batchctl.local.sql_server import series
from tests.support.databases import DatabaseServer
from tests.support.fakes import FakeUserSource
from tests.support.world import MySqlWorld

MANY = f"SELECT seq AS user_id, REPEAT('x', 500) AS text FROM {series(1, 200_000)}"


@pytest.fixture
def database(mysql_world: MySqlWorld) -> Database:
    return mysql_world.database


@pytest.fixture
def source(database_or_fake: Database | None) -> UserSource:
    """Five users; earlier runs know of failures of the second and the fourth."""
    if database_or_fake is None:
        users = [{"user_id": n, "name": f"n{n}"} for n in range(1, 6)]
        return FakeUserSource(users, known={2: (3, 1_000), 4: (0, 2_000)})
    database = MySqlWorld.made_in(database_or_fake).database
    people(database, 5)
    know(database, ("2", 3, 1_000), ("4", 0, 2_000))
    return MySqlUserSource(database)


def people(database: Database, number: int) -> None:
    database.ask(lambda s: s.execute("CREATE TABLE p (id BIGINT PRIMARY KEY, name TEXT)"))
    insert = f"INSERT INTO p SELECT seq, CONCAT('n', seq) FROM {series(1, number)}"
    database.ask(lambda s: s.execute(insert))


QUERY = "SELECT id AS user_id, name FROM p"


def know(database: Database, *users: tuple[str, int, int]) -> None:
    if not users:
        return
    values = ",".join(["(%s, %s, '', %s)"] * len(users))
    statement = f"INSERT INTO batch_user (user_id, failures, error, version) VALUES {values}"
    database.ask(lambda s: s.execute(statement, [value for user in users for value in user]))


def ids(candidates: Iterator[Candidate]) -> list[object]:
    return [candidate.user["user_id"] for candidate in candidates]


def test_users_come_by_column_name_with_what_is_known_of_them(source: UserSource) -> None:
    assert list(source.users(QUERY)) == [
        Candidate({"user_id": 1, "name": "n1"}),
        Candidate({"user_id": 2, "name": "n2"}, failures=3, failed_at=1_000),
        Candidate({"user_id": 3, "name": "n3"}),
        Candidate({"user_id": 4, "name": "n4"}, failures=0, failed_at=2_000),
        Candidate({"user_id": 5, "name": "n5"}),
    ]


@pytest.mark.parametrize(
    ("start", "order"),
    [
        (None, [1, 2, 3, 4, 5]),
        (1, [1, 2, 3, 4, 5]),
        (4, [4, 5, 1, 2, 3]),
        (99, [1, 2, 3, 4, 5]),
    ],
)
def test_users_from_the_start_on_come_first_and_nobody_is_left_out(
    source: UserSource, start: int | None, order: Sequence[int]
) -> None:
    assert ids(source.users(QUERY, start=start)) == order


@pytest.mark.parametrize("order", ["", "ORDER BY name DESC", "ORDER BY id DESC;"])
def test_the_order_is_that_of_the_ids_whatever_the_query_says(
    database: Database, order: str
) -> None:
    query = f"SELECT seq AS id, seq AS user_id, 'x' AS name FROM {series(1, 3)} {order}"

    assert ids(MySqlUserSource(database).users(query)) == [1, 2, 3]


def test_text_keys_are_told_apart_by_case_and_accent(database: Database) -> None:
    query = (
        "SELECT column_0 AS user_id FROM (SELECT 'a' AS column_0 UNION SELECT 'A' COLLATE"
        " utf8mb4_bin UNION SELECT 'ä') AS u"
    )
    know(database, ("A", 2, 1))

    found = {c.user["user_id"]: c.failures for c in MySqlUserSource(database).users(query)}

    assert found == {"a": 0, "A": 2, "ä": 0}


def test_a_user_without_an_id_is_listed_wherever_the_listing_begins(database: Database) -> None:
    query = "SELECT NULL AS user_id UNION SELECT 1 UNION SELECT 2"

    assert sorted(map(str, ids(MySqlUserSource(database).users(query, start=2)))) == [
        "1",
        "2",
        "None",
    ]


@pytest.mark.parametrize(
    "query",
    [
        f"SELECT seq AS user_id, seq + 1 AS user_id FROM {series(1, 2)}",
        f"SELECT seq AS id FROM {series(1, 2)}",
        "SELECT nothing FROM batch_user",
        "SELECT FROM",
    ],
)
def test_a_query_that_cannot_be_listed_is_the_schemas_error(database: Database, query: str) -> None:
    with pytest.raises(SchemaError):
        list(MySqlUserSource(database).users(query))


def plan(database: Database, query: str) -> str:
    """How the server goes about it, in its own words."""
    version = database.ask(lambda s: s.row("SELECT VERSION()"))
    explain = "EXPLAIN" if "MariaDB" in str(version) else "EXPLAIN FORMAT=TRADITIONAL"
    rows: list[tuple[Any, ...]] = database.ask(lambda s: s.rows(f"{explain} {query}"))
    return "\n".join(map(str, rows))


@pytest.mark.parametrize("known", [0, 3, 500])
@pytest.mark.parametrize("start", [None, 1_000])
def test_users_are_streamed_in_the_order_of_their_key_and_nothing_is_sorted(
    database: Database, mysql_world: MySqlWorld, known: int, start: int | None
) -> None:
    """The job's query is merged into the one around it; whatever is joined is looked up."""
    files = read("job", Path(str(job.__file__)).with_name("schema"))
    MySqlSchemaStore(database).migrate(files)
    numbers = ", ".join(f"({n}, 'u{n}')" for n in range(2_000))
    database.ask(lambda s: s.execute(f"INSERT INTO users (user_id, account) VALUES {numbers}"))
    know(database, *((str(n), 1, 1) for n in range(known)))
    database.ask(lambda s: s.rows("ANALYZE TABLE users, user_activity, batch_user"))

    for query in listing(job.JOB.users, start):
        found = plan(database, query)
        assert not re.search("filesort|temporary|DERIVED|hash join", found), found


def test_a_percent_sign_in_the_query_is_left_alone(database: Database) -> None:
    rows = MySqlUserSource(database).users("SELECT 1 AS user_id WHERE 'a%s' LIKE 'a%'")

    assert len(list(rows)) == 1


def test_a_listing_that_is_given_up_leaves_no_query_behind(
    database: Database, server: DatabaseServer
) -> None:
    users = MySqlUserSource(database).users(MANY)
    next(iter(users))
    users.close()

    assert database.ask(lambda s: s.row("SELECT 1")) == (1,)
    assert server.open_transactions() == 0


def test_a_listing_that_was_read_to_its_end_keeps_the_connection(database: Database) -> None:
    before = database.ask(lambda s: s.row("SELECT CONNECTION_ID()"))
    list(MySqlUserSource(database).users("SELECT 1 AS user_id"))

    assert database.ask(lambda s: s.row("SELECT CONNECTION_ID()")) == before


def test_memory_does_not_grow_with_the_number_of_users(database: Database) -> None:
    users = MySqlUserSource(database).users(MANY)
    next(users)
    tracemalloc.start()
    try:
        count = sum(1 for _ in islice(users, 20_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        users.close()

    assert count == 20_000
    # 10 MB of rows were read.
    assert peak < 3_000_000


def kill(server: DatabaseServer, database: Database) -> None:
    thread = database.connection().thread_id()  # type: ignore[no-untyped-call]
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("KILL CONNECTION %s", (thread,))


def test_a_connection_that_was_lost_is_replaced_before_a_listing(
    database: Database, server: DatabaseServer
) -> None:
    kill(server, database)

    assert len(list(MySqlUserSource(database).users("SELECT 1 AS user_id"))) == 1


def test_a_connection_that_is_lost_within_a_listing_fails_it(
    database: Database, server: DatabaseServer
) -> None:
    users = MySqlUserSource(database).users(MANY)
    next(users)
    kill(server, database)

    with pytest.raises(TransientDatabaseError):
        list(users)
