"""The bench as tables of text, for the terminal and for the page. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from batchctl.bench.document import Bench
from batchctl.bench.results import Growth, Sweep
from batchctl.bench.samples import Row, times_slower
from batchctl.bench.targets import Target


@dataclass(frozen=True, slots=True)
class Grid:
    """One table.

    Parameters
    ----------
    title
        What it shows.
    headings
        Of its columns, the first of which holds names and all others figures. They break where a
        terminal of 80 columns needs it.
    rows
        The cells.
    marked
        The row to look at first, if there is one.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    marked: int | None = None


def grids(bench: Bench) -> Iterator[Grid]:
    """All tables that the bench has figures for."""
    yield _time(bench.rows, bench.row("cron"))
    yield _use(bench.rows)
    if bench.growth:
        yield _growth(bench.growth)
    if bench.sweep:
        yield _frontier(bench.sweep)
    yield _targets(bench.targets)


def _time(rows: Sequence[Row], cron: Row) -> Grid:
    return Grid(
        "Time",
        (
            "Variant",
            "Users",
            "In\nflight",
            "Wall s",
            "Users/s",
            "Time,\nc is 1",
            "CPU s",
            "Database\nCPU s",
        ),
        [
            (
                row.title,
                f"{row.median.users:,}",
                f"{row.median.in_flight:,.0f}",
                f"{row.median.wall_s:,.2f}",
                f"{row.median.users_per_s:,.0f}",
                f"{times_slower(row, cron):,.2f}",
                f"{row.median.cpu_s:,.1f}",
                f"{row.median.database_cpu_s:,.1f}",
            )
            for row in rows
        ],
    )


def _use(rows: Sequence[Row]) -> Grid:
    found = []
    for row in rows:
        median = row.median
        counts = (
            median.statements,
            median.connections,
            median.invocations,
            median.s3_requests,
            median.put_units,
        )
        prices = (median.usd_core, median.usd_all_in)
        cells = ["-" if count is None else f"{count:,.0f}" for count in counts]
        cells += ["-" if price is None else f"{price:,.2f}" for price in prices]
        found.append((row.title, *cells))
    return Grid(
        "Use",
        (
            "Variant",
            "State-\nments",
            "DB con-\nnections",
            "Invo-\ncations",
            "S3 re-\nquests",
            "PUT\nunits",
            "$/M\ncore",
            "$/M\nall in",
        ),
        found,
    )


def _growth(growth: Growth) -> Grid:
    return Grid(
        f"Growth: wall time grows with users to the power of {growth.law.exponent:.2f}",
        (
            "Users",
            "Wall s",
            "Users/s",
            "Largest\nstate, bytes",
            "DB con-\nnections",
            "List Users,\nMB",
            "PUT\nunits",
        ),
        [
            (
                f"{point.users:,}",
                f"{point.wall_s:,.2f}",
                f"{point.users / point.wall_s:,.0f}",
                f"{point.max_state_bytes:,}",
                f"{point.connections:,}",
                f"{point.listing_peak_bytes / 1e6:,.0f}",
                f"{point.put_units:,}",
            )
            for point in growth.points
        ],
    )


def _frontier(sweep: Sweep) -> Grid:
    marked = list(sweep.frontier).index(sweep.recommended)
    return Grid(
        "Settings worth their money",
        (
            "",
            "Users per\ninvocation",
            "In\nflight",
            "Chunk",
            "MB,\nmodelled",
            "Wall s",
            "$/M, no\nhourly",
        ),
        [
            (
                "recommended" if n == marked else "",
                f"{choice.setting.users_per_invocation:,}",
                f"{choice.setting.api_concurrency:,}",
                f"{choice.setting.chunk_size:,}",
                f"{choice.setting.memory_mb:,}",
                f"{choice.wall_s:,.1f}",
                f"{choice.usd_per_million:,.3f}",
            )
            for n, choice in enumerate(sweep.frontier)
        ],
        marked,
    )


def _targets(targets: Sequence[Target]) -> Grid:
    words = {True: "yes", False: "no", None: "-"}
    return Grid(
        "Targets",
        ("Target", "Wanted", "Measured", "Met"),
        [
            (
                target.name,
                f"{target.bound} {target.wanted:g}",
                "not measured" if target.measured is None else f"{target.measured:,.2f}",
                words[target.met],
            )
            for target in targets
        ],
    )
