"""What the documented GRANT opens, on a real server."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

from batchctl.local.sql_server import Connection
from tests.support.databases import DatabaseServer
from tests.template.translation import ROOT

# A schema's name in a GRANT, up to the table.
GRANT = re.compile(r"GRANT [A-Z, ]+ ON (?P<schema>[^\s.]+)\.\S+ TO")


def documents() -> Iterator[Path]:
    yield ROOT / "README.md"
    yield from (ROOT / "docs").rglob("*.md")


def test_every_grant_in_the_documents_escapes_the_wildcard() -> None:
    schemas = [each["schema"] for path in documents() for each in GRANT.finditer(path.read_text())]

    assert schemas
    assert [name for name in schemas if re.search(r"(?<!\\)_", name)] == []


@pytest.fixture
def two_schemas(server: DatabaseServer) -> Iterator[tuple[str, str, str]]:
    """The tenant's schema, one that differs from it where it has a `_`, and the tenant's password.

    The user is called as the tenant's schema.
    """
    tenant = secrets.token_hex(4)
    own, other, password = f"batch_{tenant}", f"batchx{tenant}", secrets.token_hex(8)
    server.administer(
        f"CREATE DATABASE {own}",
        f"CREATE DATABASE {other}",
        f"CREATE USER {own}@'%' IDENTIFIED BY '{password}'",
    )
    yield own, other, password
    server.administer(f"DROP DATABASE {own}", f"DROP DATABASE {other}", f"DROP USER {own}@'%'")


def enter(server: DatabaseServer, schema: str, user: str, password: str) -> Connection:
    return server.connect(user=user, password=password, database=schema)


def test_the_documented_grant_opens_the_tenants_schema_alone(
    server: DatabaseServer, two_schemas: tuple[str, str, str]
) -> None:
    own, other, password = two_schemas
    (documented,) = re.findall(r"'(GRANT [^']+)'", (ROOT / "docs/deploy.md").read_text())
    tenant = own.removeprefix("batch_")
    server.administer(documented.replace("acme", tenant))

    enter(server, own, own, password).close()
    with pytest.raises(pymysql.OperationalError, match="1044"):
        enter(server, other, own, password)


def test_an_unescaped_grant_would_open_the_other_one(
    server: DatabaseServer, two_schemas: tuple[str, str, str]
) -> None:
    own, other, password = two_schemas
    server.administer(f"GRANT ALL ON {own}.* TO {own}@'%'")

    enter(server, other, own, password).close()
