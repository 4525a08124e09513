"""One database connection per execution environment: opened late, replaced when lost."""

from __future__ import annotations

import random
import re
import ssl
import time
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol

import pymysql
from pymysql.constants import SERVER_STATUS

from batch_core import meter, tracing
from batch_core.adapters.mysql_errors import DEADLOCK, LOCK_WAIT_TIMEOUT, classify, number_of
from batch_core.adapters.mysql_types import DECODERS
from batch_core.errors import (
    AccessError,
    ConfigurationError,
    TransientDatabaseError,
    UnknownDatabaseError,
    UnreachableDatabaseError,
)
from batch_core.retry import full_jitter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

type Connection = pymysql.connections.Connection[pymysql.cursors.Cursor]

# How long a server may take to greet, to let in, to take a statement, or to show that it lives.
CONNECT_SECONDS: Final = 5.0
# Shorter than any function's timeout, longer than a statement of the writer takes.
READ_SECONDS: Final = 15.0
# A connection that rested may have been closed by the proxy, or by a failover, without our notice.
IDLE_SECONDS: Final = 30.0

# How long to put up with a database that is away, for those who do not say.
PATIENCE_SECONDS: Final = 5.0
# Who lost a lock this often meets more than bad luck.
LOCK_ATTEMPTS: Final = 4
# An error that nobody knows may pass, and may be the statement's own.
UNKNOWN_ATTEMPTS: Final = 3
_BACKOFF_SECONDS: Final = 0.2
# Records, duplicates, warnings.
_SAID: Final = 3

# Either of them makes the server refuse a value that does not fit. Without one it cuts the value,
# makes it zero or empties it, stores that, and reports nothing but a warning.
# https://dev.mysql.com/doc/refman/8.4/en/sql-mode.html#sql-mode-strict
STRICT_MODES: Final = {"STRICT_TRANS_TABLES", "STRICT_ALL_TABLES"}
_WHERE: Final = (
    "the parameter group of the cluster or instance, or in the initialisation query of the proxy "
    "in front of it"
)
_SESSION: Final = "SELECT @@sql_mode, TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), NOW())"
_UTC: Final = "SET time_zone = '+00:00'"

# Transient, yet the connection is sound; after any other transient error it is not, or it leads to
# a server that a failover has made read-only.
LOCKED: Final = {LOCK_WAIT_TIMEOUT, DEADLOCK}


class Login(Protocol):
    """Tells the user name and the password to connect with; `fresh` after a refusal."""

    def __call__(self, *, fresh: bool) -> tuple[str, str]: ...


class Session:
    """A connection on loan for one piece of work; measures each statement."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, sql: str | bytes, values: Sequence[object] = ()) -> int:
        """Run a statement and return how many rows it touched.

        Statements in bytes are sent as they are; values are put into text by the driver.

        Raises
        ------
        DatabaseError
            The class that says what to do about it.
        """
        text = sql if isinstance(sql, bytes) else self._text(sql, values).encode()
        try:
            _measure(text)
            with tracing.statement(text):
                return self._connection.query(text)
        except Exception as error:
            # Rows are written by hand, into bytes.
            raise classify(error, of_rows=text is sql) from error

    def upsert(self, sql: bytes) -> int:
        """Run an upsert; return how many of its rows it inserted or changed, as far as is known.

        The server counts an inserted row once and a changed one twice. How many were changed, it
        says beside that, if the statement has several rows: "Records: 3  Duplicates: 1 ...", the
        words in its own language.
        https://dev.mysql.com/doc/c-api/9.1/en/mysql-info.html
        """
        counted = self.execute(sql)
        said = self._connection._result.message or b""  # type: ignore[attr-defined]  # absent from the stubs
        numbers = [int(number) for number in re.findall(rb"\d+", said)[-3:]]
        return counted - numbers[1] if len(numbers) == _SAID else min(counted, 1)

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return all its rows."""
        text = self._text(sql, values)
        try:
            _measure(text.encode())
            with tracing.statement(text), self._connection.cursor() as cursor:
                cursor.execute(text)
                return list(cursor.fetchall())
        except Exception as error:
            raise classify(error) from error

    def row(self, sql: str, values: Sequence[object] = ()) -> tuple[Any, ...] | None:
        """Run a query and return its first row."""
        rows = self.rows(sql, values)
        return rows[0] if rows else None

    def _text(self, sql: str, values: Sequence[object]) -> str:
        return self._connection.cursor().mogrify(sql, tuple(values)) if values else sql


