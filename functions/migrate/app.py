"""Migrate: the function that brings the tenant's schema up to date, invoked by a deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import batch_core
import job
from batch_core.adapters.mysql import connect
from batch_core.adapters.mysql_ledger import MySqlRunLedger
from batch_core.adapters.mysql_schema import MySqlSchemaStore
from batch_core.migrate import Migrator, check
from batch_core.observability import observed
from batch_core.settings.migrate import MigrateSettings

# An ALTER of a large table takes its time; the function's timeout is the limit.
STATEMENT_SECONDS = 840


@observed("Migrate")
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001
    """Apply the SQL files that were not applied yet, the machinery's before the job's.

    With `{"check": true}` only look at the database.
    """
    settings = MigrateSettings.from_env()
    database = connect(settings, read_seconds=STATEMENT_SECONDS)
    store = MySqlSchemaStore(database)
    if event.get("check"):
        return check(store, MySqlRunLedger(database))
    migrate = Migrator(
        store=store,
        folders=[
            (module.__name__, Path(str(module.__file__)).parent / "schema")
            for module in (batch_core, job)
        ],
        table=job.JOB.table,
        query=job.JOB.users,
    )
    return migrate()
