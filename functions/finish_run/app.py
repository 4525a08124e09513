"""Finish Run: the function behind the state of the same name."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any

from batch_core.adapters.mysql import connect
from batch_core.adapters.mysql_ledger import MySqlRunLedger
from batch_core.finish_run import RunFinisher
from batch_core.observability import observed, publish
from batch_core.run_metrics import RunMetrics
from batch_core.settings.finish_run import FinishRunSettings

if TYPE_CHECKING:
    from batch_core.ports import PayloadStore

# A failover takes up to 40 seconds; the run's account is worth the wait.
PATIENCE_SECONDS = 40


@cache
def finisher() -> RunFinisher:
    """Make what the environment keeps from one invocation to the next."""
    settings = FinishRunSettings.from_env()
    database = connect(settings, patience_seconds=PATIENCE_SECONDS)
    return RunFinisher(settings, MySqlRunLedger(database), payloads)


@cache
def payloads() -> PayloadStore:
    """Make the store of the chunks; hardly any run ever loads the AWS SDK for it."""
    from batch_core.adapters.s3 import S3PayloadStore  # noqa: PLC0415

    return S3PayloadStore(FinishRunSettings.from_env().payload_bucket)


@observed("Finish Run")
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Wait until the ledger balances, judge the run, publish its figures."""
    finish = finisher()
    seconds = context.get_remaining_time_in_millis() / 1000
    answer = finish(event, remaining_seconds=seconds)
    figures = RunMetrics.of(event, answer, now=time.time())
    publish(
        finish.settings.tenant_id,
        counts=figures.counts,
        percents=figures.percents,
        beside=figures.account,
    )
    return answer
