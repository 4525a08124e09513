"""Migrate: numbered SQL files, applied once each, and a look at what they left.

Files are `NNNN_name.sql` with MySQL statements, each ended by `;`. MySQL commits a CREATE or ALTER
at once, so a file that fails half-way stays half applied: what was applied is remembered statement
by statement, and the next try goes on behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from batch_core.errors import (
    ConfigurationError,
    DatabaseError,
    MigrationError,
    SchemaError,
    TransientDatabaseError,
)
from batch_core.job import Table
from batch_core.observability import logger
from batch_core.ports import RunLedger, SchemaStore, SqlFile
from batch_core.table_faults import faults_of, faults_of_query

_FILE_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
# Text, names and comments, in which a semicolon means nothing; then the semicolon.
_TOKEN: Final = re.compile(
    r"""
      ' (?: [^'\\] | \\. | '' )* '
    | " (?: [^"\\] | \\. | "" )* "
    | ` [^`]* `
    | (?P<comment> (?: \# | --(?=\s|\Z) ) [^\n]* | /\*(?![!+]) .*? \*/ )
    | (?P<end> ; )
    | (?P<open> ['"`] | /\*(?![!+]) )
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Migrator:
    """What migrating needs.

    Parameters
    ----------
    folders
        A name for each folder of SQL files, in the order in which they are applied.
    table, query
        The job's table and its users query, looked at afterwards.
    """

    store: SchemaStore
    folders: Sequence[tuple[str, Path]]
    table: Table
    query: str

    def __call__(self) -> dict[str, Any]:
        """Bring the schema up to date.

        Raises
        ------
        MigrationError
            Naming the file and the statement, or what is wrong with the job's table or query.
        """
        files = [file for source, folder in self.folders for file in read(source, folder)]
        applied = self.store.migrate(files)
        facts = self.store.facts(self.table.name)
        if faults := faults_of(self.table, facts):
            raise MigrationError(f"the table {self.table.name} {'; it '.join(faults)}")
        try:
            listed = self.store.listed(self.query)
        except TransientDatabaseError:
            raise
        except DatabaseError as error:
            raise MigrationError(f"the database refuses the job's users query: {error}") from error
        assert facts is not None
        if faults := faults_of_query(self.table, facts, listed):
            raise MigrationError(f"the job's users query {'; it '.join(faults)}")
        logger.info("migrated", applied=applied)
        return {"applied": applied, "already": len(files) - len(applied)}


def check(store: SchemaStore, ledger: RunLedger) -> dict[str, Any]:
    """Look at the database and change nothing, for who cannot reach it: `batchctl doctor`.

    Returns
    -------
    What :class:`~batch_core.ports.ServerFacts` holds and how many users were `listed` lately, or
    why there are no facts as `refused`, below the one key `check`, which a Migrate that knows no
    check would not answer with.
    """
    try:
        facts, listed = store.server(), _lately_listed(ledger)
    except (ConfigurationError, DatabaseError) as error:
        return {"check": {"refused": str(error)}}
    return {"check": {**asdict(facts), "rights": sorted(facts.rights), "listed": listed}}


def _lately_listed(ledger: RunLedger) -> int:
    try:
        return ledger.lately_listed()
    except SchemaError:  # nothing was migrated yet
        return 0


def read(source: str, folder: Path) -> list[SqlFile]:
    """Read a folder's numbered files, in order.

    Raises
    ------
    MigrationError
        When there is no such folder, a file's name is not `NNNN_name.sql`, a number is used twice,
        or a file cannot be cut into statements.
    """
    if not folder.is_dir():
        raise MigrationError(f"{source} has no folder of SQL files: {folder.name} is not there")
    files: list[SqlFile] = []
    for path in sorted(folder.glob("*.sql")):
        named = _FILE_NAME.fullmatch(path.name)
        if named is None:
            raise MigrationError(
                f"{source}/{path.name}: name it NNNN_name.sql, with four digits, then lower-case "
                "letters, digits and _"
            )
        number = int(named[1])
        if files and files[-1].number == number:
            raise MigrationError(
                f"{source}/{path.name} has the same number as {files[-1].name}; give it the next"
            )
        try:
            statements = tuple(split(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise MigrationError(f"{source}/{path.name}: {error}") from error
        files.append(SqlFile(source, number, path.name, statements))
    return files


def split(sql: str) -> Iterator[str]:
    """Cut SQL into statements, without comments (but with `/*!` and `/*+`, which have meaning).

    Raises
    ------
    ValueError
        When a quote or a comment is not closed, or the text uses the client's DELIMITER.
    """
    parts: list[str] = []
    at = 0
    for token in _TOKEN.finditer(sql):
        if token["open"]:
            line = sql.count("\n", 0, token.start()) + 1
            raise ValueError(f"the {token['open']} in line {line} is never closed")
        parts.append(sql[at : token.start()])
        at = token.end()
        if token["comment"]:
            parts.append(" ")
        elif token["end"]:
            yield from _statement(parts)
            parts = []
        else:
            parts.append(token[0])
    parts.append(sql[at:])
    yield from _statement(parts)


def _statement(parts: Sequence[str]) -> Iterator[str]:
    text = "".join(parts).strip()
    if text.upper().startswith("DELIMITER"):
        raise ValueError("DELIMITER is a command of the mysql client; write plain statements")
    if text:
        yield text
