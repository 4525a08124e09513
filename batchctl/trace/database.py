"""What the local cloud's database holds of one user; on AWS nobody's laptop reaches it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from batchctl.trace.users import Stop

if TYPE_CHECKING:
    from batchctl.local.sql_server import Connection

THIS_RUNS_ROW: Final = "this run's row"

# The job's table is the one with a version beside a key of one column.
_TABLES: Final = """
SELECT v.table_name, k.column_name
FROM information_schema.columns v
JOIN information_schema.columns k USING (table_schema, table_name)
WHERE v.table_schema = DATABASE() AND v.column_name = 'version' AND k.column_key = 'PRI'
  AND v.table_name NOT LIKE 'batch\\_%'
"""
_MARK: Final = "SELECT failures, error, said FROM batch_user WHERE user_id = %s"


def stops_of(connection: Connection, user: str, version: int) -> list[Stop]:
    """Tell of the user's row, and of the mark that failures leave.

    Parameters
    ----------
    version
        The run's: its rows carry it.
    """
    stops = []
    with connection.cursor() as cursor:
        cursor.execute(_TABLES)
        for table, key in list(cursor.fetchall()):
            cursor.execute(f"SELECT version FROM `{table}` WHERE `{key}` = %s", (user,))  # noqa: S608
            stops.append(Stop(None, table, _told(cursor.fetchone(), version)))
        cursor.execute(_MARK, (user,))
        mark = cursor.fetchone()
    if mark is not None and mark[0]:
        failures, error, said = mark
        last = f"{error} ({said})" if said else error
        stops.append(Stop(None, "batch_user", f"{failures} failures in a row, last {last}"))
    return stops


def _told(row: tuple[int] | None, version: int) -> str:
    if row is None:
        return "no row"
    if row[0] == version:
        return THIS_RUNS_ROW
    return "the row of a later run" if row[0] > version else "the row of an earlier run"
