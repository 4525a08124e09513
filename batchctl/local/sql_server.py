"""A private database server: its own folder, socket and port; the system's is never touched.

What MariaDB and MySQL have in common is here; what each has of its own is in `mariadb` and `mysql`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import pymysql

from batchctl.errors import BatchctlError
from batchctl.local import ports, processes
from batchctl.local.tls import ServerTls, ensure_server_tls

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

HOST: Final = "127.0.0.1"

_START_DEADLINE_S: Final = 60.0
_STOP_GRACE_S: Final = 30.0
_SOCKET: Final = "server.sock"
# The address of a Unix socket holds 107 characters; a checkout may lie deeper than that.
_SOCKET_PATH_MAX: Final = 107

# What an account needs to run this (RDS and Aurora ship without the strict modes), and what changes
# when a commit is safe.
_LIKE_PRODUCTION: Final = (
    "--character-set-server=utf8mb4",
    "--innodb-flush-log-at-trx-commit=1",
    (
        "--sql-mode=ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,"
        "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
    ),
    "--transaction-isolation=REPEATABLE-READ",
    "--default-time-zone=+00:00",
    "--max-connections=200",
    "--max-allowed-packet=64M",
)

type Connection = pymysql.connections.Connection[pymysql.cursors.Cursor]


class SqlServer(ABC):
    """One server whose files all lie under `home`.

    It may be started again after a crash of the server, of the machine or of the program that
    started it. Without `port` a free one is chosen, and kept for the next start while it is free.

    Parameters
    ----------
    options
        More of the server's command line; what is said there wins.
    """

    # What the option `--database` calls it: also its folder, and the role of its process.
    role: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, home: Path, port: int | None = None, *, options: Sequence[str] = ()) -> None:
        self.home = home.resolve()
        self.folder = self.home / self.role
        self.datadir = self.folder / "data"
        self.log = self.home / "logs" / f"{self.role}.log"
        self.host = HOST
        self.port = port or self._running_port() or 0
        self._port_is_fixed = port is not None
        self._options = tuple(options)

    # --- what each has of its own -----------------------------------------------------------------

    @property
    @abstractmethod
    def admin_user(self) -> str:
        """Who the administrator is; the socket lets him in without a password."""

    @abstractmethod
    def program(self) -> Sequence[str]:
        """Return the command that starts the server, without options that both servers take.

        Raises BatchctlError, with the command that installs it, when it is absent.
        """

    @abstractmethod
    def fill(self, datadir: Path) -> None:
        """Make the files of a new server, with no user but the administrator."""

    # --- its life ---------------------------------------------------------------------------------

    @property
    def ca_file(self) -> Path:
        """The authority that clients verify the server's certificate with."""
        return self.home / "tls" / "ca.pem"

    def start(self) -> None:
        """Start the server unless it runs, and return once it answers.

        Whatever an earlier crash left is repaired first. Raises BatchctlError when the server is
        not installed, when a port that was asked for is taken, or when it does not come up.
        """
        running = self._running_port()
        if running is not None and (running == self.port or not self._port_is_fixed):
            self.port = running
            return
        program = self.program()
        processes.stop(self.home, self.role, grace_s=_STOP_GRACE_S)
        # MySQL would not start while any process has the number in it, which may be another's now.
        (self.datadir / f"{_SOCKET}.lock").unlink(missing_ok=True)
        self._ensure_datadir()
        tls = ensure_server_tls(self.home / "tls")
        self._choose_port()
        process = processes.spawn(
            self.home,
            self.role,
            [*program, *self._arguments(tls)],
            env=server_environment(),
            log=self.log,
        )
        processes.wait_for(
            lambda: self.answers() or not process.alive(), deadline_s=_START_DEADLINE_S
        )
        if not self.answers():
            self.kill()
            raise BatchctlError(
                f"{self.title} did not answer on port {self.port} of {self.host} within "
                f"{_START_DEADLINE_S:.0f} seconds.{processes.tail(self.log)}"
            )

    def stop(self) -> None:
        """Shut the server down in order; it does not matter whether it runs."""
        processes.stop(self.home, self.role, grace_s=_STOP_GRACE_S)

    def kill(self) -> None:
        """End the server as a power cut would (SIGKILL), and return when it is gone."""
        for process in processes.find(self.home, self.role):
            processes.send(process, signal.SIGKILL)
            processes.wait_until_gone([process], deadline_s=_STOP_GRACE_S)

    def restart(self) -> None:
        """Stop the server in order and start it on the same port."""
        self.stop()
        self.start()

    def answers(self) -> bool:
        """Return whether the server takes a connection from its administrator now."""
        return self._running_port() is not None

    def version(self) -> str:
        """Return which server it is, as `MySQL 9.7.4`; it must run."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT VERSION()")
            ((version,),) = cursor.fetchall()
        return f"{self.title} {version}"

    # --- ways in ----------------------------------------------------------------------------------

    def connect(
        self, *, user: str | None = None, password: str = "", database: str | None = None
    ) -> Connection:
        """Connect as the administrator over the socket or, given a user, over TLS as functions do.

        The connection commits each statement by itself.
        """
        shared: dict[str, Any] = {
            "database": database,
            "charset": "utf8mb4",
            "autocommit": True,
            "connect_timeout": 5,
        }
        if user is not None:
            context = ssl.create_default_context(cafile=str(self.ca_file))
            return pymysql.connect(
                host=self.host, port=self.port, user=user, password=password, ssl=context, **shared
            )
        connection = pymysql.connect(defer_connect=True, user=self.admin_user, **shared)
        # The socket is opened here because PyMySQL forgets to close one it could not connect.
        channel = socket.socket(socket.AF_UNIX)
        try:
            channel.settimeout(5)
            with _short_path(self.datadir, _SOCKET) as path:
                channel.connect(path)
            connection.connect(channel)
        except BaseException:
            channel.close()
            raise
        return connection

    def create_schema(self, name: str, user: str, password: str) -> None:
        """Create a schema and a user who may use only it, over TLS; both may exist already."""
        quoted = name.replace("`", "``")
        # In a GRANT, _ and % of a schema's name are wildcards: tenant a_b must not open tenant aXb.
        literal = quoted.replace("_", r"\_").replace("%", r"\%")
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS `{quoted}`")
            cursor.execute("CREATE USER IF NOT EXISTS %s@'%%'", (user,))
            cursor.execute("ALTER USER %s@'%%' IDENTIFIED BY %s REQUIRE SSL", (user, password))
            cursor.execute(f"GRANT ALL ON `{literal.replace('%', '%%')}`.* TO %s@'%%'", (user,))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _running_port(self) -> int | None:
        try:
            connection = self.connect()
        except (OSError, pymysql.MySQLError):
            return None
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT @@port")
            row = cursor.fetchone()
        assert row is not None
        return int(row[0])

    def _ensure_datadir(self) -> None:
        if self.datadir.exists():
            return
        # Built aside and renamed when whole: a datadir that exists is never half-initialised.
        building = self.folder / "data.building"
        shutil.rmtree(building, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.fill(building)
        building.rename(self.datadir)

    def _choose_port(self) -> None:
        remembered = self.folder / "port"
        if not self._port_is_fixed:
            if not self.port and remembered.exists():
                self.port = int(remembered.read_text() or 0)
            if not self.port or not ports.is_free(self.port):
                self.port = ports.free_port()
            remembered.write_text(str(self.port))
        elif not ports.is_free(self.port):
            raise BatchctlError(
                f"Port {self.port} of {self.host}, asked for {self.title}, is taken by another "
                "program. Give another port, or none to have a free one chosen."
            )

    def _arguments(self, tls: ServerTls) -> list[str]:
        scratch = self.folder / "tmp"
        scratch.mkdir(exist_ok=True)
        return [
            f"--datadir={self.datadir}",
            f"--tmpdir={scratch}",
            f"--socket={_SOCKET}",
            f"--pid-file={self.folder / 'server.pid'}",
            f"--bind-address={self.host}",
            f"--port={self.port}",
            f"--ssl-ca={tls.ca}",
            f"--ssl-cert={tls.certificate}",
            f"--ssl-key={tls.key}",
            "--require-secure-transport=ON",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=128M",
            "--performance-schema=OFF",
            *_LIKE_PRODUCTION,
            *run_as(),
            *self._options,
        ]


def series(first: int, last: int) -> str:
    """Return a table of one column, `seq`, with the numbers from `first` to `last`, as both count.

    MariaDB's `seq_1_to_9` is not MySQL's, and both stop a recursive query at 1,000 rows.
    """
    numbers = f"CONCAT('[0', REPEAT(',0', {last - first}), ']')"
    return (
        f"(SELECT n + {first - 1} AS seq"  # noqa: S608  two numbers
        f" FROM JSON_TABLE({numbers}, '$[*]' COLUMNS (n FOR ORDINALITY)) AS counted) AS series"
    )


def run_as() -> list[str]:
    """Return the option without which the servers refuse to run as root."""
    return ["--user=root"] if os.geteuid() == 0 else []


def server_environment() -> Mapping[str, str]:
    """Return the environment without the person's own settings for these servers."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MYSQL", "MARIADB"))
    }


@contextmanager
def _short_path(folder: Path, name: str) -> Iterator[str]:
    path = folder / name
    if len(os.fsencode(path)) <= _SOCKET_PATH_MAX:
        yield str(path)
        return
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}/{name}"
    finally:
        os.close(handle)
