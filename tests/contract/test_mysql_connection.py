"""The one connection of an environment, against a real database."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from batch_core import meter
from batch_core.adapters import mysql_connection
from batch_core.adapters.mysql_connection import Database, Session, _look_at_session
from batch_core.adapters.mysql_schema import MySqlSchemaStore
from batch_core.errors import (
    AccessError,
    ConfigurationError,
    DataError,
    SchemaError,
    TransientDatabaseError,
    UnreachableDatabaseError,
)
from batchctl.local.ports import free_port
from batchctl.local.tls import ensure_server_tls
from tests.support.clock import Clock
from tests.support.databases import DatabaseServer, Schema
from tests.support.tcp_proxy import MySqlProxy
from tests.template.translation import written

# The least that both servers know.
IMPATIENT = "SET SESSION innodb_lock_wait_timeout = 1"


@pytest.fixture
def table(database: Database) -> Database:
    database.ask(lambda s: s.execute("CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL)"))
    database.ask(lambda s: s.execute("INSERT INTO t VALUES (1, 0), (2, 0)"))
    return database


def thread_of(database: Database) -> int:
    assert database._connection is not None
    number: int = database._connection.thread_id()  # type: ignore[no-untyped-call]
    return number


def kill(server: DatabaseServer, database: Database) -> None:
    database.connection()
    thread = thread_of(database)
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"KILL CONNECTION {thread}")


def increment(session: Session) -> int:
    session.execute("UPDATE t SET n = n + 1 WHERE id = 1")
    row = session.row("SELECT n FROM t WHERE id = 1")
    assert row is not None
    return int(row[0])


def test_one_connection_serves_all_work(table: Database) -> None:
    meter.reset()
    for n in range(1, 4):
        assert table.transact(increment) == n

    assert "db_connections" not in meter.reading()


def test_statements_and_the_longest_of_them_are_metered(table: Database) -> None:
    meter.reset()
    table.ask(lambda s: s.rows("SELECT %s, 'ü'", ("it's",)))
    table.ask(lambda s: s.execute(b"SET @a = 1"))

    figures = meter.reading()
    assert figures["db_statements"] == 2
    assert figures["db_statement_bytes_max"] == len("SELECT 'it\\'s', 'ü'".encode())


def test_a_connection_that_was_lost_between_two_works_is_replaced(
    table: Database, server: DatabaseServer
) -> None:
    table.transact(increment)
    kill(server, table)

    assert table.transact(increment) == 2


def test_a_connection_that_is_lost_within_a_work_has_it_done_again_from_the_start(
    table: Database, server: DatabaseServer
) -> None:
    tries = 0

    def work(session: Session) -> int:
        nonlocal tries
        tries += 1
        increment(session)
        if tries == 1:
            kill(server, table)
        return increment(session)

    assert table.transact(work) == 2
    assert tries == 2


def test_a_connection_that_rested_is_tried_before_it_is_lent(
    table: Database, server: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql_connection, "IDLE_SECONDS", -1.0)
    kill(server, table)
    meter.reset()

    assert table.once(lambda connection: increment(Session(connection))) == 1
    assert meter.reading()["db_connections"] == 1


def test_a_server_that_became_read_only_is_left(
    table: Database, schema: Schema, server: DatabaseServer
) -> None:
    writer = schema.reach(patience_seconds=0)
    writer.connection()
    before = thread_of(writer)
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL read_only = 1")
        try:
            with pytest.raises(TransientDatabaseError, match="1290") as caught:
                writer.transact(increment)
        finally:
            cursor.execute("SET GLOBAL read_only = 0")

    assert not caught.value.ends_environment
    assert writer.transact(increment) == 1
    assert thread_of(writer) != before
    writer.discard()


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("INSERT INTO t VALUES (3, NULL)", DataError),
        ("INSERT INTO t VALUES (1, 1)", DataError),
        ("INSERT INTO t (nothing) VALUES (1)", SchemaError),
        ("SELEC 1", SchemaError),
    ],
)
def test_an_error_that_no_retry_helps_is_raised_at_once_and_nothing_stays(
    table: Database, server: DatabaseServer, sql: str, kind: type[Exception]
) -> None:
    def work(session: Session) -> None:
        increment(session)
        session.execute(sql)

    meter.reset()
    with pytest.raises(kind):
        table.transact(work)

    assert "db_retries" not in meter.reading()
    assert table.ask(lambda s: s.row("SELECT n FROM t WHERE id = 1")) == (0,)


def test_whatever_a_work_raises_no_transaction_stays_open(
    table: Database, server: DatabaseServer
) -> None:
    def work(session: Session) -> None:
        increment(session)
        raise KeyError("not the database's")

    with pytest.raises(KeyError):
        table.transact(work)
    table.ask(lambda s: s.rows("SELECT * FROM t"))

    assert server.open_transactions() == 0


def test_two_who_lock_in_opposite_order_both_succeed(table: Database, schema: Schema) -> None:
    other = schema.reach()
    barrier = threading.Barrier(2)
    first = {1: True, 2: True}

    def work(mine: int, theirs: int) -> Any:
        def both(session: Session) -> None:
            session.execute("UPDATE t SET n = n + 1 WHERE id = %s", (mine,))
            if first.pop(mine, False):
                barrier.wait(10)
            session.execute("UPDATE t SET n = n + 1 WHERE id = %s", (theirs,))

        return both

    thread = threading.Thread(target=lambda: other.transact(work(2, 1)))
    thread.start()
    table.transact(work(1, 2))
    thread.join()
    other.discard()

    assert table.ask(lambda s: s.rows("SELECT id, n FROM t ORDER BY id")) == [(1, 2), (2, 2)]


def test_a_lock_that_is_not_had_in_time_is_asked_for_again(table: Database, schema: Schema) -> None:
    holder = schema.connect()
    holder.begin()
    with holder.cursor() as cursor:
        cursor.execute("UPDATE t SET n = 10 WHERE id = 1")
    # The holder ends while the other one rests between its tries.
    writer = schema.reach(sleep=lambda _: holder.commit())
    writer.ask(lambda s: s.execute(IMPATIENT))

    meter.reset()
    assert writer.transact(increment) == 11
    holder.close()
    writer.discard()
    assert meter.reading()["db_retries"] == 1
    assert "db_connections" not in meter.reading()


def test_a_lock_that_is_never_had_is_given_up_however_patient_one_is(
    table: Database, schema: Schema
) -> None:
    holder = schema.connect()
    holder.begin()
    with holder.cursor() as cursor:
        cursor.execute("UPDATE t SET n = 10 WHERE id = 1")
    pauses: list[float] = []
    writer = schema.reach(patience_seconds=10_000, sleep=pauses.append)
    writer.ask(lambda s: s.execute(IMPATIENT))

    with pytest.raises(TransientDatabaseError, match="1205") as caught:
        writer.transact(increment)
    holder.close()
    writer.discard()
    assert len(pauses) == mysql_connection.LOCK_ATTEMPTS - 1
    assert not caught.value.ends_environment


def test_a_greeting_is_not_waited_for_as_long_as_a_query(
    schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql_connection, "CONNECT_SECONDS", 0.2)
    with MySqlProxy(schema.server) as proxy:
        database = schema.reach(port=proxy.port, read_seconds=60, patience_seconds=0)
        proxy.hush()
        # Who waited for longer would be let in.
        late = threading.Timer(5, proxy.speak)
        late.start()
        with pytest.raises(UnreachableDatabaseError, match="timed out"):
            database.ask(lambda s: s.row("SELECT 1"))
        late.cancel()
        proxy.speak()

        # A query that takes longer than a greeting may.
        assert database.ask(lambda s: s.row("SELECT SLEEP(0.3)")) == (0,)
        database.discard()


def test_a_password_that_was_rotated_is_asked_for_once_more(schema: Schema) -> None:
    asked: list[bool] = []

    def login(*, fresh: bool) -> tuple[str, str]:
        asked.append(fresh)
        return schema.user, schema.password if fresh else "the one before"

    database = schema.reach(login=login)

    assert database.ask(lambda s: s.row("SELECT 1")) == (1,)
    assert asked == [False, True]
    database.discard()


def test_a_password_that_stays_wrong_is_an_access_error(schema: Schema) -> None:
    asked: list[bool] = []

    def login(*, fresh: bool) -> tuple[str, str]:
        asked.append(fresh)
        return schema.user, "wrong"

    with pytest.raises(AccessError, match="1045"):
        schema.reach(login=login).ask(lambda s: s.row("SELECT 1"))
    assert asked == [False, True]


def never() -> Callable[[float], None]:
    def sleep(_: float) -> None:
        pytest.fail("waited, as for an outage")

    return sleep


def test_a_server_of_another_authority_is_refused_at_once(schema: Schema, tmp_path: Path) -> None:
    stranger = ensure_server_tls(tmp_path)
    database = schema.reach(ca_file=Path(stranger.ca), sleep=never())

    with pytest.raises(ConfigurationError, match=r"does not verify with .*DatabaseCaFile"):
        database.ask(lambda s: s.row("SELECT 1"))


def test_a_certificate_for_another_host_is_refused_at_once(schema: Schema) -> None:
    # The same address as 127.0.0.1, written so that the certificate does not name it.
    database = schema.reach(host="127.1", sleep=never())

    with pytest.raises(ConfigurationError, match=r"certificate of 127\.1 does not verify"):
        database.ask(lambda s: s.row("SELECT 1"))


def test_a_server_that_is_away_is_tried_with_growing_pauses_until_the_patience_is_over(
    schema: Schema,
) -> None:
    clock = Clock()
    away = schema.reach(port=free_port(), patience_seconds=30, clock=clock, sleep=clock.sleep)
    meter.reset()

    with pytest.raises(UnreachableDatabaseError, match="2003") as caught:
        away.ask(lambda s: s.row("SELECT 1"))

    assert caught.value.ends_environment
    assert clock.now == pytest.approx(30)
    assert max(clock.pauses) <= 5
    assert meter.reading()["db_retries"] == len(clock.pauses) >= 6


def test_a_server_that_comes_back_within_the_patience_was_never_away(schema: Schema) -> None:
    clock = Clock()
    database = schema.reach(port=free_port(), patience_seconds=20, clock=clock, sleep=clock.sleep)
    clock.at(4, lambda: setattr(database, "_port", schema.port))

    assert database.ask(lambda s: s.row("SELECT 1")) == (1,)
    assert 4 <= clock.now < 20
    database.discard()


def test_authorities_that_cannot_be_read_are_named(schema: Schema, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing\.pem"):
        schema.reach(ca_file=tmp_path / "nothing.pem").ask(lambda s: s.row("SELECT 1"))


def test_the_connection_is_encrypted_and_its_session_is_as_the_server_made_it(
    table: Database, schema: Schema
) -> None:
    variables = "SELECT @@autocommit, @@sql_mode = @@global.sql_mode, @@character_set_client"

    assert table.ask(lambda s: s.row(variables)) == (1, 1, "utf8mb4")
    status = table.ask(lambda s: s.row("SHOW STATUS LIKE 'Ssl_version'"))
    assert status is not None
    assert status[1].startswith("TLSv1.")
    assert isinstance(table._tls, ssl.SSLContext)
    assert table._tls.verify_mode is ssl.CERT_REQUIRED


# The parameter groups that RDS and Aurora ship with name no strict mode.
RDS_MODES = ("", "NO_ENGINE_SUBSTITUTION", "ONLY_FULL_GROUP_BY,NO_ENGINE_SUBSTITUTION")


@pytest.fixture
def set_global(server: DatabaseServer) -> Iterator[Callable[[str, str], None]]:
    """Set variables of the server, for sessions to come; they are set back."""
    usual: dict[str, str] = {}

    def apply(name: str, value: str) -> None:
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT @@GLOBAL.{name}")
            ((before,),) = cursor.fetchall()
            usual.setdefault(name, before)
            cursor.execute(f"SET GLOBAL {name} = %s", (value,))

    yield apply
    for name, value in usual.items():
        apply(name, value)


@pytest.mark.parametrize("mode", RDS_MODES)
def test_a_server_that_is_not_strict_is_refused_with_where_to_set_it(
    schema: Schema, set_global: Callable[[str, str], None], mode: str
) -> None:
    set_global("sql_mode", mode)
    database = schema.reach(sleep=never())

    with pytest.raises(ConfigurationError) as refusal:
        database.ask(lambda s: s.row("SELECT 1"))
    text = str(refusal.value)
    assert f"sql_mode '{mode}'" in text
    assert "add STRICT_TRANS_TABLES to sql_mode in the parameter group" in text
    assert "initialisation query of the proxy" in text


def test_a_migration_of_a_server_that_is_not_strict_is_refused_and_changes_nothing(
    schema: Schema, set_global: Callable[[str, str], None]
) -> None:
    set_global("sql_mode", "NO_ENGINE_SUBSTITUTION")

    with pytest.raises(ConfigurationError, match="add STRICT_TRANS_TABLES to sql_mode"):
        MySqlSchemaStore(schema.reach()).migrate([])
    with schema.connect() as connection, connection.cursor() as cursor:
        assert cursor.execute("SHOW TABLES") == 0


@pytest.mark.parametrize("mode", ["STRICT_ALL_TABLES", "ANSI_QUOTES,STRICT_TRANS_TABLES"])
def test_either_strict_mode_will_do(
    schema: Schema, set_global: Callable[[str, str], None], mode: str
) -> None:
    set_global("sql_mode", mode)

    database = schema.reach()
    assert database.ask(lambda s: s.row("SELECT 'x'")) == ("x",)
    database.discard()


def test_the_proxys_initialisation_query_makes_a_session_of_rds_fit_to_be_used(
    schema: Schema, set_global: Callable[[str, str], None]
) -> None:
    set_global("sql_mode", "NO_ENGINE_SUBSTITUTION")
    pool = written()["Resources"]["DatabaseProxyTargets"]["Properties"]
    query = pool["ConnectionPoolConfigurationInfo"]["InitQuery"]

    with schema.connect() as connection, connection.cursor() as cursor:
        cursor.execute(query)
        _look_at_session(connection)
        cursor.execute("SELECT @@time_zone, @@innodb_lock_wait_timeout")
        assert cursor.fetchall() == (("+00:00", 5),)


def test_a_moment_is_written_and_read_in_utc_whatever_the_servers_zone(
    schema: Schema, set_global: Callable[[str, str], None]
) -> None:
    set_global("time_zone", "+09:00")
    database = schema.reach()
    database.ask(lambda s: s.execute("CREATE TABLE m (at TIMESTAMP NULL)"))
    database.ask(lambda s: s.execute("INSERT INTO m VALUES ('2026-01-31 10:00:00')"))

    seconds = database.ask(lambda s: s.row("SELECT UNIX_TIMESTAMP(at) FROM m"))
    assert seconds == (datetime(2026, 1, 31, 10, tzinfo=UTC).timestamp(),)
    database.discard()


def test_a_session_in_utc_is_left_as_it_is(database: Database) -> None:
    count = database.ask(lambda s: s.row("SHOW SESSION STATUS LIKE 'Com_set_option'"))

    # PyMySQL's own, SET NAMES.
    assert count == ("Com_set_option", "1")
