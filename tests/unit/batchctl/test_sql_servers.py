"""The private database servers, started for real."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pymysql
import pytest

from batchctl.errors import BatchctlError
from batchctl.local import ports, processes
from batchctl.local.databases import DatabaseKind
from batchctl.local.mariadb import MariaDbPrograms
from batchctl.local.mysql import FetchedMySql
from batchctl.local.sql_server import series
from batchctl.local.tls import ensure_server_tls
from tests.support.databases import KINDS

if TYPE_CHECKING:
    from pathlib import Path

    from batchctl.local.sql_server import SqlServer
    from tests.support.databases import DatabaseServer, Schema


@pytest.fixture(params=KINDS)
def new_server(request: pytest.FixtureRequest, tmp_path: Path) -> SqlServer:
    """Give a server of each kind that was never started."""
    kind: DatabaseKind = request.param
    return kind.server(tmp_path)


def test_a_missing_mariadb_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    with pytest.raises(
        BatchctlError, match=r"mariadbd is neither on PATH.*sudo apt-get install .*mariadb-server"
    ):
        MariaDbPrograms.find(path=str(tmp_path))


def test_a_mysql_that_cannot_be_had_says_why(tmp_path: Path) -> None:
    fetch = tmp_path / "fetch.py"
    fetch.write_text("import sys; sys.exit('setup: there is no MySQL. Type this.')")
    with pytest.raises(BatchctlError, match=r"^there is no MySQL\. Type this\.$"):
        FetchedMySql.find(tmp_path / "server.json", fetch)


def test_a_tenants_user_sees_its_own_schema_only(server: DatabaseServer, schema: Schema) -> None:
    other = server.fresh_schema()
    with schema.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id INT PRIMARY KEY)")
        with pytest.raises(pymysql.err.OperationalError, match="command denied"):
            cursor.execute(f"CREATE TABLE `{other.name}`.t (id INT PRIMARY KEY)")
    server.drop(other)


def test_an_underscore_in_a_schemas_name_opens_no_other_schema(server: DatabaseServer) -> None:
    server.create_schema("like_this", "like_this", "secret")
    server.create_schema("likeXthis", "likeXthis", "secret")
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        server.connect(user="like_this", password="secret", database="likeXthis")


def test_a_connection_without_tls_is_refused(schema: Schema) -> None:
    with pytest.raises(pymysql.err.OperationalError, match=r"Access denied|secure transport"):
        pymysql.connect(
            host=schema.host,
            port=schema.port,
            user=schema.user,
            password=schema.password,
            ssl_disabled=True,
        )


def test_the_administrator_is_let_in_through_the_socket_alone(server: DatabaseServer) -> None:
    with pytest.raises(pymysql.err.OperationalError, match=r"Access denied|not allowed"):
        server.connect(user=server.admin_user)


def test_the_certificate_is_refused_by_a_client_that_trusts_another_authority(
    schema: Schema, tmp_path: Path
) -> None:
    stranger = ensure_server_tls(tmp_path).ca
    with pytest.raises(pymysql.err.OperationalError, match="CERTIFICATE_VERIFY_FAILED"):
        pymysql.connect(
            host=schema.host,
            port=schema.port,
            user=schema.user,
            password=schema.password,
            ssl=ssl.create_default_context(cafile=str(stranger)),
        )


def test_the_server_commits_and_compares_as_production_does(server: DatabaseServer) -> None:
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT @@innodb_flush_log_at_trx_commit, @@character_set_server, @@max_connections,"
            " @@sql_mode LIKE '%STRICT_TRANS_TABLES%', @@time_zone"
        )
        assert cursor.fetchone() == (1, "utf8mb4", 200, 1, "+00:00")
        names = "('tx_isolation', 'transaction_isolation')"  # not every server has the new one
        cursor.execute(f"SHOW VARIABLES WHERE variable_name IN {names}")
        assert {value for _, value in cursor.fetchall()} == {"REPEATABLE-READ"}


def test_each_server_is_what_it_is_called(server: DatabaseServer) -> None:
    assert server.version().startswith(server.title)
    assert ("MariaDB" in server.version().split()[1]) == (server.role == DatabaseKind.MARIADB)


@pytest.mark.parametrize("kind", KINDS)
def test_of_two_equal_options_the_callers_wins(kind: DatabaseKind, tmp_path: Path) -> None:
    server = kind.server(tmp_path, options=["--sql-mode="])
    with server, server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@sql_mode")
        assert cursor.fetchone() == ("",)


@pytest.mark.parametrize(("first", "last"), [(1, 1), (1, 3), (5, 2_004)])
def test_both_servers_count(server: DatabaseServer, first: int, last: int) -> None:
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT seq FROM {series(first, last)}")
        assert [number for (number,) in cursor.fetchall()] == list(range(first, last + 1))


def test_a_killed_server_comes_back_on_its_port_with_what_was_committed(
    new_server: SqlServer,
) -> None:
    with new_server as server:
        server.create_schema("kept", "kept", "secret")
        port = server.port
        server.kill()
        assert not server.answers()
        server.start()
        assert server.port == port
        server.connect(user="kept", password="secret", database="kept").close()
    assert processes.find(server.home, server.role) == []


def test_a_server_whose_number_another_process_has_got_is_started(new_server: SqlServer) -> None:
    with new_server as server:
        server.kill()
        (server.datadir / "server.sock.lock").write_text("1\n")
        server.start()
        assert server.answers()


def test_a_half_made_datadir_is_made_again(new_server: SqlServer) -> None:
    building = new_server.folder / "data.building"
    building.mkdir(parents=True)
    (building / "ibdata1").write_text("torn")
    with new_server as server:
        assert server.answers()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["deep" * 30, "two words and a 'quote'"])
def test_a_home_too_deep_for_a_socket_address_or_with_blanks_works(
    kind: DatabaseKind, name: str, tmp_path: Path
) -> None:
    home = tmp_path / name
    home.mkdir()
    with kind.server(home) as server:
        assert server.answers()


def test_a_fixed_port_that_is_taken_is_named(server: DatabaseServer, tmp_path: Path) -> None:
    with pytest.raises(BatchctlError, match=f"Port {server.port} .* taken by another program"):
        DatabaseKind(server.role).server(tmp_path, port=server.port).start()


def test_a_remembered_port_that_is_taken_is_replaced(
    server: DatabaseServer, tmp_path: Path
) -> None:
    other = DatabaseKind(server.role).server(tmp_path)
    other.folder.mkdir()
    (other.folder / "port").write_text(str(server.port))
    with other:
        assert other.answers()
        assert other.port != server.port


def test_a_server_that_cannot_start_shows_the_end_of_its_log(new_server: SqlServer) -> None:
    with new_server as server:
        server.stop()
        for file in server.datadir.glob("ibdata1"):
            file.write_bytes(b"not a tablespace")
        with pytest.raises(BatchctlError, match=r"did not answer[\s\S]*InnoDB"):
            server.start()


def test_a_free_port_is_free_until_someone_listens(server: DatabaseServer) -> None:
    assert ports.is_free(ports.free_port())
    assert not ports.is_free(server.port)
