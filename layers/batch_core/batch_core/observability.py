"""Logs and metrics, and each invocation's frame: made here, once, for every function.

Everything that knows Powertools is in this module; traces are in `batch_core.tracing`.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from functools import wraps
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from batch_core import meter, tracing
from batch_core.codec import dump_json
from batch_core.errors import BatchError
from batch_core.outcomes import Outcome
from batch_core.process_time import Effort, age_ms

# Names this execution environment, so that environments, and the database connection that each may
# hold, can be counted from the logs.
ENVIRONMENT_ID: Final = uuid4().hex[:12]

METRICS_NAMESPACE: Final = "ExpressBatch"

type Handler = Callable[[dict[str, Any], Any], Any]

logger: Final = Logger(service="express-batch", use_rfc3339=True, log_uncaught_exceptions=True)
# Where ApplicationLogLevel is DEBUG, Lambda sets the root logger so, and the libraries' debug lines
# hold whole requests: rows, answers, tokens.
logging.getLogger().setLevel(logging.WARNING)


def observed(state: str) -> Callable[[Handler], Handler]:
    """Give a handler its log context, its trace and its meter.

    Parameters
    ----------
    state
        The name of the state, or of the function where there is no state.
    """
    init_ms, init = age_ms(), Effort.read()

    def decorate(handler: Handler) -> Handler:
        cold = True

        def measured(event: dict[str, Any], context: Any) -> Any:
            nonlocal cold
            started, before = time.perf_counter(), Effort.read()
            meter.reset()
            logger.refresh_sample_rate_calculation()
            # Clears what the environment's last invocation bound.
            logger.structure_logs(
                append=False, formatter_options=None, state=state, **_identity(event)
            )
            response = None
            failure: dict[str, Any] = {}
            try:
                with tracing.invocation(state, **_annotations(event)):
                    response = handler(event, context)
            except Exception as error:
                # Its text may hold what the job or the API said of a user; the class does not. The
                # users whom the invocation was for are asked again by the next run, or the records
                # delivered again.
                failure = {"error": type(error).__name__, "outcome": Outcome.RETRY_LATER}
                raise
            finally:
                figures = meter.reading()
                if "Records" not in event:
                    figures["event_bytes"] = len(dump_json(event))
                    figures["response_bytes"] = len(dump_json(response))
                if cold:
                    figures |= {"init_ms": round(init_ms, 1), **init.figures("init_")}
                cold = False
                write = logger.error if failure else logger.info
                write(
                    "invocation",
                    # By this the workflow's log names the same invocation.
                    request_id=context.aws_request_id,
                    **failure,
                    meter={
                        "env_id": ENVIRONMENT_ID,
                        "memory_mb": int(context.memory_limit_in_mb),
                        "memory_used_mb": _memory_used_mb(),
                        "duration_ms": round((time.perf_counter() - started) * 1000, 1),
                        **Effort.read().since(before).figures(),
                        **figures,
                    },
                )
            return response

        @wraps(handler)
        def wrapper(event: dict[str, Any], context: Any) -> Any:
            try:
                return measured(event, context)
            except BatchError as error:
                if error.ends_environment:
                    # From a process that is gone Lambda learns only that, and not why.
                    logger.exception("the environment ends itself", outcome=Outcome.RETRY_LATER)
                    end_environment()
                raise

        return wrapper

    return decorate


def pseudonym(tenant: str, user_id: object) -> str:
    """Name a user in a log without telling who it is; the tenant can search for its own users."""
    return sha256(f"{tenant}{user_id}".encode()).hexdigest()[:12]


def debugging() -> bool:
    """Whether this invocation writes debug lines; if not, what only they need is not worked out."""
    return logger.log_level <= logging.DEBUG


def end_environment() -> None:
    """End this process, so that the next invocation gets an environment that starts afresh.

    Lambda reports Runtime.ExitError, which the workflow and the mapping retry.
    https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
    """
    sys.stdout.flush()
    os._exit(1)


def publish(
    tenant: str,
    *,
    counts: Mapping[str, float],
    percents: Mapping[str, float],
    beside: Mapping[str, Any],
) -> None:
    """Write metrics in the embedded format; the tenant is their only dimension.

    A dimension per run or user would make each a paid metric of its own. What is to be known of
    them stands beside the metrics in their line, where a query finds it.
    """
    metrics = Metrics(namespace=METRICS_NAMESPACE)
    metrics.add_dimension("Tenant", tenant)
    for unit, values in ((MetricUnit.Count, counts), (MetricUnit.Percent, percents)):
        for name, value in values.items():
            metrics.add_metric(name, unit, value)
    for name, value in beside.items():
        metrics.add_metadata(name, value)
    metrics.flush_metrics()


def _identity(event: Mapping[str, Any]) -> dict[str, Any]:
    """What joins a log line to its run."""
    run, chunk = event.get("run") or {}, event.get("chunk") or {}
    # A batch of records is of one shard; its name and the number behind it, of the first record,
    # are what Lambda names a batch by that it gives up.
    shard, _, sequence = (event.get("Records") or [{}])[0].get("eventID", "").partition(":")
    identity = {
        "tenant": os.environ.get("TENANT_ID"),
        "run_id": run.get("id"),
        "chunk": chunk.get("n"),
        "group": event.get("group"),
        "shard": shard or None,
        "sequence": sequence or None,
    }
    return {name: value for name, value in identity.items() if value is not None}


def _annotations(event: Mapping[str, Any]) -> dict[str, str]:
    """What joins a trace to its run.

    The number of a group is only unique in its chunk, and X-Ray indexes no more than 50 annotations
    of a trace, which is a whole run; so one says both.
    """
    identity = _identity(event)
    # There are as many as there are batches; nobody searches for one.
    identity.pop("sequence", None)
    if "group" in identity:
        identity["group"] = f"{identity.pop('chunk', '')}/{identity['group']}"
    return {name: str(value) for name, value in identity.items()}


def _memory_used_mb() -> int:
    """The most memory this process ever held; Lambda tells it only in a line that no run names.

    `ru_maxrss` would begin with what the process that started this one held.
    https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(found[1]) // 1024 if found else 0
