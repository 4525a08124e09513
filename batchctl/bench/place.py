"""Where one tenant's users, rows and API are, for programs that are not functions of a stack."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self

import pymysql

if TYPE_CHECKING:
    from batchctl.local.sql_server import Connection

_PREFIX: Final = "BENCH_"


@dataclass(frozen=True)
class Place:
    """One tenant's database and API; travels in the environment, where no password is listed.

    Parameters
    ----------
    host, port, database, user, password, ca_file
        The database, reached over TLS as the functions reach it.
    api_url
        The base URL of the outside API.
    """

    host: str
    port: int
    database: str
    user: str
    password: str
    ca_file: str
    api_url: str

    def environment(self) -> dict[str, str]:
        """Return the variables that :meth:`from_environment` reads."""
        return {f"{_PREFIX}{name.upper()}": str(value) for name, value in asdict(self).items()}

    @classmethod
    def from_environment(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read the place; KeyError names the variable that is missing."""
        source = os.environ if env is None else env
        given: dict[str, Any] = {f.name: source[f"{_PREFIX}{f.name.upper()}"] for f in fields(cls)}
        return cls(**{**given, "port": int(given["port"])})

    def connect(self) -> Connection:
        """Open a connection that commits each statement by itself."""
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=self.database,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=5,
            ssl=self._tls,
        )

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        # One for all connections: PyMySQL's default reads the system's bundle for each, 30 ms.
        return ssl.create_default_context(cafile=self.ca_file)


def outdate(connection: Connection) -> None:
    """Turn every stored row into one of the past, which an answer of today replaces.

    The version is older than any run's and the ETag is none that the API knows, so that a round is
    what most runs are: conditional requests, answered in full, that change rows that are there.
    """
    with connection.cursor() as cursor:
        cursor.execute("UPDATE user_activity SET version = 0, etag = '\"outdated\"', note = ''")


def remember_one_run(connection: Connection, users: int) -> None:
    """Let the ledger know of one run only, of as many users.

    By their number the next run cuts its chunks, as every run but the first does. How long the run
    took is nothing, since that bounds how many users the next one asks for.
    """
    with connection.cursor() as cursor:
        for table in ("batch_record", "batch_run", "batch_user"):
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608  the three names above
        cursor.execute("UPDATE batch_lease SET next_user = NULL")
        cursor.execute(
            "INSERT INTO batch_run (run_id, version, owner, fence, status, opened_at, closed_at,"
            " listed, called, api_ms) VALUES"
            " ('before', 0, '', 0, 'completed', '2000-01-01', '2000-01-01', %s, %s, 0)",
            (users, users),
        )
