"""Which numbered SQL files were applied, and what the tables look like."""

from __future__ import annotations

import time
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from batch_core.adapters.mysql_connection import Session
from batch_core.adapters.mysql_errors import LOCK_WAIT_TIMEOUT, classify, number_of
from batch_core.adapters.mysql_parents import strangers
from batch_core.adapters.mysql_types import type_of
from batch_core.adapters.mysql_users import described
from batch_core.errors import (
    AccessError,
    DatabaseError,
    MigrationError,
    SchemaError,
    UnreachableDatabaseError,
)
from batch_core.ports import ColumnFacts, ListedColumn, ServerFacts, TableFacts, UniqueKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batch_core.adapters.mysql_connection import Connection, Database
    from batch_core.job import Table
    from batch_core.ports import SqlFile

# How long a statement may wait for a table that is in use. While it waits, everything that wants
# the table waits behind it, the writer included, so: short, and again.
LOCK_WAIT_SECONDS: Final = 3
LOCK_ATTEMPTS: Final = 5

# Another migration of the same schema; these end within minutes.
_MUTEX_SECONDS: Final = 10

# Compare code points and do not pad, so that all texts that differ stay apart: utf8mb4_bin does not
# tell a trailing blank. The first is MySQL's, from 8.0.17 on, the second MariaDB's.
EXACT_COLLATIONS: Final = ("utf8mb4_0900_bin", "utf8mb4_nopad_bin")

_CREATE: Final = """
CREATE TABLE IF NOT EXISTS batch_migration (
  source     VARCHAR(64)       NOT NULL,
  number     SMALLINT UNSIGNED NOT NULL,
  name       VARCHAR(255)      NOT NULL,
  statements SMALLINT UNSIGNED NOT NULL,
  complete   TINYINT           NOT NULL,
  checksum   CHAR(64)          NOT NULL,
  applied_at DATETIME(3)       NOT NULL,
  PRIMARY KEY (source, number)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4
"""


# The current user as these views write it.
_GRANTEE: Final = (
    "CONCAT(QUOTE(SUBSTRING_INDEX(CURRENT_USER(), '@', 1)), '@',"
    " QUOTE(SUBSTRING_INDEX(CURRENT_USER(), '@', -1)))"
)


