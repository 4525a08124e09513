"""Write Rows: the function behind the stream."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from batch_core.adapters.mysql import connect
from batch_core.adapters.mysql_rows import MySqlRowStore
from batch_core.observability import observed
from batch_core.settings.write_rows import WriteRowsSettings
from batch_core.write_rows import RowWriter
from job import JOB

if TYPE_CHECKING:
    from batch_core.ports import PayloadStore

# The mapping delivers the batch again, so the writer need not see a whole failover through.
PATIENCE_SECONDS = 20


@cache
def writer() -> RowWriter:
    """Make what the environment keeps from one invocation to the next."""
    settings = WriteRowsSettings.from_env()
    return RowWriter(
        tenant=settings.tenant_id,
        table=JOB.table,
        rows=MySqlRowStore(connect(settings, patience_seconds=PATIENCE_SECONDS), users=JOB.users),
        quarantine=quarantine,
    )


@cache
def quarantine() -> PayloadStore:
    """Make the store for what cannot be stored; few environments ever load the AWS SDK for it."""
    from batch_core.adapters.s3 import S3PayloadStore  # noqa: PLC0415

    return S3PayloadStore(WriteRowsSettings.from_env().payload_bucket)


@observed("Write Rows")
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001
    """Store the rows of a batch of records."""
    return writer()(event)
