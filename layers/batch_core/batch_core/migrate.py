"""Migrate: numbered SQL files, applied once each, and a look at what they left.

Files are `NNNN_name.sql` with MySQL statements, each ended by `;`, as a dump or an editor writes
them: with or without a byte order mark, with triggers and routines, with DELIMITER. MySQL commits
a CREATE or ALTER at once, so a file that fails half-way stays half applied: what was applied is
remembered statement by statement, and the next try goes on behind it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
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
# Text, names and comments, in which a delimiter means nothing; then the delimiter.
_SYNTAX: Final = r"""
      (?P<end> {delimiter} )
    | ' (?: [^'\\] | \\. | '' )* '
    | " (?: [^"\\] | \\. | "" )* "
    | ` [^`]* `
    | (?P<comment> (?: \# | --(?=\s|\Z) ) [^\n]* | /\*(?![!+]) .*? \*/ )
    | (?P<open> ['"`] | /\*(?![!+]) )
    """
_DELIMITER: Final = re.compile(r"\s*DELIMITER[ \t]+(\S+)[^\n]*", re.IGNORECASE)
_ROUTINE: Final = re.compile(
    r"\s*CREATE\s+(?:OR\s+REPLACE\s+)?(?:DEFINER\s*=\s*\S+\s+)?(?:AGGREGATE\s+)?"
    r"(?:TRIGGER|PROCEDURE|FUNCTION|EVENT)\b",
    re.IGNORECASE,
)
# What begins and ends blocks; `END IF` and the like are one word.
_BLOCK_WORD: Final = re.compile(
    r"(?<![\w.@$])(?:(END)(?:\s+(?:IF|CASE|LOOP|REPEAT|WHILE))?"
    r"|(BEGIN|THEN|ELSEIF|WHEN|CASE|LOOP|WHILE|REPEAT(?!\s*\()))(?![\w$])",
    re.IGNORECASE,
)


@cache
def _token(delimiter: str) -> re.Pattern[str]:
    return re.compile(_SYNTAX.replace("{delimiter}", re.escape(delimiter)), re.VERBOSE | re.DOTALL)


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
        if faults := self.store.strangers(self.table, self.query):
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
            statements = tuple(split(path.read_text(encoding="utf-8-sig")))
        except ValueError as error:
            raise MigrationError(f"{source}/{path.name}: {error}") from error
        files.append(SqlFile(source, number, path.name, statements))
    return files


def split(sql: str) -> Iterator[str]:
    """Cut SQL into statements, without comments (but with `/*!` and `/*+`, which have meaning).

    A trigger or a routine ends with the semicolon behind its last `END`. Where that is not enough,
    `DELIMITER` works as in the mysql client.

    Raises
    ------
    ValueError
        When a quote or a comment is not closed.
    """
    statement = _Statement()
    delimiter = ";"
    at = 0
    while at < len(sql):
        if statement.empty and (command := _DELIMITER.match(sql, at)):
            delimiter = command[1]
            at = command.end()
            continue
        token = _token(delimiter).search(sql, at)
        statement.add(sql[at : token.start() if token else len(sql)])
        if token is None:
            break
        at = token.end()
        if token["open"]:
            line = sql.count("\n", 0, token.start()) + 1
            raise ValueError(f"the {token['open']} in line {line} is never closed")
        if token["comment"]:
            statement.add(" ")
        elif token["end"] and (delimiter != ";" or statement.complete):
            yield from statement.text
            statement = _Statement()
        elif token["end"]:
            statement.add(";")
        else:
            statement.add(token[0], quoted=True)
    yield from statement.text


class _Statement:
    """A statement as far as it has been read."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        # The same, with nothing in its quotes.
        self._plain: list[str] = []

    def add(self, text: str, *, quoted: bool = False) -> None:
        self._parts.append(text)
        self._plain.append("''" if quoted else text)

    @property
    def empty(self) -> bool:
        return not "".join(self._parts).strip()

    @property
    def text(self) -> Iterator[str]:
        """The statement, unless there is none."""
        if text := "".join(self._parts).strip():
            yield text

    @property
    def complete(self) -> bool:
        """Whether a semicolon ends it: in a trigger or a routine, only outside its blocks.

        Every block ends with an `END`. An IF is known by its THEN, which ELSEIF and WHEN have too:
        the word alone may be a function or part of `IF EXISTS`.
        """
        plain = "".join(self._plain)
        if not _ROUTINE.match(plain):
            return True
        words = Counter((end or word).upper() for end, word in _BLOCK_WORD.findall(plain))
        blocks = words["BEGIN"] + words["THEN"] - words["ELSEIF"] - words["WHEN"]
        for word in ("CASE", "LOOP", "REPEAT", "WHILE"):
            blocks += words[word]
        return blocks <= words["END"]
