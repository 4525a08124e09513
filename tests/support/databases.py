"""Real database servers for the tests: `server`, `schema`, and what is made of them.

A test that asks for `server` or `schema` runs once on each kind of database. The servers of a
session start when they are first asked for, and stay side by side until its end; every test gets
an empty schema of its own. TEST_DATABASES=mysql (or mariadb) restricts a session to one.
"""

from __future__ import annotations

import os
import secrets
from abc import ABC
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from batch_core.adapters.mysql_connection import Database
from batchctl.local.databases import DatabaseKind
from batchctl.local.mariadb import MariaDb
from batchctl.local.mysql import FetchedMySql, MySql
from batchctl.local.sql_server import SqlServer

if TYPE_CHECKING:
    from batchctl.local.sql_server import Connection

FOLDER_VARIABLE: Final = "TEST_DATABASE_FOLDER"
KINDS_VARIABLE: Final = "TEST_DATABASES"
KINDS: Final = tuple(
    map(DatabaseKind, os.environ.get(KINDS_VARIABLE, ",".join(DatabaseKind)).split(","))
)
# What a tenant on AWS has, and the other one, for what is too slow to be tried on each.
USUAL: Final = DatabaseKind.MYSQL if DatabaseKind.MYSQL in KINDS else KINDS[0]
OTHER: Final = next((kind for kind in KINDS if kind != USUAL), USUAL)


def pytest_report_header() -> str:
    """Say which databases the session runs on; a missing one is an error of the tests that ask."""
    known = FetchedMySql.known()
    mysql = f"; MySQL is {known.version}" if known else ""
    return f"databases: {', '.join(KINDS)}{mysql}"


@dataclass(frozen=True)
class Schema:
    """An empty schema and the one user who may use it, as a deployed tenant has them."""

    host: str
    port: int
    ca_file: Path
    name: str
    user: str
    password: str
    server: DatabaseServer

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


class DatabaseServer(SqlServer, ABC):
    """A server of a test session; `connect()` is the administrator's connection."""

    def fresh_schema(self) -> Schema:
        """Create an empty schema of a new random name, with a user of its own."""
        name = f"batch_{secrets.token_hex(6)}"
        password = secrets.token_hex(16)
        self.create_schema(name, name, password)
        return Schema(self.host, self.port, self.ca_file, name, name, password, self)

    @contextmanager
    def lent_schema(self) -> Iterator[Schema]:
        """Lend an empty schema."""
        fresh = self.fresh_schema()
        yield fresh
        self.drop(fresh)

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
            cursor.execute("SHOW PROCESSLIST")
            threads = [thread for thread, user, *_ in cursor.fetchall() if user == schema.user]
            for thread in threads:
                cursor.execute(f"KILL CONNECTION {thread}")
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


class MariaDbServer(DatabaseServer, MariaDb):
    """A MariaDB."""


class MySqlServer(DatabaseServer, MySql):
    """A MySQL."""


# What is killed here is the server and never the machine, which keeps what it was given to write:
# nothing is lost, and making tables takes half the time.
_UNSYNCED: Final = ("--innodb-flush-method=nosync",)

_SERVERS: Final[dict[DatabaseKind, type[DatabaseServer]]] = {
    DatabaseKind.MARIADB: MariaDbServer,
    DatabaseKind.MYSQL: MySqlServer,
}


class Servers:
    """One server of each kind, started when it is first asked for.

    Parameters
    ----------
    folder
        Gives the folder of a server by its name.
    """

    def __init__(self, folder: Callable[[str], Path], name: str = "") -> None:
        self._folder = folder
        self._name = name
        self._started: dict[DatabaseKind, DatabaseServer] = {}
        self._stack = ExitStack()

    def __getitem__(self, kind: DatabaseKind) -> DatabaseServer:
        if kind not in self._started:
            server = _SERVERS[kind](self._folder(f"{self._name}{kind}"), options=_UNSYNCED)
            self._started[kind] = self._stack.enter_context(server)
        return self._started[kind]

    def stop(self) -> None:
        """Stop those that were started."""
        self._stack.close()


@contextmanager
def servers_of(tmp_path_factory: pytest.TempPathFactory, name: str = "") -> Iterator[Servers]:
    """Give servers whose folders are new, or shared by sessions that come one after the other."""
    kept = os.environ.get(FOLDER_VARIABLE)
    made = Servers(lambda name: Path(kept) / name if kept else tmp_path_factory.mktemp(name), name)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Serve the databases of this test session; a first start takes a second."""
    with servers_of(tmp_path_factory) as servers:
        yield servers


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, servers: Servers) -> DatabaseServer:
    """Run a test on each kind of database."""
    return servers[request.param]


@pytest.fixture
def schema(server: DatabaseServer) -> Iterator[Schema]:
    """Give one test an empty schema and its user."""
    with server.lent_schema() as schema:
        yield schema


@pytest.fixture(params=["fake", *KINDS])
def database_or_fake(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Database | None]:
    """Reach an empty schema of each kind of database as a function does; None is for the fake."""
    if request.param == "fake":
        yield None
        return
    with servers[request.param].lent_schema() as schema:
        database = schema.reach()
        yield database
        database.discard()
