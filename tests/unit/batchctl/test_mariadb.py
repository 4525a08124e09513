"""The private MariaDB, started for real."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pymysql
import pytest

from batchctl.errors import BatchctlError
from batchctl.local import ports, processes
from batchctl.local.mariadb import ROLE, MariaDb, MariaDbPrograms
from batchctl.local.tls import ensure_server_tls

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.mariadb import MariaDbServer, Schema


def test_a_missing_mariadb_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    with pytest.raises(
        BatchctlError, match=r"mariadbd is neither on PATH.*sudo apt-get install .*mariadb-server"
    ):
        MariaDbPrograms.find(path=str(tmp_path))


def test_a_tenants_user_sees_its_own_schema_only(mariadb: MariaDbServer, schema: Schema) -> None:
    other = mariadb.fresh_schema()
    with schema.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id INT PRIMARY KEY)")
        with pytest.raises(pymysql.err.OperationalError, match="command denied"):
            cursor.execute(f"CREATE TABLE `{other.name}`.t (id INT PRIMARY KEY)")
    mariadb.drop(other)


def test_an_underscore_in_a_schemas_name_opens_no_other_schema(mariadb: MariaDbServer) -> None:
    mariadb.create_schema("like_this", "like_this", "secret")
    mariadb.create_schema("likeXthis", "likeXthis", "secret")
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        mariadb.connect(user="like_this", password="secret", database="likeXthis")


def test_a_connection_without_tls_is_refused(mariadb: MariaDbServer, schema: Schema) -> None:
    with pytest.raises(pymysql.err.OperationalError, match=r"Access denied|secure transport"):
        pymysql.connect(
            host=schema.host,
            port=schema.port,
            user=schema.user,
            password=schema.password,
            ssl_disabled=True,
        )


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


def test_the_server_commits_and_compares_as_production_does(mariadb: MariaDbServer) -> None:
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT @@innodb_flush_log_at_trx_commit, @@character_set_server, @@max_connections,"
            " @@sql_mode LIKE '%STRICT_TRANS_TABLES%', @@tx_isolation"
        )
        assert cursor.fetchone() == (1, "utf8mb4", 200, 1, "REPEATABLE-READ")


def test_a_killed_server_comes_back_on_its_port_with_what_was_committed(tmp_path: Path) -> None:
    with MariaDb(tmp_path) as server:
        server.create_schema("kept", "kept", "secret")
        port = server.port
        server.kill()
        assert not server.answers()
        server.start()
        assert server.port == port
        server.connect(user="kept", password="secret", database="kept").close()
    assert processes.find(tmp_path, ROLE) == []


def test_a_half_made_datadir_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "mariadb" / "data.building").mkdir(parents=True)
    (tmp_path / "mariadb" / "data.building" / "ibdata1").write_text("torn")
    with MariaDb(tmp_path) as server:
        assert server.answers()


def test_a_home_too_deep_for_a_socket_address_works(tmp_path: Path) -> None:
    home = tmp_path / ("deep" * 30)
    home.mkdir()
    with MariaDb(home) as server:
        assert server.answers()


def test_a_fixed_port_that_is_taken_is_named(mariadb: MariaDbServer, tmp_path: Path) -> None:
    with pytest.raises(BatchctlError, match=f"Port {mariadb.port} .* taken by another program"):
        MariaDb(tmp_path, port=mariadb.port).start()


def test_a_remembered_port_that_is_taken_is_replaced(
    mariadb: MariaDbServer, tmp_path: Path
) -> None:
    (tmp_path / "mariadb").mkdir()
    (tmp_path / "mariadb" / "port").write_text(str(mariadb.port))
    with MariaDb(tmp_path) as server:
        assert server.answers()
        assert server.port != mariadb.port


def test_a_server_that_cannot_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with MariaDb(tmp_path) as server:
        server.stop()
        for file in server.datadir.glob("ibdata1"):
            file.write_bytes(b"not a tablespace")
        with pytest.raises(BatchctlError, match=r"did not answer[\s\S]*InnoDB"):
            server.start()


def test_a_free_port_is_free_until_someone_listens(mariadb: MariaDbServer) -> None:
    assert ports.is_free(ports.free_port())
    assert not ports.is_free(mariadb.port)
