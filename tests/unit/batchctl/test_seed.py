"""batchctl seed, against a real database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batchctl.commands.seed import seed_users
from batchctl.errors import BatchctlError
from batchctl.local.home import CHECKOUT

if TYPE_CHECKING:
    from batchctl.local.sql_server import Connection
    from tests.support.databases import Schema


def create_users_table(connection: Connection) -> None:
    sql = next((CHECKOUT / "layers" / "job" / "schema").glob("0001_*.sql")).read_text()
    with connection.cursor() as cursor:
        cursor.execute(sql.split(";")[0])


def users(connection: Connection) -> dict[int, tuple[str, int]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT user_id, account, active FROM users ORDER BY user_id")
        return {number: (account, active) for number, account, active in cursor.fetchall()}


def test_users_are_numbered_from_one(schema: Schema) -> None:
    with schema.connect() as connection:
        create_users_table(connection)
        seed_users(connection, 3)
        expected = {1: ("u-000001", 1), 2: ("u-000002", 1), 3: ("u-000003", 1)}
        assert users(connection) == expected


def test_fewer_users_deactivate_the_rest_and_more_bring_them_back(schema: Schema) -> None:
    with schema.connect() as connection:
        create_users_table(connection)
        for count in (5, 2, 4):
            seed_users(connection, count)
            assert sum(active for _, active in users(connection).values()) == count
        assert len(users(connection)) == 5


def test_accounts_beyond_a_million_are_not_cut(schema: Schema) -> None:
    told: list[int] = []
    with schema.connect() as connection:
        create_users_table(connection)
        seed_users(connection, 1_000_001, told.append)
        with connection.cursor() as cursor:
            cursor.execute("SELECT account FROM users WHERE user_id >= 999999 ORDER BY user_id")
            found = [account for (account,) in cursor.fetchall()]
    assert found == ["u-999999", "u-1000000", "u-1000001"]
    assert told[0] == 10_000
    assert told[-1] == 1_000_001


def test_a_job_without_such_a_table_is_told_so(schema: Schema) -> None:
    with (
        schema.connect() as connection,
        pytest.raises(BatchctlError, match="no table `users`"),
    ):
        seed_users(connection, 1)
