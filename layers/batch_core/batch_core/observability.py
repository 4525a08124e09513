"""Logs, traces and metrics: made here, once, for every function.

Everything that knows Powertools or the X-Ray SDK is in this module, so that another tracer can
replace it without touching a function.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Any, Final
from uuid import uuid4

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from batch_core import meter
from batch_core.codec import dump_json
from batch_core.errors import BatchError
from batch_core.process_time import Effort, age_ms

# Names this execution environment, so that environments, and the database connection that each may
# hold, can be counted from the logs.
ENVIRONMENT_ID: Final = uuid4().hex[:12]

METRICS_NAMESPACE: Final = "ExpressBatch"

type Handler = Callable[[dict[str, Any], Any], Any]

logger: Final = Logger(service="express-batch", use_rfc3339=True, log_uncaught_exceptions=True)


@cache
def tracer() -> Tracer:
    """Make the tracer, which loads the X-Ray SDK: only in environments that see a sampled trace.

    Patching every library that happens to be installed would cost three times as much again.
    """
    return Tracer(service="express-batch", auto_patch=False)


def observed(state: str) -> Callable[[Handler], Handler]:
    """Give a handler its log context, its trace and its meter.

    Parameters
    ----------
    state
        The name of the state, or of the function where there is no state.
    """
    init_ms, init = age_ms(), Effort.read()

    def decorate(handler: Handler) -> Handler:
        @wraps(handler)
        def segment(event: dict[str, Any], context: Any) -> Any:
            # Lambda's own segment takes no annotations; the one that the tracer opens here does.
            # https://docs.aws.amazon.com/xray/latest/devguide/xray-sdk-python-configuration.html
            annotate(**_identity(event))
            return handler(event, context)

        def traced(event: dict[str, Any], context: Any) -> Any:
            if not _sampled():
                return handler(event, context)
            capture = tracer().capture_lambda_handler(segment, capture_response=False)
            return capture(event, context)

        cold = True

        def measured(event: dict[str, Any], context: Any) -> Any:
            nonlocal cold
            started, before = time.perf_counter(), Effort.read()
            meter.reset()
            # Clears what the environment's last invocation bound.
            logger.structure_logs(
                append=False, formatter_options=None, state=state, **_identity(event)
            )
            response = None
            failure: dict[str, Any] = {}
            try:
                response = traced(event, context)
            except Exception as error:
                # Its text may hold what the job or the API said of a user; the class does not.
                failure = {"error": type(error).__name__}
                raise
            finally:
                figures = meter.reading()
                if "Records" not in event:
                    figures["event_bytes"] = len(dump_json(event))
                    figures["response_bytes"] = len(dump_json(response))
                if cold:
                    figures |= {"init_ms": round(init_ms, 1), **init.figures("init_")}
                cold = False
                logger.info(
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
                    logger.exception("the environment ends itself")
                    end_environment()
                raise

        return wrapper

    return decorate


def end_environment() -> None:
    """End this process, so that the next invocation gets an environment that starts afresh.

    Lambda reports Runtime.ExitError, which the workflow and the mapping retry.
    https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
    """
    sys.stdout.flush()
    os._exit(1)


def trace_ids() -> tuple[str, str]:
    """The X-Ray trace and segment of this invocation, empty where there is no trace."""
    parts = _trace_header()
    return parts.get("Root", ""), parts.get("Parent", "")


def annotate(**values: str | int) -> None:
    """Put searchable annotations on the current trace segment, if the trace is recorded."""
    if _sampled():
        for name, value in values.items():
            tracer().put_annotation(name, str(value))


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


def _trace_header() -> dict[str, str]:
    """What Lambda says of the invocation's trace.

    https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
    """
    header = os.environ.get("_X_AMZN_TRACE_ID", "")
    return dict(part.split("=", 1) for part in header.split(";") if "=" in part)


def _sampled() -> bool:
    return _trace_header().get("Sampled") == "1"


def _identity(event: Mapping[str, Any]) -> dict[str, Any]:
    """What joins a log line or a segment to its run."""
    run, chunk = event.get("run") or {}, event.get("chunk") or {}
    identity = {
        "tenant": os.environ.get("TENANT_ID"),
        "run_id": run.get("id"),
        "chunk": chunk.get("n"),
        "group": event.get("group"),
    }
    return {name: value for name, value in identity.items() if value is not None}


def _memory_used_mb() -> int:
    """The most memory this process ever held; Lambda tells it only in a line that no run names."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
