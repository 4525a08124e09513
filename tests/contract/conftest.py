"""What the contract suites run on: the fakes, and the real thing behind the adapters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from batch_core.adapters.mysql_connection import Database
from tests.support.databases import Schema
from tests.support.world import FakeWorld, MySqlWorld, World


@pytest.fixture
def database(schema: Schema) -> Iterator[Database]:
    """Reach an empty schema as a function does."""
    made = schema.reach()
    yield made
    made.discard()


@pytest.fixture
def mysql_world(database: Database) -> MySqlWorld:
    """Migrate the schema and add the table `note`."""
    return MySqlWorld.made_in(database)


@pytest.fixture
def world(database_or_fake: Database | None) -> World:
    """Run a test on the fakes and on the real databases."""
    return MySqlWorld.made_in(database_or_fake) if database_or_fake else FakeWorld()
