"""The bench for a person: aligned tables, good at 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from batchctl.bench.document import Bench
from batchctl.bench.frontier import Choice
from batchctl.bench.results import Growth, Sweep
from batchctl.bench.samples import Row, times_slower
from batchctl.bench.targets import Target


def tables(bench: Bench, folder: str) -> RenderableType:
    """Lay out everything; `folder` is where the results are."""
    parts: list[RenderableType] = [
        _section("Time", _time(bench.rows, bench.row("cron"))),
        _section("Use", _use(bench.rows)),
    ]
    if bench.growth:
        law = bench.growth.law
        title = f"Growth: wall time grows with users to the power of {law.exponent:.2f}"
        parts.append(_section(title, _growth(bench.growth)))
    if bench.sweep:
        parts.append(_section("Settings worth their money", _frontier(bench.sweep)))
    parts.append(_section("Targets", _targets(bench.targets)))
    notes = Text("\n".join(bench.notes()), style="bright_black")
    parts += ["", Padding(notes, (0, 2)), "", Padding(Text(f"Results  {folder}"), (0, 2))]
    return Group(*parts)


def _section(title: str, table: Table) -> RenderableType:
    return Group("", Text(f"  {title}", style="bold"), Padding(table, (0, 2)))


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right", vertical="bottom", no_wrap=True)
    return table


def _time(rows: Sequence[Row], cron: Row) -> Table:
    table = _table(
        "Variant",
        "Users",
        "In\nflight",
        "Wall s",
        "Users/s",
        "Time,\nc is 1",
        "CPU s",
        "MariaDB\nCPU s",
    )
    for row in rows:
        median = row.median
        table.add_row(
            row.title,
            f"{median.users:,}",
            f"{median.in_flight:,.0f}",
            f"{median.wall_s:,.2f}",
            f"{median.users_per_s:,.0f}",
            f"{times_slower(row, cron):,.2f}",
            f"{median.cpu_s:,.1f}",
            f"{median.database_cpu_s:,.1f}",
        )
    return table


def _use(rows: Sequence[Row]) -> Table:
    table = _table(
        "Variant",
        "SQL\nstatements",
        "DB con-\nnections",
        "Invo-\ncations",
        "S3 re-\nquests",
        "PUT\nunits",
        "$/M\ncore",
        "$/M\nall in",
    )
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
        table.add_row(
            row.title,
            *("-" if count is None else f"{count:,.0f}" for count in counts),
            *("-" if price is None else f"{price:,.2f}" for price in prices),
        )
    return table


def _growth(growth: Growth) -> Table:
    table = _table(
        "Users",
        "Wall s",
        "Users/s",
        "Largest\nstate, bytes",
        "DB con-\nnections",
        "List Users,\nMB",
        "PUT\nunits",
    )
    for point in growth.points:
        table.add_row(
            f"{point.users:,}",
            f"{point.wall_s:,.2f}",
            f"{point.users / point.wall_s:,.0f}",
            f"{point.max_state_bytes:,}",
            f"{point.connections:,}",
            f"{point.listing_peak_bytes / 1e6:,.0f}",
            f"{point.put_units:,}",
        )
    return table


def _frontier(sweep: Sweep) -> Table:
    table = _table(
        "",
        "Users per\ninvocation",
        "In\nflight",
        "Chunk",
        "MB,\nmodelled",
        "Wall s",
        "$/M, no\nhourly",
    )
    for choice in sweep.frontier:
        _add_choice(table, "recommended" if choice == sweep.recommended else "", choice)
    return table


def _add_choice(table: Table, label: str, choice: Choice) -> None:
    setting = choice.setting
    table.add_row(
        label,
        f"{setting.users_per_invocation:,}",
        f"{setting.api_concurrency:,}",
        f"{setting.chunk_size:,}",
        f"{setting.memory_mb:,}",
        f"{choice.wall_s:,.1f}",
        f"{choice.usd_per_million:,.3f}",
        style="bold green" if label else None,
    )


def _targets(targets: Sequence[Target]) -> Table:
    table = _table("Target", "Wanted", "Measured", "Met")
    words = {True: "[green]yes[/green]", False: "[red]no[/red]", None: "[dim]-[/dim]"}
    for target in targets:
        measured = "not measured" if target.measured is None else f"{target.measured:,.2f}"
        wanted = f"{target.bound} {target.wanted:g}"
        table.add_row(target.name, wanted, measured, words[target.met])
    return table
