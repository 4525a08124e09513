"""The database goes away: killed, failed over, read-only, full, silent, or with a new password."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import boto3
import pytest
from pymysql.err import OperationalError

from batch_core.adapters import mysql_connection
from batch_core.adapters.mysql_connection import Connection, Database
from batch_core.errors import AccessError, TransientDatabaseError, UnreachableDatabaseError
from batchctl.local.databases import DatabaseKind
from functions.write_rows import app as write_rows
from tests.faults.conftest import Lab
from tests.support.clock import Clock
from tests.support.databases import DatabaseServer, Schema, Servers
from tests.support.deliveries import Deliveries, writer
from tests.support.tcp_proxy import COMMIT, MySqlProxy
from tests.support.world import MySqlWorld

USERS = range(1, 41)
# A COM_PING.
PING = b"\x01\x00\x00\x00\x0e"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the function give up at once."""
    monkeypatch.setattr(write_rows, "PATIENCE_SECONDS", 0)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a server that does not greet for a third of a second for lost."""
    monkeypatch.setattr(mysql_connection, "CONNECT_SECONDS", 0.3)


def put_aside() -> int:
    """How many objects the function put into the bucket."""
    return int(boto3.client("s3").list_objects_v2(Bucket="payloads")["KeyCount"])


# --- 24: an environment frozen and thawed -------------------------------------------------------


@pytest.mark.fault(24)
@pytest.mark.parametrize("noticed", [True, False])
def test_a_connection_that_died_while_frozen_is_replaced_whether_or_not_the_clock_went_on(
    deployed: Deliveries,
    proxy: MySqlProxy,
    monkeypatch: pytest.MonkeyPatch,
    noticed: bool,
    lab: Lab,
) -> None:
    deployed.deliver(deployed.record(USERS, 1))
    if noticed:
        monkeypatch.setattr(mysql_connection, "IDLE_SECONDS", -1.0)
    proxy.cut()

    deployed.deliver(deployed.record(USERS, 2))

    assert proxy.connections == 2
    lab.report("connection dead after the thaw", times=1, **deployed.figures())


@pytest.mark.fault(24)
def test_a_connection_that_the_network_forgot_while_frozen_is_replaced_in_no_time(
    deployed: Deliveries,
    proxy: MySqlProxy,
    monkeypatch: pytest.MonkeyPatch,
    hasty: None,
    lab: Lab,
) -> None:
    deployed.deliver(deployed.record(USERS, 1))
    monkeypatch.setattr(mysql_connection, "IDLE_SECONDS", -1.0)
    thaw = threading.Event()
    # Only this connection falls silent.
    proxy.before(PING, lambda: thaw.wait(10))
    # A read that waited for as long as a query may would fail the invocation.
    monkeypatch.setattr(write_rows, "PATIENCE_SECONDS", 0)

    deployed.deliver(deployed.record(USERS, 2))
    thaw.set()

    assert (proxy.sprung, proxy.connections) == (1, 2)
    lab.report("connection silent after the thaw", times=1, **deployed.figures())


@pytest.mark.fault(24)
@pytest.mark.parametrize("seconds", [-86_400.0, 86_400.0])
def test_a_wall_clock_that_jumped_changes_nothing(
    deployed: Deliveries,
    proxy: MySqlProxy,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    lab: Lab,
) -> None:
    deployed.deliver(deployed.record(USERS, 2))
    honest = time.time
    monkeypatch.setattr("time.time", lambda: honest() + seconds)
    proxy.cut()

    deployed.deliver(deployed.record(USERS, 3))
    deployed.deliver(deployed.record(USERS, 1))

    lab.report("wall clock a day off after the thaw", times=1, **deployed.figures())


@pytest.mark.fault(24)
def test_a_warm_environment_survives_a_restart_of_the_database(
    deployed: Deliveries, own_server: DatabaseServer, lab: Lab
) -> None:
    deployed.deliver(deployed.record(USERS, 1))
    own_server.restart()

    deployed.deliver(deployed.record(USERS, 2))

    lab.report("database restarted between invocations", times=1, **deployed.figures())


# --- 44: the database is killed -----------------------------------------------------------------


@pytest.mark.fault(44)
def test_a_server_killed_in_a_write_and_started_again_loses_nothing(
    deployed: Deliveries, own_server: DatabaseServer, proxy: MySqlProxy, lab: Lab
) -> None:
    deployed.deliver(deployed.record(USERS, 1))
    recovery = threading.Thread(target=own_server.start)

    def crash() -> None:
        own_server.kill()
        recovery.start()

    proxy.before(COMMIT, crash)
    deployed.deliver(deployed.record(USERS, 2), deployed.record(range(20, 60), 3))
    recovery.join()

    lab.report("SIGKILL before COMMIT, then crash recovery", times=1, **deployed.figures())


@pytest.mark.fault(44)
def test_a_failover_to_another_server_is_survived_by_one_invocation(
    own_schema: Schema,
    own_server: DatabaseServer,
    servers: Servers,
    database: Database,
    proxy: MySqlProxy,
    clock: Clock,
    lab: Lab,
) -> None:
    old = own_schema.reach()
    other = servers[DatabaseKind(own_server.role)]
    MySqlWorld.made_in(old).people(*USERS)
    other.create_schema(own_schema.name, own_schema.user, own_schema.password)
    promoted = replace(own_schema, port=other.port, ca_file=other.ca_file, server=other)
    deliveries = Deliveries(promoted, writer(database))
    proxy.before(COMMIT, own_server.kill)
    clock.at(12, lambda: proxy.lead_to(other))

    deliveries.deliver(deliveries.record(USERS, 1))

    assert clock.now >= 12
    lab.report("server dead for 12 s, then another one", times=1, **deliveries.figures())
    deliveries.close()
    old.discard()
    other.drop(promoted)
    own_server.start()


@pytest.mark.fault(44)
def test_a_database_that_stays_away_ends_the_environment_and_the_batch_comes_again(
    deployed: Deliveries,
    proxy: MySqlProxy,
    impatient: None,
    ended_environments: list[str],
    lab: Lab,
) -> None:
    batch = [deployed.record(USERS, 1), deployed.record(USERS, 2)]
    proxy.refuse()

    with pytest.raises(UnreachableDatabaseError, match="2003"):
        deployed.deliver(*batch)

    assert len(ended_environments) == 1
    assert put_aside() == 0
    assert deployed.accounted == 0
    proxy.accept()
    write_rows.writer.cache_clear()
    deployed.deliver(*batch)
    lab.report("no connection while patience lasts", times=1, **deployed.figures())


# --- 45, 46: a connection dies in a transaction, and at its end ---------------------------------


@pytest.mark.fault(45)
@pytest.mark.parametrize(
    "marker",
    [b"INSERT INTO `note`", b"INSERT INTO `batch_record`", COMMIT],
    ids=["rows", "ledger", "commit"],
)
def test_a_connection_killed_in_a_transaction_has_all_of_it_written_again(
    deployed: Deliveries,
    own_server: DatabaseServer,
    own_schema: Schema,
    proxy: MySqlProxy,
    marker: bytes,
    lab: Lab,
) -> None:
    batch = [deployed.record(USERS, 2), deployed.record(USERS, 1)]
    proxy.before(marker, lambda: own_server.kill_connections(own_schema))

    deployed.deliver(*batch)

    assert proxy.connections == 2
    lab.report("KILL CONNECTION in a transaction", times=proxy.sprung, **deployed.figures())


@pytest.mark.fault(46)
@pytest.mark.parametrize(("moment", "stored"), [("before", 0), ("after", len(USERS))])
def test_whether_or_not_a_lost_commit_happened_the_state_after_a_retry_is_the_same(
    deployed: Deliveries,
    proxy: MySqlProxy,
    impatient: None,
    ended_environments: list[str],
    moment: str,
    stored: int,
    lab: Lab,
) -> None:
    batch = [deployed.record(USERS, 1), deployed.record(USERS, 2)]
    getattr(proxy, moment)(COMMIT, proxy.cut)

    with pytest.raises(TransientDatabaseError, match="2013"):
        deployed.deliver(*batch)

    # The client saw the same error, and the truth differs.
    assert (deployed.stored, deployed.accounted) == (stored, 2 * stored)
    assert ended_environments == []
    deployed.deliver(*batch)
    lab.report("connection cut before or after COMMIT", times=proxy.sprung, **deployed.figures())


# --- 49, 50: it lets nobody write, or nobody in -------------------------------------------------


@pytest.mark.fault(49)
def test_a_server_that_a_failover_made_read_only_is_left_for_the_one_that_writes(
    deliveries: Deliveries, own_server: DatabaseServer, proxy: MySqlProxy, clock: Clock, lab: Lab
) -> None:
    deliveries.deliver(deliveries.record(USERS, 1))
    newer = deliveries.record(USERS, 2)
    clock.at(10, lambda: own_server.administer("SET GLOBAL read_only = 0"))

    with own_server.global_variable("read_only", 1):
        deliveries.deliver(newer)

    assert proxy.connections == 1 + len(clock.pauses)
    lab.report("read_only for 10 s", times=1, **deliveries.figures())


@pytest.mark.fault(50)
def test_a_server_without_a_free_connection_is_waited_for(
    deliveries: Deliveries,
    own_server: DatabaseServer,
    own_schema: Schema,
    clock: Clock,
    lab: Lab,
) -> None:
    batch = deliveries.record(USERS, 1)
    others: list[Connection] = []

    def come() -> None:
        while True:
            others.append(own_schema.connect())

    def leave() -> None:
        for other in others:
            other.close()

    clock.at(10, leave)
    with own_server.global_variable("max_connections", 10):
        with pytest.raises(OperationalError, match="Too many connections"):
            come()
        deliveries.deliver(batch)

    assert clock.now >= 10
    lab.report("max_connections reached for 10 s", times=1, **deliveries.figures())


# --- 51: it says nothing ------------------------------------------------------------------------


@pytest.mark.fault(51)
@pytest.mark.parametrize(
    "marker", [b"", b"INSERT INTO `note`", COMMIT], ids=["greeting", "rows", "commit"]
)
def test_a_server_that_falls_silent_is_taken_for_lost_and_tried_again(
    deliveries: Deliveries,
    proxy: MySqlProxy,
    clock: Clock,
    hasty: None,
    marker: bytes,
    lab: Lab,
) -> None:
    batch = deliveries.record(USERS, 1)
    if marker:
        proxy.before(marker, proxy.hush)
    else:  # not even a greeting
        proxy.hush()

    def heard_again() -> None:
        proxy.cut()
        proxy.speak()

    clock.at(1, heard_again)
    deliveries.deliver(batch)

    assert proxy.connections >= 2
    lab.report("no greeting, silence in a session", times=1, **deliveries.figures())


# --- 53: the driver fails oddly -----------------------------------------------------------------


@pytest.mark.fault(53)
# The answers to BEGIN, to the rows, to the ledger's line and to COMMIT.
@pytest.mark.parametrize("answer", [1, 2, 3, 4])
def test_an_error_that_is_no_error_of_mysql_poisons_only_its_connection(
    deliveries: Deliveries,
    database: Database,
    proxy: MySqlProxy,
    monkeypatch: pytest.MonkeyPatch,
    answer: int,
    lab: Lab,
) -> None:
    connection = database.connection()
    read: Callable[..., object] = connection._read_packet
    answers = 0

    def odd(*arguments: object) -> object:
        nonlocal answers
        answers += 1
        if answers == answer:
            raise TypeError("object of type 'NoneType' has no len()")
        return read(*arguments)

    monkeypatch.setattr(connection, "_read_packet", odd)
    deliveries.deliver(deliveries.record(USERS, 1))

    assert (answers, proxy.connections) == (answer, 2)
    lab.report("TypeError while an answer is read", times=1, **deliveries.figures())


# --- 54: credentials rotated --------------------------------------------------------------------


def rotate(server: DatabaseServer, schema: Schema, password: str) -> None:
    server.administer(f"ALTER USER '{schema.user}'@'%' IDENTIFIED BY '{password}'")
    # MySQL 9.7 goes on to take the one before, which it has cached, until the next one was used.
    server.connect(user=schema.user, password=password).close()


def tell(schema: Schema, password: str) -> None:
    """Put the new password into the secret."""
    boto3.client("secretsmanager").put_secret_value(
        SecretId=os.environ["DATABASE_SECRET_ARN"],
        SecretString=json.dumps({"username": schema.user, "password": password}),
    )


@pytest.mark.fault(54)
def test_a_password_rotated_between_batches_is_asked_for_when_it_is_needed(
    deployed: Deliveries,
    own_server: DatabaseServer,
    own_schema: Schema,
    proxy: MySqlProxy,
    lab: Lab,
) -> None:
    deployed.deliver(deployed.record(USERS, 1))
    rotate(own_server, own_schema, "the-next")
    tell(own_schema, "the-next")

    deployed.deliver(deployed.record(USERS, 2))  # the connection that is open stays so
    assert proxy.connections == 1
    proxy.cut()
    deployed.deliver(deployed.record(USERS, 3))

    lab.report("password and secret rotated", times=1, **deployed.figures())


@pytest.mark.fault(54)
def test_a_password_rotated_before_its_secret_fails_the_batch_and_puts_nothing_aside(
    deployed: Deliveries,
    own_server: DatabaseServer,
    own_schema: Schema,
    ended_environments: list[str],
    lab: Lab,
) -> None:
    batch = deployed.record(USERS, 1)
    rotate(own_server, own_schema, "the-next")

    with pytest.raises(AccessError, match="1045"):
        deployed.deliver(batch)

    assert (put_aside(), ended_environments) == (0, [])
    tell(own_schema, "the-next")
    deployed.deliver(batch)
    lab.report("password rotated before its secret", times=1, **deployed.figures())
