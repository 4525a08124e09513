"""What a run used, summed from the lines of its invocations. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from batch_core.meter import bucket_end
from batchctl.run.lambda_model import Time
from batchctl.run.lines import FUNCTIONS, WRITE_ROWS, Invocation


@dataclass(frozen=True, slots=True)
class FunctionFigures:
    """One function's share of a run; times in milliseconds, of the handler without INIT.

    `duration` is that of all its invocations together.
    """

    name: str
    invocations: int
    cold_starts: int
    duration: Time
    p50_ms: float
    p99_ms: float
    gb_s: float
    memory_mb: int
    init_p50_ms: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run used, measured by the run itself but for what is called modelled.

    Parameters
    ----------
    api_requests, api_retries
        Requests sent to the outside API, the repeated ones included; and those alone.
    api_p50_ms, api_p99_ms
        Latency of one request, right within 3.5 %; None when there was none.
    lambda_gb_s
        Gigabyte-seconds as AWS bills them, INIT included, for the durations measured.
    lambda_gb_s_modelled
        The same for the durations that :mod:`batchctl.run.lambda_model` makes of them: what is
        priced where the functions ran on another machine than Lambda's.
    kinesis_put_units
        PUT payload units of 25 KB.
    db_connections_peak
        Environments that held a database connection during the run.
    db_statement_bytes_max
        The longest SQL statement, in bytes.
    max_state_bytes
        The largest input or output of a state.
    log_bytes
        What the functions' log lines are billed as, in bytes.
    by_function
        The same by function, in the order of the workflow.
    """

    api_requests: int = 0
    api_retries: int = 0
    api_p50_ms: float | None = None
    api_p99_ms: float | None = None
    lambda_invocations: int = 0
    lambda_gb_s: float = 0.0
    lambda_gb_s_modelled: float = 0.0
    cold_starts: int = 0
    s3_put: int = 0
    s3_get: int = 0
    kinesis_put_units: int = 0
    db_statements: int = 0
    db_connections_peak: int = 0
    db_statement_bytes_max: int = 0
    max_state_bytes: int = 0
    log_bytes: int = 0
    by_function: Sequence[FunctionFigures] = field(default_factory=tuple)


def billed_gb_s(invocation: Invocation) -> float:
    """Gigabyte-seconds of one invocation as billed: INIT and duration, up to the millisecond.

    INIT has been billed for zip packages too since 2025-08-01.
    https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase/
    """
    milliseconds = ceil(invocation.duration.wall)
    if invocation.init is not None:
        milliseconds += ceil(invocation.init.wall)
    return milliseconds / 1000 * invocation.memory_mb / 1024


def modelled_gb_s(invocation: Invocation) -> float:
    """Gigabyte-seconds of one invocation as the model has it, INIT included."""
    times = [invocation.duration, *([invocation.init] if invocation.init else [])]
    return sum(time.gb_s_at(invocation.memory_mb) for time in times)


def figures_of(
    invocations: Iterable[Invocation], *, log_bytes: int = 0, state_bytes: Iterable[int] = ()
) -> Figures:
    """Sum a run's invocations.

    Parameters
    ----------
    invocations
        Each line once, in any order.
    log_bytes
        The size of all their log lines as billed.
    state_bytes
        Sizes of inputs and outputs of states learnt elsewhere, such as from an execution's
        history.
    """
    lines = list(invocations)
    used: Counter[str] = Counter()
    latency: Counter[int] = Counter()
    for line in lines:
        used.update(line.meter)
        latency.update(line.api_latency)
    payloads = [
        line.meter.get(name, 0)
        for line in lines
        if line.state != WRITE_ROWS
        for name in ("event_bytes", "response_bytes")
    ]
    return Figures(
        api_requests=used["api_requests"],
        api_retries=used["api_retries"],
        api_p50_ms=histogram_percentile(latency, 50),
        api_p99_ms=histogram_percentile(latency, 99),
        lambda_invocations=len(lines),
        lambda_gb_s=sum(map(billed_gb_s, lines)),
        lambda_gb_s_modelled=sum(map(modelled_gb_s, lines)),
        cold_starts=sum(line.init is not None for line in lines),
        s3_put=used["s3_put"],
        s3_get=used["s3_get"],
        kinesis_put_units=used["put_units"],
        db_statements=used["db_statements"],
        db_connections_peak=len({line.env_id for line in lines if holds_connection(line)}),
        db_statement_bytes_max=max(
            (line.meter.get("db_statement_bytes_max", 0) for line in lines), default=0
        ),
        max_state_bytes=max([*payloads, *state_bytes], default=0),
        log_bytes=log_bytes,
        by_function=tuple(
            _function_figures(name, own)
            for name in FUNCTIONS
            if (own := [line for line in lines if line.state == name])
        ),
    )


def holds_connection(invocation: Invocation) -> bool:
    """Whether its environment holds a database connection: one that was opened is kept."""
    return bool(invocation.meter.get("db_connections") or invocation.meter.get("db_statements"))


def _function_figures(name: str, lines: Sequence[Invocation]) -> FunctionFigures:
    durations = [line.duration.wall for line in lines]
    inits = [line.init.wall for line in lines if line.init is not None]
    return FunctionFigures(
        name=name,
        invocations=len(lines),
        cold_starts=len(inits),
        duration=sum((line.duration for line in lines), Time(0)),
        p50_ms=percentile(durations, 50),
        p99_ms=percentile(durations, 99),
        gb_s=sum(map(billed_gb_s, lines)),
        memory_mb=max(line.memory_mb for line in lines),
        init_p50_ms=percentile(inits, 50) if inits else None,
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values do not pass (nearest rank).

    Raises ValueError when there are none.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(ceil(len(values) * percent / 100), 1) - 1]


def histogram_percentile(buckets: Mapping[int, int], percent: float) -> float | None:
    """The upper end of the bucket that holds the percentile, in milliseconds."""
    rank = max(ceil(sum(buckets.values()) * percent / 100), 1)
    seen = 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= rank:
            return round(bucket_end(bucket), 1)
    return None
