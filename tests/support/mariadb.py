"""A real MariaDB for the tests that need one: the `mariadb` fixture.

Register it from a conftest with `pytest_plugins = ["tests.support.mariadb"]`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from batchctl.local.mariadb import MariaDb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from batchctl.local.mariadb import Connection


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


class MariaDbServer(MariaDb):
    """The server of a test session; `connect()` is the administrator's connection."""

    def fresh_schema(self) -> Schema:
        """Create an empty schema of a new random name, with a user of its own."""
        name = f"batch_{secrets.token_hex(6)}"
        password = secrets.token_hex(16)
        self.create_schema(name, name, password)
        return Schema(self.host, self.port, self.ca_file, name, name, password, self)

    def drop(self, schema: Schema) -> None:
        """Remove the schema and its user."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE `{schema.name}`")
            cursor.execute("DROP USER %s@'%%'", (schema.user,))


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDbServer]:
    """Serve a MariaDB of this test session's own; start takes about a second."""
    server = MariaDbServer(tmp_path_factory.mktemp("mariadb"))
    with server:
        yield server


@pytest.fixture
def schema(mariadb: MariaDbServer) -> Iterator[Schema]:
    """Give one test an empty schema and its user."""
    fresh = mariadb.fresh_schema()
    yield fresh
    mariadb.drop(fresh)
