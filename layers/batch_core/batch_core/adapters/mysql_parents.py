"""Which foreign key means that a user is gone: the one that leads from the key to the users.

Any other that does not hold is a value of the row, which is rejected. A user that an earlier run
called gone and that was listed again is not gone either: its foreign key leads to some other table
than the users query reads, such as the old one after a sync that swaps tables by RENAME.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from batch_core.error_classes import ErrorClass
from batch_core.upsert import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from batch_core.adapters.mysql_connection import Session
    from batch_core.job import Table

# How the error 1452 names what does not hold; 1216, for who may not know of the parent, does not.
_FAILED: Final = re.compile(r"\(`[^`]+`\.`(?P<table>[^`]+)`, CONSTRAINT `(?P<name>[^`]+)`")


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key of the job's table: from which columns, and to which of which table."""

    name: str
    columns: tuple[str, ...]
    parent: str
    schema: str = ""
    parent_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parents:
    """The foreign keys of the job's table.

    Parameters
    ----------
    users
        The job's users query. Where several foreign keys lead from the key, those count whose
        parent it names.
    """

    table: Table
    keys: Sequence[ForeignKey]
    users: str = ""

    @classmethod
    def of(cls, session: Session, table: Table, users: str) -> Parents:
        """Look them up."""
        columns: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
        for name, schema, parent, column, parent_column in session.rows(
            "SELECT CONSTRAINT_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME,"
            " COLUMN_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE"
            " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s"
            " AND REFERENCED_TABLE_NAME IS NOT NULL ORDER BY CONSTRAINT_NAME, ORDINAL_POSITION",
            (table.name,),
        ):
            columns.setdefault((name, schema, parent), []).append((column, parent_column))
        keys = [
            ForeignKey(name, tuple(c for c, _ in own), parent, schema, tuple(p for _, p in own))
            for (name, schema, parent), own in columns.items()
        ]
        return cls(table, keys, users)

    @property
    def to_users(self) -> list[ForeignKey]:
        """Those that lead from the key, and from nothing else, to the users."""
        key = self.table.key.lower()
        of_key = [each for each in self.keys if [c.lower() for c in each.columns] == [key]]
        named = [each for each in of_key if _names(self.users, each.parent)]
        return named or of_key

    def violated(self, error: str) -> ForeignKey | None:
        """The foreign key to the users that does not hold, if that is what an error says.

        An error that does not name its foreign key means it only where there is no other.
        """
        to_users = self.to_users
        said = _FAILED.search(error)
        if said is None:
            return to_users[0] if to_users and len(self.keys) == len(to_users) else None
        if said["table"].lower() != self.table.name.lower():
            return None  # of a table that a trigger writes
        return next((each for each in to_users if each.name == said["name"]), None)

    def fault(self, key: ForeignKey) -> str:
        """What is wrong with a foreign key if users whom it calls gone are listed again."""
        return (
            f"users that an earlier run called gone are listed again: the foreign key {key.name} of"
            f" {self.table.name}.{self.table.key} leads to the table {key.parent}, where they are"
            " not; make it lead to the table that the users query reads"
        )


def strangers(session: Session, table: Table, users: str) -> list[str]:
    """Name the foreign keys to the users that users of the query do not satisfy, and how many."""
    found = []
    for key in Parents.of(session, table, users).to_users:
        parent = f"`{key.schema}`.`{key.parent}`"
        count = session.row(
            f"SELECT COUNT(*) FROM (\n{users.strip().removesuffix(';')}\n) AS listed"  # noqa: S608  the job's own
            f" LEFT JOIN {parent} AS parent ON parent.`{key.parent_columns[0]}` = listed.user_id"
            f" WHERE listed.user_id IS NOT NULL AND parent.`{key.parent_columns[0]}` IS NULL"
        )
        if count and count[0]:
            found.append(
                f"lists {count[0]} users that the table {key.parent} lacks, to which the foreign"
                f" key {key.name} of {table.name}.{table.key} leads, so that no row of theirs can"
                " be stored; make it lead to the table that the query reads, or list only users"
                " who are there"
            )
    return found


def called_gone(session: Session, users: Iterable[object], *, before: int) -> set[str]:
    """Those of the users whom a run with a lower version called gone."""
    named = ",".join(sorted({literal(str(user)) for user in users}))
    found = session.rows(
        "SELECT user_id FROM batch_user WHERE error IN (%s, %s) AND version < %s"  # noqa: S608
        f" AND user_id IN ({named})",
        (ErrorClass.GONE.value, ErrorClass.NOT_GONE.value, before),
    )
    return {user for (user,) in found}


def _names(query: str, table: str) -> bool:
    return re.search(rf"(?<![\w$]){re.escape(table)}(?![\w$])", query, re.IGNORECASE) is not None
