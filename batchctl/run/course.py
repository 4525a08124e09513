"""How a run went over time, in tables that stay small however large the run was. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Any, Final

from batch_core.meter import bucket_end
from batchctl.run.figures import histogram_percentile, holds_connection, percentile
from batchctl.run.lines import CALL_API, FUNCTIONS, PROCESS_USERS, Invocation, Received

# A page draws so many bars at once without effort; a larger run has several groups in each.
_ROWS: Final = 4_000
_BINS: Final = 60
_BIN_STEPS_MS: Final = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
_PERCENTILES: Final = (50, 90, 99)
_NOT_FAILURES: Final = frozenset({"api_requests", "api_retries"})

INVOCATION_COLUMNS: Final = (
    "state", "chunk", "group", "start_ms", "duration_ms", "init_ms", "cold", "failed", "count",
)  # fmt: skip
LATENCY_COLUMNS: Final = ("start_ms", "requests", "retries", "p50_ms", "p90_ms", "p99_ms")
WRITE_COLUMNS: Final = ("start_ms", "batches", "records", "rows", "lag_ms")


def course_of(invocations: Sequence[Invocation], received: Sequence[Received]) -> dict[str, Any]:
    """Tell how a run went, times counted in milliseconds from the start of its first function."""
    origin = min(
        (line.started_ms - line.init_ms for line in invocations),
        default=min((each.at_ms for each in received), default=0),
    )
    ends = [line.ended_ms for line in invocations] + [each.at_ms for each in received]
    span_ms = max(ends, default=origin) - origin
    bin_ms = bin_width(span_ms)
    return {
        "origin": datetime.fromtimestamp(origin / 1000, UTC).isoformat(timespec="milliseconds"),
        "span_ms": round(span_ms, 1),
        "bin_ms": bin_ms,
        "invocations": _invocations(invocations, origin),
        "api": _api(invocations, origin, bin_ms),
        "writes": _writes(invocations, received, origin, bin_ms),
        "connections": _connections(invocations, origin),
    }


def bin_width(span_ms: float) -> int:
    """The shortest round time of which at most `_BINS` make up the span."""
    return next(
        (step for step in _BIN_STEPS_MS if span_ms <= step * _BINS),
        ceil(span_ms / _BINS / 1_000) * 1_000,
    )


def _invocations(lines: Sequence[Invocation], origin: float, bound: int = _ROWS) -> dict[str, Any]:
    """One row for each invocation; beyond the bound, one for several neighbouring groups."""
    per_row = ceil(len(lines) / bound) or 1
    gathered: dict[tuple[object, ...], list[Invocation]] = defaultdict(list)
    so_far: Counter[str] = Counter()
    for line in sorted(lines, key=lambda line: line.started_ms):
        place = so_far[line.state] if per_row == 1 or line.group is None else line.group
        so_far[line.state] += 1
        gathered[line.state, line.chunk, place // per_row].append(line)
    return {
        "states": list(FUNCTIONS),
        "columns": list(INVOCATION_COLUMNS),
        "groups_per_row": per_row,
        "rows": [_invocation_row(own, origin) for own in gathered.values()],
    }


def _invocation_row(lines: Sequence[Invocation], origin: float) -> list[Any]:
    first = min(lines, key=lambda line: line.started_ms)
    inits = [line.init_ms for line in lines if line.init]
    return [
        FUNCTIONS.index(first.state),
        first.chunk,
        min((line.group for line in lines if line.group is not None), default=None),
        round(first.started_ms - origin),
        round(max(line.ended_ms for line in lines) - first.started_ms),
        round(inits[0]) if inits else None,
        len(inits),
        sum(line.failed for line in lines),
        len(lines),
    ]


def _api(lines: Iterable[Invocation], origin: float, bin_ms: int) -> dict[str, Any]:
    """The latencies of all calls, and of each time bin; an invocation counts at its middle."""
    total: Counter[int] = Counter()
    used: Counter[str] = Counter()
    by_bin: dict[int, Counter[int]] = defaultdict(Counter)
    used_in: dict[int, Counter[str]] = defaultdict(Counter)
    for line in lines:
        if line.state != CALL_API:
            continue
        at = int((line.started_ms + line.duration.wall / 2 - origin) // bin_ms)
        total.update(line.api_latency)
        by_bin[at].update(line.api_latency)
        used.update(line.meter)
        used_in[at].update(line.meter)
    return {
        "histogram": [[round(bucket_end(bucket), 1), total[bucket]] for bucket in sorted(total)],
        "columns": list(LATENCY_COLUMNS),
        "over_time": [
            [
                at * bin_ms,
                used_in[at]["api_requests"],
                used_in[at]["api_retries"],
                *(histogram_percentile(latency, percent) for percent in _PERCENTILES),
            ]
            for at, latency in sorted(by_bin.items())
        ],
        # Attempts, not users: what was mended by a retry counts here, too.
        "failed_attempts": {
            name.removeprefix("api_"): count
            for name, count in used.most_common()
            if name.startswith("api_") and name not in _NOT_FAILURES and count
        },
    }


def _writes(
    lines: Iterable[Invocation], received: Iterable[Received], origin: float, bin_ms: int
) -> dict[str, Any]:
    """What the writer received, and how long after it was put on the stream."""
    put_at = {
        (line.chunk, line.group): line.ended_ms for line in lines if line.state == PROCESS_USERS
    }
    lags: list[int] = []
    by_bin: dict[int, list[int]] = {}
    for each in received:
        # The clocks of two environments may differ by more than a record was on its way.
        own = [max(each.at_ms - put_at[place], 0) for place in each.groups if place in put_at]
        lags += own
        row = by_bin.setdefault(int((each.at_ms - origin) // bin_ms), [0, 0, 0, 0])
        for column, amount in enumerate((1, each.records, each.rows)):
            row[column] += amount
        row[3] = max([row[3], *own])
    return {
        "columns": list(WRITE_COLUMNS),
        "over_time": [[at * bin_ms, *row] for at, row in sorted(by_bin.items())],
        "lag_p50_ms": percentile(lags, 50) if lags else None,
        "lag_p99_ms": percentile(lags, 99) if lags else None,
    }


def _connections(lines: Iterable[Invocation], origin: float) -> list[dict[str, Any]]:
    """By function: environments that held a database connection, and when each first used it."""
    first: dict[tuple[str, str], float] = {}
    used: dict[str, Counter[str]] = defaultdict(Counter)
    for line in sorted(lines, key=lambda line: line.started_ms):
        if holds_connection(line):
            first.setdefault((line.state, line.env_id), line.started_ms - origin)
            used[line.state].update(line.meter)
    return [
        {
            "function": name,
            "held": sum(state == name for state, _ in first),
            "opened": used[name]["db_connections"],
            "retries": used[name]["db_retries"],
            "statements": used[name]["db_statements"],
            "first_ms": [round(at) for (state, _), at in first.items() if state == name],
        }
        for name in FUNCTIONS
        if name in used
    ]
