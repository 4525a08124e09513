"""Process Users: the function behind the state of the same name."""

from __future__ import annotations

from functools import cache
from typing import Any

from batch_core.adapters.kinesis import KinesisRecordStream
from batch_core.adapters.s3 import S3PayloadStore
from batch_core.observability import observed
from batch_core.process_users import process_users
from batch_core.settings.process_users import ProcessUsersSettings
from job import JOB


@cache
def parts() -> dict[str, Any]:
    """Make what the environment keeps from one invocation to the next."""
    settings = ProcessUsersSettings.from_env()
    return {
        "tenant": settings.tenant_id,
        "store": S3PayloadStore(settings.payload_bucket),
        "stream": KinesisRecordStream(settings.stream_name),
    }


@observed("Process Users")
def lambda_handler(event: dict[str, Any], _context: Any) -> dict[str, int]:
    """Turn one group's answers into rows and put them on the stream."""
    return process_users(event, job=JOB, **parts())
