"""What a test does to the network reaches the client, and no more than that."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from batch_core.adapters.mysql_connection import Database, Session
from batch_core.errors import TransientDatabaseError, UnreachableDatabaseError
from tests.support.databases import DatabaseServer, Schema
from tests.support.tcp_proxy import COMMIT, MySqlProxy


@pytest.fixture
def proxy(server: DatabaseServer) -> Iterator[MySqlProxy]:
    with MySqlProxy(server) as proxy:
        yield proxy


@pytest.fixture
def behind(proxy: MySqlProxy, schema: Schema) -> Iterator[Database]:
    """Reach the schema through the proxy, without any patience."""
    made = schema.reach(port=proxy.port, read_seconds=0.3, patience_seconds=0)
    made.ask(lambda s: s.execute("CREATE TABLE t (n INT)"))
    yield made
    made.discard()


def insert(session: Session) -> int:
    return session.execute("INSERT INTO t VALUES (1)")


def rows(schema: Schema) -> int:
    with schema.connect() as connection, connection.cursor() as cursor:
        return cursor.execute("SELECT n FROM t")


def test_what_nobody_disturbs_arrives_over_tls(behind: Database, schema: Schema) -> None:
    assert behind.transact(insert) == 1
    assert behind.ask(lambda s: s.rows("SELECT REPEAT('x', 200000)")) == [("x" * 200_000,)]
    status = behind.ask(lambda s: s.row("SHOW STATUS LIKE 'Ssl_version'"))
    assert status is not None
    assert status[1].startswith("TLSv1.")
    assert rows(schema) == 1


def test_connections_can_be_cut(behind: Database, proxy: MySqlProxy) -> None:
    proxy.cut()

    with pytest.raises(TransientDatabaseError, match=r"2006|2013"):
        behind.transact(insert)
    assert behind.transact(insert) == 1
    assert proxy.connections == 2


def test_connections_can_be_refused(behind: Database, proxy: MySqlProxy) -> None:
    proxy.refuse()
    assert behind.transact(insert) == 1
    behind.discard()

    with pytest.raises(UnreachableDatabaseError, match="refused"):
        behind.transact(insert)
    proxy.accept()
    assert behind.transact(insert) == 1


def test_a_silent_connection_is_heard_again(behind: Database, proxy: MySqlProxy) -> None:
    proxy.hush()
    with pytest.raises(TransientDatabaseError, match="timed out"):
        behind.transact(insert)

    proxy.speak()
    assert behind.transact(insert) == 1


def test_a_delay_longer_than_the_client_waits_is_a_loss(
    behind: Database, proxy: MySqlProxy
) -> None:
    proxy.delay(0.6)
    with pytest.raises(TransientDatabaseError, match="timed out"):
        behind.transact(insert)

    proxy.delay(0)
    assert behind.transact(insert) == 1


@pytest.mark.parametrize(("moment", "stored"), [("before", 0), ("after", 1)])
def test_a_connection_can_be_cut_on_either_side_of_a_commit(
    behind: Database, proxy: MySqlProxy, schema: Schema, moment: str, stored: int
) -> None:
    getattr(proxy, moment)(COMMIT, proxy.cut)

    with pytest.raises(TransientDatabaseError, match="2013"):
        behind.transact(insert)
    assert (proxy.sprung, rows(schema)) == (1, stored)
    assert behind.transact(insert) == 1


def test_new_connections_can_be_led_elsewhere(
    behind: Database, proxy: MySqlProxy, server: DatabaseServer
) -> None:
    nowhere = type(server)(server.home.parent / "nowhere", port=1)
    proxy.lead_to(nowhere)
    assert behind.transact(insert) == 1

    proxy.cut()
    with pytest.raises(TransientDatabaseError):
        behind.transact(insert)
    with pytest.raises(UnreachableDatabaseError):
        behind.transact(insert)
    proxy.lead_to(server)
    assert behind.transact(insert) == 1


def test_a_trap_that_fails_fails_the_test(server: DatabaseServer, schema: Schema) -> None:
    def use() -> None:
        with MySqlProxy(server) as proxy:
            proxy.before(b"SELECT 1", lambda: 1 // 0)
            behind = schema.reach(port=proxy.port)
            assert behind.ask(lambda s: s.row("SELECT 1")) == (1,)
            behind.discard()

    with pytest.raises(ZeroDivisionError):
        use()


def test_nothing_of_a_proxy_stays_behind(server: DatabaseServer) -> None:
    before = threading.active_count()
    with MySqlProxy(server) as proxy:
        assert proxy.port

    assert threading.active_count() == before