def _measure(text: bytes) -> None:
    meter.count("db_statements")
    meter.peak("db_statement_bytes_max", len(text))


def _set_read_seconds(connection: Connection, seconds: float) -> None:
    connection._read_timeout = seconds  # type: ignore[attr-defined]  # absent from the stubs


class Database:
    """The tenant's database; lives as long as the execution environment.

    Every connection is opened with the same arguments. It looks at its session once: a session that
    is not strict is refused, one in another time zone than UTC is moved to UTC, so that TIMESTAMP
    columns are read and written in UTC as everything else is. The time zone is among the variables
    that RDS Proxy tracks, so that setting it pins nothing; no other setting is changed.
    https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/rds-proxy-pinning.html

    Parameters
    ----------
    login
        Asked for the credentials whenever a connection is opened.
    ca_file
        The only authorities whose certificates are accepted. One small file, read once: PyMySQL's
        default reads the system's bundle for every connection, which costs 30 ms.
    read_seconds
        How long to wait for an answer before the connection is taken for lost.
    patience_seconds
        How long after its start a piece of work may be begun again. A server that was killed is
        back in 2 to 20 seconds, a failover takes 20 to 40.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        name: str,
        login: Login,
        ca_file: Path,
        read_seconds: float = READ_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._host = host
        self._port = port
        self._name = name
        self._login = login
        self._ca_file = ca_file
        self._read_seconds = read_seconds
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._sleep = sleep
        self._connection: Connection | None = None
        self._used_at = 0.0

    def transact[T](self, work: Callable[[Session], T]) -> T:
        """Do a piece of work in one transaction, and all of it again after a transient error.

        A commit whose answer is lost may have happened: `work` must not mind being done twice.

        Raises
        ------
        DatabaseError
            When the last attempt fails; nothing is stored then, but for a lost answer to a commit.
            It is an UnreachableDatabaseError when there was no connection for it.
        """

        def transaction(session: Session) -> T:
            session.execute(b"BEGIN")
            result = work(session)
            session.execute(b"COMMIT")
            return result

        return self.ask(transaction)

    def ask[T](self, work: Callable[[Session], T]) -> T:
        """Do a piece of work whose statements each stand alone, again after a transient error."""
        return self.attempt(lambda connection: work(Session(connection)))

    def attempt[T](self, work: Callable[[Connection], T]) -> T:
        """Do a piece of work with the connection itself, again after a transient error.

        A lost lock is asked for again a few times, as is what an unknown error refused; for
        everything else the patience decides.
        """
        deadline = self._clock() + self._patience_seconds
        lost = locked = unknown = 0
        while True:
            try:
                return self.once(work)
            except UnknownDatabaseError:
                unknown += 1
                if unknown == UNKNOWN_ATTEMPTS:
                    raise
                pause = full_jitter(unknown, base=_BACKOFF_SECONDS, random=random.random)
                meter.count("db_retries")
                self._sleep(pause)
            except TransientDatabaseError as error:
                if number_of(error.__cause__) in LOCKED:
                    locked += 1
                    if locked == LOCK_ATTEMPTS:
                        raise
                    # Those who collided must not meet again.
                    pause = full_jitter(locked, base=_BACKOFF_SECONDS, random=random.random)
                else:
                    lost += 1
                    left = deadline - self._clock()
                    if left <= 0:
                        raise
                    pause = full_jitter(lost, base=_BACKOFF_SECONDS, random=random.random)
                    pause = min(pause, left)
                meter.count("db_retries")
                self._sleep(pause)

    def once[T](self, work: Callable[[Connection], T]) -> T:
        """Do a piece of work that must not be begun again; leave no transaction open.

        Raises
        ------
        DatabaseError
            Whatever the class.
        """
        try:
            return work(self.connection())
        except TransientDatabaseError as error:
            if number_of(error.__cause__) in LOCKED:
                self._roll_back()
            else:
                self.discard()
            raise
        except BaseException:
            self._roll_back()
            raise

    def connection(self) -> Connection:
        """The connection, opened or replaced if need be.

        Raises
        ------
        AccessError, UnreachableDatabaseError
            When it cannot be opened.
        """
        if self._connection is not None and self._clock() - self._used_at > IDLE_SECONDS:
            self._try_out(self._connection)
        if self._connection is None:
            try:
                self._connection = self._open(fresh=False)
            except AccessError:
                # The secret was rotated, or the token is of an earlier quarter of an hour.
                self._connection = self._open(fresh=True)
        self._used_at = self._clock()
        return self._connection

    def discard(self) -> None:
        """Close the connection; the server rolls back what it had not committed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if result := connection._result:  # type: ignore[attr-defined]  # absent from the stubs
                # Or it would read the rest of its rows when it is collected.
                result.unbuffered_active = False
            # Hard, since an orderly goodbye may wait for a peer that no longer answers.
            connection._force_close()  # type: ignore[attr-defined]  # absent from the stubs

    def _try_out(self, connection: Connection) -> None:
        """Close a connection that does not answer at once: a NAT may have forgotten it."""
        try:
            _set_read_seconds(connection, CONNECT_SECONDS)
            connection.ping(reconnect=False)
            _set_read_seconds(connection, self._read_seconds)
        except Exception:  # noqa: BLE001  whatever it is, the connection is of no use
            self.discard()

    def _roll_back(self) -> None:
        """Leave no transaction open: roll back, or else close."""
        if self._connection is None:
            return
        try:
            self._connection.rollback()
        except Exception:  # noqa: BLE001  whatever it is, the connection is of no use
            self.discard()

    def _open(self, *, fresh: bool) -> Connection:
        user, password = self._login(fresh=fresh)
        tls = self._tls
        meter.count("db_connections")
        try:
            with tracing.statement("CONNECT"):
                connection = pymysql.connect(
                    host=self._host,
                    port=self._port,
                    user=user,
                    password=password,
                    database=self._name,
                    charset="utf8mb4",
                    conv=DECODERS,
                    autocommit=True,
                    connect_timeout=CONNECT_SECONDS,
                    # For the greeting; a query may take longer.
                    read_timeout=CONNECT_SECONDS,
                    write_timeout=CONNECT_SECONDS,
                    ssl=tls,
                )
            try:
                _look_at_session(connection)
            except BaseException:
                with suppress(Exception):
                    connection.close()
                raise
        except ConfigurationError:
            raise
        except Exception as error:
            if mistrust := _mistrust(error):
                raise ConfigurationError(
                    f"the certificate of {self._host} does not verify with {self._ca_file}: "
                    f"{mistrust}. Name the file of the authorities that signed it in the parameter "
                    "DatabaseCaFile; docs/deploy.md says where to put it"
                ) from error
            known = classify(error)
            if isinstance(known, TransientDatabaseError):
                known = UnreachableDatabaseError(*known.args)
            raise known from error
        _set_read_seconds(connection, self._read_seconds)
        return connection

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_verify_locations(cafile=str(self._ca_file))
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"the certificates in {self._ca_file}, which DATABASE_CA_FILE names, cannot be "
                f"read: {error}"
            ) from error
        return context


