"""A tenant's database as the contract suites see it, in memory and in real databases."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Self

import batch_core
from batch_core.adapters.mysql_connection import Database
from batch_core.adapters.mysql_ledger import MySqlRunLedger
from batch_core.adapters.mysql_rows import MySqlRowStore
from batch_core.adapters.mysql_users import MySqlUserSource
from batch_core.job import Table
from batch_core.migrate import read, split
from batch_core.ports import Candidate, RowStore, RunLedger, SqlFile
from tests.support.fakes import FakeDatabase, FakeRowStore, FakeRunLedger, FakeUserSource
from tests.support.furnished import furnish

TABLE = Table("note", columns=("text", "data"))

TABLES = """
CREATE TABLE person (user_id BIGINT UNSIGNED NOT NULL PRIMARY KEY) ENGINE = InnoDB;
CREATE TABLE note (
  user_id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  text    VARCHAR(20)     NOT NULL,
  data    JSON            NULL,
  version BIGINT          NOT NULL,
  CONSTRAINT note_person FOREIGN KEY (user_id) REFERENCES person (user_id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
"""


class World(Protocol):
    """A tenant's database with the table `note`, whose text takes 20 characters."""

    ledger: RunLedger
    rows: RowStore

    def people(self, *users: int) -> None:
        """Let these users exist."""

    def forsake(self, user: int) -> None:
        """Delete a user, and the note with it."""

    def notes(self) -> dict[object, tuple[int, str]]:
        """The version and the text stored for each user."""

    def known(self) -> dict[str, tuple[int, int, str]]:
        """For each user that is remembered: the run's version, failures in a row, the error."""

    def listed(self) -> list[Candidate]:
        """The persons, as a run would list them."""

    def wait(self, seconds: int) -> None:
        """Let time pass."""

    def empty(self) -> None:
        """Forget all notes."""


class FakeWorld(World):
    """The fakes."""

    def __init__(self) -> None:
        self.database = FakeDatabase(parents=set(), refuses=_too_long)
        self.ledger: RunLedger = FakeRunLedger(self.database)
        self.rows: RowStore = FakeRowStore(self.database)

    def people(self, *users: int) -> None:
        assert self.database.parents is not None
        self.database.parents |= set(users)

    def forsake(self, user: int) -> None:
        assert self.database.parents is not None
        self.database.parents.discard(user)
        self.database.table.pop(user, None)

    def notes(self) -> dict[object, tuple[int, str]]:
        return {
            user: (version, str(values["text"]))
            for user, (version, values) in self.database.table.items()
        }

    def known(self) -> dict[str, tuple[int, int, str]]:
        return self.database.users

    def listed(self) -> list[Candidate]:
        users = [{"user_id": user} for user in sorted(self.database.parents or (), key=str)]
        return list(FakeUserSource(users, database=self.database).users(""))

    def wait(self, seconds: int) -> None:
        self.database.now += seconds

    def empty(self) -> None:
        self.database.table.clear()


def _too_long(values: object) -> str | None:
    assert isinstance(values, dict)
    return "1406: Data too long" if len(values["text"]) > 20 else None


class MySqlWorld(World):
    """The adapters on a schema that has the ledger's tables and those of `TABLES`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.ledger: RunLedger = MySqlRunLedger(self.database)
        self.rows: RowStore = MySqlRowStore(self.database)

    @classmethod
    def made_in(cls, database: Database) -> Self:
        """Make the tables in an empty schema."""
        files = read("batch_core", Path(str(batch_core.__file__)).parent / "schema")
        notes = SqlFile("test", 1, "0001_notes.sql", tuple(split(TABLES)))
        furnish(database, [*files, notes])
        return cls(database)

    def people(self, *users: int) -> None:
        values = ",".join(f"({user})" for user in users)
        self._run(f"INSERT IGNORE INTO person VALUES {values}")

    def forsake(self, user: int) -> None:
        self._run(f"DELETE FROM person WHERE user_id = {user}")

    def notes(self) -> dict[object, tuple[int, str]]:
        rows = self.database.ask(lambda s: s.rows("SELECT user_id, version, text FROM note"))
        return {user: (version, text) for user, version, text in rows}

    def known(self) -> dict[str, tuple[int, int, str]]:
        query = "SELECT user_id, version, failures, error FROM batch_user"
        rows = self.database.ask(lambda s: s.rows(query))
        return {user: (version, failures, error) for user, version, failures, error in rows}

    def listed(self) -> list[Candidate]:
        return list(MySqlUserSource(self.database).users("SELECT user_id FROM person"))

    def wait(self, seconds: int) -> None:
        # Time cannot be moved, but everything that was noted down can.
        self._run(f"UPDATE batch_lease SET expires_at = expires_at - INTERVAL {seconds} SECOND")
        self._run(f"UPDATE batch_run SET opened_at = opened_at - INTERVAL {seconds} SECOND")

    def empty(self) -> None:
        self._run("DELETE FROM note")

    def _run(self, sql: str) -> None:
        self.database.ask(lambda session: session.execute(sql))