class MySqlSchemaStore:
    """The table `batch_migration`, and information_schema."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def migrate(self, files: Sequence[SqlFile]) -> list[str]:
        """Apply files once each, in order, under a lock; return the names of those applied now.

        Raises
        ------
        MigrationError
            When a statement fails, when an applied file has changed since, when the lock is taken,
            or when there is no connection.
        """
        try:
            return self._database.once(lambda connection: _migrate(Session(connection), files))
        except UnreachableDatabaseError as error:
            # Told to a person who waits for it, to whom a new environment is no answer.
            raise MigrationError(f"the database cannot be reached: {error}") from error
        finally:
            # With the connection go the lock and the setting, which no other function may inherit.
            self._database.discard()

    def facts(self, table: str) -> TableFacts | None:
        """Describe a table, or None when there is none of that name."""
        return self._database.ask(lambda session: _facts(session, table))

    def server(self) -> ServerFacts:
        """Describe the server, the schema and the user; changes nothing, and tries once.

        Raises
        ------
        DatabaseError, ConfigurationError
            When there is no connection, or the server is one that must not be used.
        """
        return self._database.once(lambda connection: _server(Session(connection)))

    def strangers(self, table: Table, query: str) -> list[str]:
        """Name the foreign keys to the users that listed users do not satisfy, and how many."""
        try:
            return self._database.ask(lambda session: strangers(session, table, query))
        except AccessError:
            return []  # who may not read the parent cannot know

    def listed(self, query: str) -> dict[str, ListedColumn]:
        """Describe the columns of the users query."""

        def work(connection: Connection) -> dict[str, ListedColumn]:
            try:
                with connection.cursor() as cursor:
                    cursor.execute(described(query))
                    fields = cursor._result.fields  # type: ignore[attr-defined]  # not in the stubs
            except Exception as error:
                raise classify(error) from error
            return {field.name: ListedColumn(type_of(field), field.scale) for field in fields}

        return self._database.attempt(work)


def _migrate(session: Session, files: Sequence[SqlFile]) -> list[str]:
    # Both lines pin the connection to this client, which is fine for something as rare as this.
    taken = session.row(
        "SELECT GET_LOCK(LEFT(CONCAT('batch_migrate.', DATABASE()), 64), %s)", (_MUTEX_SECONDS,)
    )
    if taken != (1,):
        raise MigrationError(
            "another migration of this database is running; try again when it ends"
        )
    session.execute("SET SESSION lock_wait_timeout = %s", (LOCK_WAIT_SECONDS,))
    session.execute(_CREATE)
    return [f"{file.source}/{file.name}" for file in files if _apply(session, file)]


def _apply(session: Session, file: SqlFile) -> bool:
    """Apply what is left of a file; tell whether anything was."""
    known = session.row(
        "SELECT statements, complete, checksum FROM batch_migration"
        " WHERE source = %s AND number = %s",
        (file.source, file.number),
    )
    done, complete, checksum = known or (0, 0, _checksum(()))
    same_length = not complete or done == len(file.statements)
    if not same_length or checksum != _checksum(file.statements[:done]):
        raise MigrationError(
            f"{file.source}/{file.name} has changed since it was applied; restore it and put the "
            "change into a new file with the next number"
        )
    if complete:
        return False
    for number, statement in enumerate(file.statements[done:], start=done + 1):
        try:
            _execute(session, statement)
        except DatabaseError as error:
            raise MigrationError(
                f"{file.source}/{file.name}, statement {number}, failed with {error}. Those before "
                "it are applied and will not be again; correct it and migrate again. It begins: "
                f"{statement[:100]}"
            ) from error
        _remember(session, file, number, complete=number == len(file.statements))
    if not file.statements:
        _remember(session, file, 0, complete=True)
    return True


def _execute(session: Session, statement: str) -> None:
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            session.execute(statement)
        except DatabaseError as error:
            if number_of(error.__cause__) != LOCK_WAIT_TIMEOUT or attempt == LOCK_ATTEMPTS:
                raise
            # Lets those who queued behind the attempt through.
            time.sleep(attempt)
        else:
            return


def _remember(session: Session, file: SqlFile, statements: int, *, complete: bool) -> None:
    checksum = _checksum(file.statements[:statements])
    session.execute(
        "INSERT INTO batch_migration"
        " (source, number, name, statements, complete, checksum, applied_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, UTC_TIMESTAMP(3)) ON DUPLICATE KEY UPDATE"
        " statements = VALUES(statements), complete = VALUES(complete),"
        " checksum = VALUES(checksum), applied_at = VALUES(applied_at)",
        (file.source, file.number, file.name, statements, complete, checksum),
    )


def _checksum(statements: Sequence[str]) -> str:
    return sha256("\0".join(statements).encode()).hexdigest()


def _server(session: Session) -> ServerFacts:
    version, mode, role = session.rows("SELECT VERSION(), @@sql_mode, CURRENT_ROLE()")[0]
    ((character_set, collation),) = session.rows(
        "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME"
        " FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = DATABASE()"
    )
    # The schema of a right is a pattern; a host may hold an @, but no user of ours does.
    rights = session.rows(
        "SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = @user"
        " UNION SELECT PRIVILEGE_TYPE FROM information_schema.SCHEMA_PRIVILEGES"
        " WHERE GRANTEE = @user AND DATABASE() LIKE TABLE_SCHEMA".replace("@user", _GRANTEE)
    )
    return ServerFacts(
        version=str(version),
        sql_mode=str(mode),
        character_set=str(character_set),
        collation=str(collation),
        rights=frozenset(right for (right,) in rights),
        role="" if role in (None, "NONE") else str(role),
    )


def _facts(session: Session, table: str) -> TableFacts | None:
    found = session.row(
        "SELECT ENGINE FROM information_schema.TABLES"
        " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s",
        (table,),
    )
    if found is None:
        return None
    return TableFacts(
        engine=str(found[0]),
        columns=_columns(session, table),
        unique_keys=_unique_keys(session, table),
        exact_collation=_exact_collation(session),
        referring=_referring(session, table),
        triggers_before=dict(
            session.rows(
                "SELECT TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS"
                " WHERE TRIGGER_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = %s"
                " AND ACTION_TIMING = 'BEFORE' AND EVENT_MANIPULATION <> 'DELETE'",
                (table,),
            )
        ),
    )


def _columns(session: Session, table: str) -> dict[str, ColumnFacts]:
    columns = {}
    for name, kind, declared, nullable, default, extra, charset, collation in session.rows(
        "SELECT COLUMN_NAME, LOWER(DATA_TYPE), LOWER(COLUMN_TYPE), IS_NULLABLE = 'YES',"
        " COLUMN_DEFAULT, LOWER(EXTRA), CHARACTER_SET_NAME, COLLATION_NAME"
        " FROM information_schema.COLUMNS"
        " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
        (table,),
    ):
        counts = "auto_increment" in extra
        # "DEFAULT_GENERATED" is MySQL's word for a default that is an expression.
        generated = "generated" in extra.split()
        columns[name] = ColumnFacts(
            name,
            kind,
            declared,
            nullable=bool(nullable),
            required=not (nullable or counts or generated) and default is None,
            generated=generated,
            counts=counts,
            charset=charset,
            collation=collation,
        )
    return columns


def _unique_keys(session: Session, table: str) -> tuple[UniqueKey, ...]:
    keys: dict[str, list[tuple[str, bool]]] = {}
    # A key on an expression has no column's name.
    for key, column, prefix in session.rows(
        "SELECT INDEX_NAME, COALESCE(COLUMN_NAME, 'an expression'), SUB_PART IS NOT NULL"
        " FROM information_schema.STATISTICS"
        " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s AND NON_UNIQUE = 0"
        " ORDER BY INDEX_NAME, SEQ_IN_INDEX",
        (table,),
    ):
        keys.setdefault(key, []).append((column, bool(prefix)))
    return tuple(
        UniqueKey(
            tuple(column for column, _ in parts),
            next((column for column, prefix in parts if prefix), None),
        )
        for parts in keys.values()
    )


def _referring(session: Session, table: str) -> frozenset[str]:
    return frozenset(
        column
        for (column,) in session.rows(
            "SELECT MAX(COLUMN_NAME) FROM information_schema.KEY_COLUMN_USAGE"
            " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s"
            " AND REFERENCED_TABLE_NAME IS NOT NULL GROUP BY CONSTRAINT_NAME HAVING COUNT(*) = 1",
            (table,),
        )
    )


def _exact_collation(session: Session) -> str:
    row = session.row(
        "SELECT COLLATION_NAME FROM information_schema.COLLATIONS"
        " WHERE COLLATION_NAME IN (%s, %s) ORDER BY COLLATION_NAME LIMIT 1",
        EXACT_COLLATIONS,
    )
    if row is None:
        raise SchemaError(f"the server has none of the collations {', '.join(EXACT_COLLATIONS)}")
    return str(row[0])
