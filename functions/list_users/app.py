"""List Users: the function behind the state of the same name."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import batch_core
import job
from batch_core.adapters.code import code_version
from batch_core.adapters.mysql import connect
from batch_core.adapters.mysql_ledger import MySqlRunLedger
from batch_core.adapters.mysql_users import MySqlUserSource
from batch_core.adapters.s3 import S3PayloadStore
from batch_core.list_users import UserLister
from batch_core.observability import observed
from batch_core.settings.list_users import ListUsersSettings

# In a function all layers share one folder, so the job's files are named.
JOB_FILE = Path(str(job.__file__))
CODE = (Path(str(batch_core.__file__)).parent, JOB_FILE, JOB_FILE.with_name("schema"))
# The users query may have to sort before it yields its first row.
QUERY_SECONDS = 60
# A failover takes up to 40 seconds, and a run that lists late is better than none.
PATIENCE_SECONDS = 60


@cache
def lister() -> UserLister:
    """Make what the environment keeps from one invocation to the next."""
    settings = ListUsersSettings.from_env()
    database = connect(settings, read_seconds=QUERY_SECONDS, patience_seconds=PATIENCE_SECONDS)
    return UserLister(
        settings=settings,
        query=job.JOB.users,
        code=code_version(CODE),
        users=MySqlUserSource(database),
        ledger=MySqlRunLedger(database),
        store=S3PayloadStore(settings.payload_bucket),
    )


@observed("List Users")
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001
    """Take the lease of the run and write its users into chunks."""
    return lister()(event)
