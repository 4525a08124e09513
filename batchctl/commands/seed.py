"""batchctl seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import pymysql
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from batchctl import console
from batchctl.commands.options import DEFAULT_TENANT, Tenant
from batchctl.errors import BatchctlError
from batchctl.local.cloud import LocalCloud
from batchctl.local.sql_server import series

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchctl.local.sql_server import Connection

_ROWS_PER_STATEMENT: Final = 10_000
_NO_SUCH_TABLE: Final = 1146

Users = Annotated[int, typer.Option(metavar="N", min=0, help="How many users are active.")]


def seed(users: Users, tenant: Tenant = DEFAULT_TENANT) -> None:
    """Make users 1 to N the tenant's active users on the local cloud; others become inactive."""
    cloud = LocalCloud()
    columns = (TextColumn("seeding users"), BarColumn(), MofNCompleteColumn())
    with (
        cloud.database(tenant) as connection,
        Progress(*columns, console=console.err, transient=True) as progress,
    ):
        task = progress.add_task("", total=users)
        seed_users(connection, users, lambda done: progress.update(task, completed=done))
    console.out.print(f"Tenant {tenant} has {users:,} active users.")


def seed_users(
    connection: Connection, users: int, advanced: Callable[[int], None] = lambda _: None
) -> None:
    """Make users 1 to `users` active in the job's table, and all others inactive.

    `advanced` is told how many are there. Raises BatchctlError when the job has no such table.
    """
    try:
        with connection.cursor() as cursor:
            connection.begin()
            cursor.execute(
                "UPDATE users SET active = 0 WHERE user_id > %s AND active <> 0", (users,)
            )
            for first in range(1, users + 1, _ROWS_PER_STATEMENT):
                last = min(first + _ROWS_PER_STATEMENT - 1, users)
                # The server counts by itself; sending it the rows takes fifty times as long.
                cursor.execute(
                    "INSERT INTO users (user_id, account, active)"  # noqa: S608 - two numbers
                    " SELECT seq, CONCAT('u-', IF(seq < 1000000, LPAD(seq, 6, '0'), seq)), 1"
                    f" FROM {series(first, last)} ON DUPLICATE KEY UPDATE active = 1"
                )
                advanced(last)
            connection.commit()
    except pymysql.err.ProgrammingError as error:
        if error.args[0] != _NO_SUCH_TABLE:
            raise
        raise BatchctlError(
            "The tenant's job has no table `users` (user_id, account, active), which seeding "
            "fills. Seed it with the SQL of that job."
        ) from error
