"""What the contract suites run on: the fakes, and the real thing behind the adapters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import batch_core
from batch_core.adapters.mysql_connection import Database
from batch_core.adapters.mysql_schema import MySqlSchemaStore
from batch_core.migrate import read, split
from batch_core.ports import SqlFile
from tests.support.mariadb import Schema
from tests.support.world import TABLES, FakeWorld, MySqlWorld, World


@pytest.fixture
def database(schema: Schema) -> Iterator[Database]:
    """Reach an empty schema as a function does."""
    made = Database(
        host=schema.host,
        port=schema.port,
        name=schema.name,
        login=lambda *, fresh: (schema.user, schema.password),
        ca_file=schema.ca_file,
    )
    yield made
    made.discard()


@pytest.fixture
def mysql_world(database: Database) -> MySqlWorld:
    """Migrate the schema and add the table `note`."""
    files = read("batch_core", Path(str(batch_core.__file__)).parent / "schema")
    notes = SqlFile("test", 1, "0001_notes.sql", tuple(split(TABLES)))
    MySqlSchemaStore(database).migrate([*files, notes])
    return MySqlWorld(database)


@pytest.fixture(params=["fake", "mysql"])
def world(request: pytest.FixtureRequest) -> World:
    """Run a test on the fakes and on the real database."""
    if request.param == "fake":
        return FakeWorld()
    real: MySqlWorld = request.getfixturevalue("mysql_world")
    return real