def _look_at_session(connection: Connection) -> None:
    """Refuse a session in which what is stored is not what was sent; move it to UTC if need be.

    Raises
    ------
    ConfigurationError
        When the session is not strict, or reads a backslash as a letter.
    """
    status: int = connection.server_status  # type: ignore[attr-defined]  # absent from the stubs
    if status & SERVER_STATUS.SERVER_STATUS_NO_BACKSLASH_ESCAPES:
        raise ConfigurationError(
            "the database runs with sql_mode NO_BACKSLASH_ESCAPES, which changes how text is "
            f"quoted; remove it from {_WHERE}"
        )
    with connection.cursor() as cursor:
        cursor.execute(_SESSION)
        ((mode, seconds_off),) = cursor.fetchall()
        if not STRICT_MODES & set(mode.split(",")):
            raise ConfigurationError(
                f"the database is not strict: with its sql_mode '{mode}' it changes values that do "
                "not fit and stores them all the same; add STRICT_TRANS_TABLES to sql_mode in "
                f"{_WHERE}"
            )
        if seconds_off:
            cursor.execute(_UTC)


def _mistrust(error: Exception) -> str:
    """Why a certificate was not accepted, if that is what an error is about."""
    cause: object = getattr(error, "original_exception", error)
    return cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else ""
