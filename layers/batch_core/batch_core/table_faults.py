"""What a job's table must be for `stored` to be true of every row.

The upsert names the key, the job's columns and the version, and trusts the rest to the table: that
two users never share a row, that the key and the version stay what was sent, that a newer run is
told from an older one. A table that breaks one of these would be written to without an error, so
`migrate` refuses it, naming the column and what mends it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from batch_core.job import Table
    from batch_core.ports import ColumnFacts, ListedColumn, TableFacts, UniqueKey

# Types that round what they are given, so that two ids may become one.
_INEXACT: Final = {"float", "double"}
_TEXTS: Final = {
    *("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json"),
    *("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"),
}
_INTEGERS: Final = {"tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit"}


def faults_of(table: Table, facts: TableFacts | None) -> list[str]:
    """Say what a job's table lacks for the guarded upsert to be right; empty when it is fine."""
    if facts is None:
        return ["does not exist; create it in layers/job/schema"]
    return [
        *_names(table, facts),
        *_keys(table, facts),
        *_key_column(table, facts),
        *_version(table, facts),
        *_other_columns(table, facts),
        *_triggers(table, facts),
        *_storage(facts),
    ]


def faults_of_query(
    table: Table, facts: TableFacts, listed: Mapping[str, ListedColumn]
) -> list[str]:
    """Say why a job's users query cannot be listed, or its ids not be the keys of the table."""
    faults = [without_form(name) for name, column in listed.items() if column.type is None]
    user_id = listed.get("user_id")
    if user_id is None:
        faults.append("yields no column user_id; name one so")
    elif user_id.type is not None and not _keeps(facts.columns[table.key], user_id):
        faults.append(
            f"yields user_id as {user_id.type}, and the key {table.key} of {table.name} is "
            f"{facts.columns[table.key].declared}: ids that differ could become one; select what "
            "the key holds, or change the key"
        )
    return faults


def without_form(name: str) -> str:
    """Say what is wrong with a column whose values JSON does not have."""
    return (
        f"yields the column {name}, whose type has no form in JSON; leave it out, or select it as "
        "text, such as by ST_AsText"
    )


def _keeps(key: ColumnFacts, user_id: ListedColumn) -> bool:
    """Whether ids that differ as they are listed differ as the key holds them."""
    if user_id.type in _INEXACT:
        return False
    if user_id.type == key.type and user_id.type != "decimal":
        return True
    if key.type in _TEXTS:
        return True
    if user_id.type in _INTEGERS:
        return key.type in _INTEGERS or key.type == "decimal"
    if user_id.type == "decimal":
        return user_id.scale <= _scale(key)
    return {user_id.type, key.type} == {"datetime", "timestamp"}


def _scale(key: ColumnFacts) -> int:
    """How many digits behind the point the key holds; below none for what is no number."""
    if key.type in _INTEGERS:
        return 0
    found = re.fullmatch(r"decimal\(\d+,(\d+)\).*", key.declared)
    return int(found[1]) if found else -1


def _names(table: Table, facts: TableFacts) -> Iterator[str]:
    if missing := {table.key, table.version, *table.columns} - facts.columns.keys():
        yield f"lacks the columns {', '.join(sorted(missing))}, which the job names"


def _keys(table: Table, facts: TableFacts) -> Iterator[str]:
    # ON DUPLICATE KEY UPDATE changes whichever row the first violated key leads to.
    if [key.columns for key in facts.unique_keys] != [(table.key,)]:
        keys = ", ".join(f"({', '.join(key.columns)})" for key in facts.unique_keys) or "none"
        yield f"must have one unique key, its primary key ({table.key}); it has {keys}"
    for key in facts.unique_keys:
        yield from _prefix(key)


def _prefix(key: UniqueKey) -> Iterator[str]:
    if key.prefix_of is not None:
        yield (
            f"has a key on the beginning of {key.prefix_of} only, in which users whose ids begin "
            "alike are one; make it a key of the whole column"
        )


