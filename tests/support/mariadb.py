"""A real MariaDB for the tests that need one: the `mariadb` fixture.

Register it from a conftest with `pytest_plugins = ["tests.support.mariadb"]`.
"""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from batch_core.adapters.mysql_connection import Database
from batchctl.local.mariadb import MariaDb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchctl.local.mariadb import Connection

FOLDER_VARIABLE: Final = "TEST_MARIADB_FOLDER"


@dataclass(frozen=True)
class Schema:
    """An empty schema and the one user who may use it, as a deployed tenant has them."""

    host: str
    port: int
    ca_file: Path
    name: str
    user: str
    password: str
    server: MariaDb

    def connect(self) -> Connection:
        """Connect as the schema's user over TLS; each statement commits by itself."""
        return self.server.connect(user=self.user, password=self.password, database=self.name)

    def reach(self, **changes: Any) -> Database:
        """Reach it as a function does, but for these arguments of :class:`Database`."""
        usual: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "name": self.name,
            "login": lambda *, fresh: (self.user, self.password),
            "ca_file": self.ca_file,
        }
        return Database(**usual | changes)


class MariaDbServer(MariaDb):
    """The server of a test session; `connect()` is the administrator's connection."""

    def fresh_schema(self) -> Schema:
        """Create an empty schema of a new random name, with a user of its own."""
        name = f"batch_{secrets.token_hex(6)}"
        password = secrets.token_hex(16)
        self.create_schema(name, name, password)
        return Schema(self.host, self.port, self.ca_file, name, name, password, self)

    def administer(self, *statements: str) -> None:
        """Run statements as the administrator."""
        with self.connect() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    @contextmanager
    def global_variable(self, name: str, value: int) -> Iterator[None]:
        """Run with another value of a variable; sessions that exist may keep their own."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT @@GLOBAL.{name}")
            ((usual,),) = cursor.fetchall()
            cursor.execute(f"SET GLOBAL {name} = {value}")
        try:
            yield
        finally:
            self.administer(f"SET GLOBAL {name} = {usual}")

    def kill_connections(self, schema: Schema) -> int:
        """Kill all connections of the schema's user, and tell how many."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = %s", (schema.user,)
            )
            threads = [thread for (thread,) in cursor.fetchall()]
            for thread in threads:
                cursor.execute(f"KILL HARD CONNECTION {thread}")
        return len(threads)

    def open_transactions(self, state: str = "%") -> int:
        """Count InnoDB's transactions that have not ended."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state LIKE %s",
                (state,),
            )
            ((number,),) = cursor.fetchall()
        return int(number)

    def waits_for_a_lock(self) -> bool:
        """Tell whether a transaction waits for another one's lock on a row."""
        return self.open_transactions("LOCK WAIT") > 0

    def drop(self, schema: Schema) -> None:
        """Remove the schema and its user."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE `{schema.name}`")
            cursor.execute("DROP USER %s@'%%'", (schema.user,))


def server_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """Give a new folder, or one that sessions after another share and only the first must fill."""
    kept = os.environ.get(FOLDER_VARIABLE)
    return Path(kept) / name if kept else tmp_path_factory.mktemp(name)


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDbServer]:
    """Serve a MariaDB of this test session's own; start takes about a second."""
    server = MariaDbServer(server_folder(tmp_path_factory, "mariadb"))
    with server:
        yield server


@pytest.fixture
def schema(mariadb: MariaDbServer) -> Iterator[Schema]:
    """Give one test an empty schema and its user."""
    fresh = mariadb.fresh_schema()
    yield fresh
    mariadb.drop(fresh)
