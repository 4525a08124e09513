"""A table that is as a job's table must be, and changes to it."""

from __future__ import annotations

from typing import Any

from batch_core.ports import ColumnFacts, TableFacts, UniqueKey

COLUMNS = (
    ColumnFacts("user_id", "bigint", "bigint unsigned", required=True),
    ColumnFacts("a", "int", "int", nullable=True),
    ColumnFacts(
        "b", "varchar", "varchar(9)", required=True, charset="utf8mb4", collation="utf8mb4_bin"
    ),
    ColumnFacts("version", "bigint", "bigint", required=True),
    ColumnFacts("more", "int", "int"),
)


def table_facts(*columns: ColumnFacts, **changes: Any) -> TableFacts:
    """Facts without a fault for the job's `Table("t", ("a", "b"))`, with these columns instead."""
    made = {column.name: column for column in (*COLUMNS, *columns)}
    usual: dict[str, Any] = {
        "engine": "InnoDB",
        "columns": made,
        "unique_keys": (UniqueKey(("user_id",)),),
        "exact_collation": "utf8mb4_0900_bin",
    }
    return TableFacts(**usual | changes)