def _key_column(table: Table, facts: TableFacts) -> Iterator[str]:
    key = facts.columns.get(table.key)
    if key is None:
        return
    if key.counts:
        yield (
            f"has a key that counts by itself: the user 0 would get a new number in every run; "
            f"remove AUTO_INCREMENT from {key.name}"
        )
    if key.generated:
        yield f"has the generated key {key.name}; no row can be stored under a user's id"
    if key.type in _INEXACT:
        yield f"has the key {key.name} of type {key.type}, which rounds ids; use BIGINT or DECIMAL"
    # What another table's key tells apart, this one does.
    if key.collation is not None and key.name not in facts.referring:
        yield from _collation(table, key, facts.exact_collation)


def _collation(table: Table, key: ColumnFacts, exact: str) -> Iterator[str]:
    padded = key.declared.startswith("char(")
    if key.collation == exact and not padded:
        return
    why = (
        "CHAR drops trailing blanks" if key.collation == exact else f"its collation {key.collation}"
    )
    declared = key.declared.replace("char(", "varchar(") if padded else key.declared
    yield (
        f"has the key {key.name} in which ids that differ may be one row ({why}): case, accents or "
        f"trailing blanks are not told apart; ALTER TABLE `{table.name}` MODIFY `{key.name}` "
        f"{declared} CHARACTER SET utf8mb4 COLLATE {exact} NOT NULL"
    )


def _version(table: Table, facts: TableFacts) -> Iterator[str]:
    version = facts.columns.get(table.version)
    if version is None:
        return
    if version.nullable:
        yield f"has a nullable {version.name}: no row is newer than NULL"
    if version.type != "bigint":
        yield (
            f"has the version {version.name} of type {version.declared}, which does not hold or "
            "order milliseconds since 1970; it must be BIGINT NOT NULL"
        )
    if version.generated:
        yield f"has the generated version {version.name}; the machinery fills it"


def _other_columns(table: Table, facts: TableFacts) -> Iterator[str]:
    ours = {table.key, table.version, *table.columns}
    for column in facts.columns.values():
        if column.required and column.name not in ours:
            yield (
                f"requires the column {column.name}, which the job does not fill; give it a "
                "default, or name it in the job's Table"
            )
        if column.generated and column.name in table.columns:
            yield (
                f"generates the column {column.name}, so that no value can be stored in it; take "
                "it out of the job's Table"
            )


def _triggers(table: Table, facts: TableFacts) -> Iterator[str]:
    for name, statement in facts.triggers_before.items():
        for column in (table.key, table.version):
            if _assigns(statement, column):
                yield (
                    f"has the trigger {name}, which changes {column}: the row would not be the "
                    "user's, or not this run's; take that out of the trigger"
                )


def _assigns(statement: str, column: str) -> bool:
    """Whether a trigger's statement gives NEW.column a value, itself or by a procedure."""
    new = rf"NEW\s*\.\s*`?{re.escape(column)}`?(?![\w$`])"
    # `=` assigns at the beginning of an assignment and compares elsewhere.
    assigned = rf"(?:\bSET\b|,)\s*{new}\s*:?=|{new}\s*:="
    handed = rf"\bCALL\b[^;]*{new}|\bINTO\s+(?:[\w@.`]+\s*,\s*)*{new}"
    return re.search(f"{assigned}|{handed}", statement, re.IGNORECASE | re.DOTALL) is not None


def _storage(facts: TableFacts) -> Iterator[str]:
    if facts.engine.lower() != "innodb":
        yield f"uses the engine {facts.engine}; rows and ledger need InnoDB's transactions"
    charsets = {column.charset for column in facts.columns.values() if column.charset}
    if charsets - {"utf8mb4"}:
        wrong = ", ".join(sorted(charsets - {"utf8mb4"}))
        yield f"has text in {wrong}; only utf8mb4 holds every character"
