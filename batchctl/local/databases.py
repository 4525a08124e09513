"""The database servers that the local cloud can run on, by the name that `--database` takes."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from batchctl.local.mariadb import MariaDb
from batchctl.local.mysql import MySql

if TYPE_CHECKING:
    from batchctl.local.sql_server import SqlServer


class DatabaseKind(StrEnum):
    """Which database server."""

    MARIADB = MariaDb.role
    MYSQL = MySql.role

    @property
    def server(self) -> type[SqlServer]:
        """The adapter that runs it."""
        return _SERVERS[self]


DEFAULT_DATABASE: Final = DatabaseKind.MARIADB

_SERVERS: Final[dict[DatabaseKind, type[SqlServer]]] = {
    DatabaseKind.MARIADB: MariaDb,
    DatabaseKind.MYSQL: MySql,
}
