"""Makes the page of a run out of its report file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from batch_core.limits import RUN_SECONDS
from batchctl.errors import BatchctlError
from batchctl.local.home import write_text
from batchctl.report.lanes import bands, bars_of
from batchctl.report.rendering import asset, environment

_SLOWEST: Final = 12
# Buckets of the meter are too narrow for the eye: so many of them make a bar.
_BUCKETS_PER_BAR: Final = 4
# What becomes of users, and the symbol each has beside its colour.
SYMBOLS: Final[Mapping[str, str]] = {
    "stored": "●",
    "unchanged": "○",
    "rejected": "✕",
    "retry_later": "↻",
    "skipped": "»",
    "gone": "∅",
    "unaccounted": "!",
}


def write_page(document: Mapping[str, Any], path: Path) -> Path:
    """Write a report's page beside its file, and return where."""
    page = path.with_suffix(".html")
    write_text(page, page_of(document))
    return page


def page_of(document: Mapping[str, Any]) -> str:
    """Render the page.

    Raises BatchctlError when the report was written by a batchctl that did not tell how a run went.
    """
    if "course" not in document:
        raise BatchctlError(
            f"The report of {document.get('run_id', 'this run')} was written by an older batchctl"
            " and does not tell how the run went. Run the batch again."
        )
    script, style = asset("report.js"), asset("report.css")
    return (
        environment("batchctl.report")
        .get_template("report.html.j2")
        .render(
            run=document,
            course=document["course"],
            counts=_counts(document),
            slowest=_slowest(document["course"]["invocations"]),
            bill=_bill(document),
            settings=_settings(document),
            symbols=SYMBOLS,
            seconds_allowed=RUN_SECONDS,
            charts=_charts(document["course"]),
            style=style,
            script=script,
            script_digest=_digest(script),
        )
    )


def _digest(script: str) -> str:
    """What the page's policy names its one script by, so that no other is ever run."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _counts(document: Mapping[str, Any]) -> dict[str, int]:
    """Users by outcome, those without one last."""
    return {**document["outcomes"], "unaccounted": max(document["unaccounted"], 0)}


def _charts(course: Mapping[str, Any]) -> dict[str, Any]:
    """What the script draws, and nothing else."""
    table, api = course["invocations"], course["api"]
    return {
        "span_ms": course["span_ms"],
        "bin_ms": course["bin_ms"],
        "invocations": table,
        "bands": [asdict(band) for band in bands(bars_of(table))],
        "histogram": _bars(api["histogram"]),
        "latency": api["over_time"],
        "writes": course["writes"]["over_time"],
        "connections": course["connections"],
    }


def _bars(histogram: list[list[float]]) -> list[list[float]]:
    """Merge neighbouring buckets: lower end, upper end and calls of each bar."""
    merged = []
    for at in range(0, len(histogram), _BUCKETS_PER_BAR):
        own = histogram[at : at + _BUCKETS_PER_BAR]
        lower = histogram[at - 1][0] if at else 0
        merged.append([lower, own[-1][0], sum(calls for _, calls in own)])
    return merged


def _slowest(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The invocations, or neighbouring groups, that took longest, INIT included."""
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    for row in rows:
        row["state"] = table["states"][row["state"]]
        row["total_ms"] = row["duration_ms"] + (row["init_ms"] or 0)
    return sorted(rows, key=lambda row: -row["total_ms"])[:_SLOWEST]


def _bill(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each service's price, and its share of the dearest for the length of its bar."""
    dearest = max((cost["usd"] for cost in document["costs"]), default=0) or 1
    return [{**cost, "share": 100 * cost["usd"] / dearest} for cost in document["costs"]]


def _settings(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What was asked for and what the stack is deployed with, left-out ones left out."""
    asked = [
        (name.replace("_", "-"), str(value), "this run")
        for name, value in document["asked"].items()
        if value not in (None, False)
    ]
    deployed = [
        (name, value, "the stack") for name, value in document["stack_parameters"].items() if value
    ]
    return asked + deployed
