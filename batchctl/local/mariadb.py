"""A private MariaDB: its own folder, socket and port; the system's server is never touched."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pymysql

from batchctl.errors import BatchctlError
from batchctl.local import ports, processes
from batchctl.local.tls import ensure_server_tls

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from batchctl.local.tls import ServerTls

ROLE: Final = "mariadb"
HOST: Final = "127.0.0.1"
INSTALL_HINT: Final = "sudo apt-get install mariadb-server-core mariadb-client-core"

_START_DEADLINE_S: Final = 60.0
_STOP_GRACE_S: Final = 30.0
_SOCKET: Final = "mariadb.sock"
# The address of a Unix socket holds 107 characters; a checkout may lie deeper than that.
_SOCKET_PATH_MAX: Final = 107

# What RDS for MySQL 8 runs with, where it changes what a statement does or when a commit is safe.
_LIKE_PRODUCTION: Final = (
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_unicode_520_ci",
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


@dataclass(frozen=True)
class MariaDbPrograms:
    """The programs of Debian's MariaDB that are used; the service is not."""

    server: str
    install: str

    @classmethod
    def find(cls, path: str | None = None) -> MariaDbPrograms:
        """Find the programs on PATH or where Debian puts them.

        Raises BatchctlError, with the command that installs them, when they are absent.
        """
        # A person's PATH often lacks the sbin folders, where Debian puts the server.
        if path is None:
            path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
        server, install = _program("mariadbd", path), _program("mariadb-install-db", path)
        # mariadb-install-db looks for it, and complains at length when it is not there.
        _program("my_print_defaults", path)
        return cls(server, install)


def _program(name: str, path: str) -> str:
    found = shutil.which(name, path=path)
    if found is None:
        raise BatchctlError(
            f"MariaDB is not installed: the program {name} is neither on PATH nor in /usr/sbin. "
            f"`make setup` installs it, and so does: {INSTALL_HINT}"
        )
    return found


class MariaDb:
    """One MariaDB server whose files all lie under `home`.

    It may be started again after a crash of the server, of the machine or of the program that
    started it. Without `port` a free one is chosen, and kept for the next start while it is free.
    """

    def __init__(self, home: Path, port: int | None = None) -> None:
        self.home = home.resolve()
        self.folder = self.home / "mariadb"
        self.datadir = self.folder / "data"
        self.log = self.home / "logs" / "mariadb.log"
        self.admin_user = pwd.getpwuid(os.geteuid()).pw_name
        self.host = HOST
        self.port = port or self._running_port() or 0
        self._port_is_fixed = port is not None
        self._tls: ServerTls | None = None

    @property
    def ca_file(self) -> Path:
        """The authority that clients verify the server's certificate with."""
        return self.home / "tls" / "ca.pem"

    def start(self) -> None:
        """Start the server unless it runs, and return once it answers.

        Whatever an earlier crash left is repaired first. Raises BatchctlError when MariaDB is not
        installed, when a port that was asked for is taken, or when the server does not come up.
        """
        running = self._running_port()
        if running is not None and (running == self.port or not self._port_is_fixed):
            self.port = running
            return
        programs = MariaDbPrograms.find()
        processes.stop(self.home, ROLE, grace_s=_STOP_GRACE_S)
        self._ensure_datadir(programs)
        self._tls = ensure_server_tls(self.home / "tls")
        self._choose_port()
        process = processes.spawn(
            self.home,
            ROLE,
            self._command(programs),
            env=_server_environment(),
            log=self.log,
        )
        processes.wait_for(
            lambda: self.answers() or not process.alive(), deadline_s=_START_DEADLINE_S
        )
        if not self.answers():
            self.kill()
            raise BatchctlError(
                f"MariaDB did not answer on port {self.port} of {self.host} within "
                f"{_START_DEADLINE_S:.0f} seconds.{processes.tail(self.log)}"
            )

    def stop(self) -> None:
        """Shut the server down in order; it does not matter whether it runs."""
        processes.stop(self.home, ROLE, grace_s=_STOP_GRACE_S)

    def kill(self) -> None:
        """End the server as a power cut would (SIGKILL), and return when it is gone."""
        for process in processes.find(self.home, ROLE):
            processes.send(process, signal.SIGKILL)
            processes.wait_until_gone([process], deadline_s=_STOP_GRACE_S)

    def restart(self) -> None:
        """Stop the server in order and start it on the same port."""
        self.stop()
        self.start()

    def answers(self) -> bool:
        """Return whether the server takes a connection from its administrator now."""
        return self._running_port() is not None

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

    def __enter__(self) -> MariaDb:
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

    def _ensure_datadir(self, programs: MariaDbPrograms) -> None:
        if self.datadir.exists():
            return
        # Built aside and renamed when whole: a datadir that exists is never half-initialised.
        building = self.folder / "data.building"
        shutil.rmtree(building, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            programs.install,
            "--no-defaults",
            f"--datadir={building}",
            "--auth-root-authentication-method=socket",
            f"--auth-root-socket-user={self.admin_user}",
            "--skip-test-db",
            "--skip-name-resolve",
            *_run_as(),
        ]
        # Two that are made at the same time would take the same names in a folder that they share.
        environment = {**_server_environment(), "TMPDIR": str(self.folder)}
        made = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise BatchctlError(
                f"mariadb-install-db could not create {building} (exit status {made.returncode}): "
                f"{(made.stderr or made.stdout).strip()[-1500:]}"
            )
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
                f"Port {self.port} of {self.host}, asked for MariaDB, is taken by another program. "
                "Give another port, or none to have a free one chosen."
            )

    def _command(self, programs: MariaDbPrograms) -> list[str]:
        assert self._tls is not None
        scratch = self.folder / "tmp"
        scratch.mkdir(exist_ok=True)
        return [
            programs.server,
            "--no-defaults",
            f"--datadir={self.datadir}",
            f"--tmpdir={scratch}",
            f"--socket={_SOCKET}",
            f"--pid-file={self.folder / 'mariadb.pid'}",
            f"--bind-address={self.host}",
            f"--port={self.port}",
            f"--ssl-ca={self._tls.ca}",
            f"--ssl-cert={self._tls.certificate}",
            f"--ssl-key={self._tls.key}",
            "--require-secure-transport=ON",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=128M",
            "--performance-schema=OFF",
            *_LIKE_PRODUCTION,
            *_run_as(),
        ]


def _run_as() -> list[str]:
    # mariadbd refuses to run as root unless told so by name.
    return ["--user=root"] if os.geteuid() == 0 else []


def _server_environment() -> Mapping[str, str]:
    # The person's own MySQL settings (MYSQL_HOME, MYSQL_TCP_PORT, ...) must not reach the server.
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
