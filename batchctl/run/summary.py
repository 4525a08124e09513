"""The account of a run for a person: at most one screen, good at 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate, pairwise
from typing import Final

from rich import box
from rich.columns import Columns
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from batch_core.limits import STATE_BYTES_QUOTA
from batch_core.outcomes import Outcome
from batchctl.run.report import RunReport

_COLOURS: Final[Mapping[str, str]] = {
    Outcome.STORED: "green",
    Outcome.UNCHANGED: "cyan",
    Outcome.REJECTED: "magenta",
    Outcome.RETRY_LATER: "yellow",
    Outcome.SKIPPED: "bright_black",
    Outcome.GONE: "blue",
    "unaccounted": "bold red",
}
# One screen is enough for what happens often; the report file has them all.
_FAILURES: Final = 3


class OutcomeBar:
    """One bar, as wide as the console, divided as the users were."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = {name: count for name, count in counts.items() if count}

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Give each outcome its cells; one that occurred is never invisible."""
        for name, cells in shares(self._counts, options.max_width).items():
            yield Segment("█" * cells, Style.parse(_COLOURS[name]))
        yield Segment.line()


def shares(counts: Mapping[str, int], width: int) -> dict[str, int]:
    """Divide `width` cells as the counts are divided, one at least for each."""
    total = sum(counts.values())
    if not total:
        return {}
    spare = width - len(counts)
    edges = [round(sum_ / total * spare) for sum_ in accumulate(counts.values(), initial=0)]
    return {
        name: 1 + end - start for name, (start, end) in zip(counts, pairwise(edges), strict=True)
    }


def summary(report: RunReport, advice: str = "") -> RenderableType:
    """Lay out a run's account.

    Parameters
    ----------
    report
        The run.
    advice
        What to type next, when something went wrong.
    """
    parts: list[RenderableType] = [_headline(report)]
    if report.verdict.reason:
        parts.append(Padding(Text(report.verdict.reason), (0, 2)))
    if report.verdict.listed:
        parts += ["", Padding(_outcomes(report), (0, 2))]
    if report.figures.by_function:
        parts += ["", Padding(_functions(report), (0, 2))]
    parts += ["", Padding(_facts(report), (0, 2))]
    if advice:
        parts += ["", Padding(Text.assemble(("Next  ", "bold yellow"), advice), (0, 2))]
    return Group(*parts)


def _headline(report: RunReport) -> RenderableType:
    mark, style = ("✔", "bold green") if report.verdict.good else ("✘", "bold red")
    lines = Table.grid(expand=True)
    lines.add_column(ratio=1)
    lines.add_column(justify="right", no_wrap=True, style="bright_black")
    lines.add_row(
        Text.assemble(
            (f"{mark} {report.verdict.status}", style),
            (f"  {report.verdict.listed:,} users in {report.wall_s:.2f} s", "bold"),
        ),
        report.run_id,
    )
    lines.add_row("", report.where)
    return lines


def _outcomes(report: RunReport) -> RenderableType:
    counts = {**report.verdict.outcomes, "unaccounted": max(report.verdict.unaccounted, 0)}
    legend = [
        Text.assemble(
            ("■ ", _COLOURS[name]),
            f"{name.replace('_', ' ')} {count:,} ({count / report.verdict.listed:.1%})",
        )
        for name, count in counts.items()
        if count
    ]
    return Group(OutcomeBar(counts), Columns(legend, padding=(0, 2)))


def _functions(report: RunReport) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True, show_edge=False)
    table.add_column("Function")
    for heading in ("Invocations", "Cold", "p50 ms", "p99 ms", "MB", "GB-s"):
        table.add_column(heading, justify="right")
    for function in report.figures.by_function:
        table.add_row(
            function.name,
            f"{function.invocations:,}",
            f"{function.cold_starts:,}",
            f"{function.p50_ms:,.0f}",
            f"{function.p99_ms:,.0f}",
            f"{function.memory_mb:,}",
            f"{function.gb_s:,.2f}",
        )
    return table


def _facts(report: RunReport) -> RenderableType:
    figures = report.figures
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column()
    if report.verdict.kept:
        facts.add_row("Kept", f"{report.verdict.kept:,} rows: newer ones were there")
    for (outcome, error), users in sorted(report.failures.items(), key=_by_users)[:_FAILURES]:
        facts.add_row(outcome.replace("_", " ").capitalize(), f"{users:,} users: {error}")
    if report.failed_groups:
        each = report.failed_groups[0]
        facts.add_row(
            "Groups failed",
            f"{len(report.failed_groups):,}, the first in chunk {each.chunk}, group {each.group}:"
            f" {each.state} {each.error}",
        )
    if figures.api_p50_ms is not None and figures.api_p99_ms is not None:
        facts.add_row(
            "API",
            f"{figures.api_requests:,} requests, {figures.api_retries:,} of them retries ·"
            f" p50 {figures.api_p50_ms:,.0f} ms · p99 {figures.api_p99_ms:,.0f} ms",
        )
    if figures.lambda_invocations:
        facts.add_row(
            "Database",
            f"{figures.db_statements:,} statements, longest {figures.db_statement_bytes_max:,}"
            f" bytes · connections: {figures.db_connections_peak:,}",
        )
        facts.add_row(
            "State", f"largest {figures.max_state_bytes:,} bytes of {STATE_BYTES_QUOTA:,} allowed"
        )
    core, all_in = report.costs.step_functions_lambda, report.costs.all_in
    if core is not None and all_in is not None and figures.lambda_invocations:
        month = report.costs.usd_per_month
        facts.add_row(
            "Cost",
            f"${core:,.3f} per million user-runs, Step Functions and Lambda\n"
            f"${all_in:,.2f} all in, at a run every {report.deployment.schedule_minutes} minutes:"
            f" ${month:,.2f} or ¥{month * report.prices.yen:,.0f} a month",
        )
        modelled = ", ".join(
            line.service for line in report.costs.lines if line.basis == "modelled"
        )
        facts.add_row("", Text(f"modelled: {modelled}", style="bright_black", overflow="fold"))
    if report.logs_error:
        facts.add_row("Partial", Text(report.logs_error, style="yellow"))
    elif report.missing_lines:
        facts.add_row(
            "Partial",
            Text(
                f"{report.missing_lines:,} invocation lines did not arrive; figures are too low",
                style="yellow",
            ),
        )
    facts.add_row("Report", Text(report.page, overflow="fold"))
    return facts


def _by_users(failure: tuple[tuple[str, str], int]) -> int:
    return -failure[1]
