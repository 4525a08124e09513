"""Lets a run on the local cloud begin although an earlier one was not seen to its end.

On AWS a lease whose run died is waited out by the next schedule. Here a person who stopped
`batchctl`, or the whole cloud, in the middle of a run wants the next one to run now.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from batchctl.local.sql_server import Connection

_PAUSE_S: Final = 0.5

_HOLDER: Final = (
    "SELECT r.run_id, r.owner, l.fence FROM batch_lease l JOIN batch_run r USING (run_id)"
    " WHERE l.id = 1 AND l.expires_at > UTC_TIMESTAMP(3)"
)
# Only if nobody took it meanwhile.
_RELEASE: Final = "UPDATE batch_lease SET expires_at = UTC_TIMESTAMP(3) WHERE id = 1 AND fence = %s"


def make_way(
    connection: Connection,
    stepfunctions: Any,
    say: Callable[[str], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait for the run that holds the lease; take the lease from one that no longer runs.

    Parameters
    ----------
    connection
        To the tenant's schema; each statement must commit by itself.
    stepfunctions
        A boto3 client of the local cloud.
    say
        Is told, once, what is waited for.
    """
    waiting_for = ""
    while holder := _holder(connection):
        run_id, owner, fence = holder
        if not _runs(stepfunctions, owner):
            with connection.cursor() as cursor:
                cursor.execute(_RELEASE, (fence,))
            return
        if waiting_for != run_id:
            say(f"waiting for the run {run_id} to end")
            waiting_for = run_id
        sleep(_PAUSE_S)


def _holder(connection: Connection) -> tuple[str, str, int] | None:
    with connection.cursor() as cursor:
        cursor.execute(_HOLDER)
        row = cursor.fetchone()
    return None if row is None else (str(row[0]), str(row[1]), int(row[2]))


def _runs(stepfunctions: Any, execution: str) -> bool:
    try:
        answer = stepfunctions.describe_execution(executionArn=execution)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "ExecutionDoesNotExist":
            raise
        return False  # the local cloud was started anew
    return bool(answer["status"] == "RUNNING")
