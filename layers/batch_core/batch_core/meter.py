"""What one invocation used, counted where it is used.

An execution environment serves one invocation at a time, so one meter per process is enough. The
figures leave in the invocation's log line; `batchctl` and the cost model read them there.
"""

from __future__ import annotations

from collections import Counter
from math import ceil, log2

_counts: Counter[str] = Counter()
_latencies: Counter[int] = Counter()


def count(name: str, amount: int = 1) -> None:
    """Add to a count, such as ``s3_get``."""
    _counts[name] += amount


def peak(name: str, amount: int) -> None:
    """Keep the largest amount seen, such as ``db_statement_bytes_max``."""
    _counts[name] = max(_counts[name], amount)


def latency(milliseconds: float) -> None:
    """Enter one API call into the histogram.

    Buckets grow by a twentieth of a doubling (3.5 %), so a percentile read from merged histograms
    is right within that, however many invocations are merged.
    """
    _latencies[bucket_of(milliseconds)] += 1


def bucket_of(milliseconds: float) -> int:
    """The bucket of a latency; bucket ``b`` ends at ``2 ** (b / 20)`` ms."""
    return ceil(20 * log2(milliseconds)) if milliseconds > 1 else 0


def bucket_end(bucket: int) -> float:
    """The upper end of a bucket, in milliseconds."""
    return float(2 ** (bucket / 20))


def reading() -> dict[str, object]:
    """All figures since the last reset."""
    figures: dict[str, object] = dict(_counts)
    if _latencies:
        figures["api_latency"] = {str(b): n for b, n in sorted(_latencies.items())}
    return figures


def reset() -> None:
    """Start an invocation at zero."""
    _counts.clear()
    _latencies.clear()
