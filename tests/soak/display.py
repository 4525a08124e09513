"""What a person sees of a soak."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from tests.soak.soak import Progress, Result, Show


class Display(Show):
    """The plan's lines as they happen and, on a terminal, a bar with the counters below them."""

    def __init__(self, console: Console, bar: Bar, seconds: float) -> None:
        self._console = console
        self._bar = bar
        self._seconds = seconds
        self._task = bar.add_task("", total=seconds, left="", counters="")

    def happened(self, at: float, line: str) -> None:
        self._console.print(f"[dim]{at:7.1f} s[/dim]  ", end="")
        self._console.print(line, markup=False)

    def progress(self, progress: Progress) -> None:
        left = max(self._seconds - progress.elapsed, 0)
        self._bar.update(
            self._task,
            completed=min(progress.elapsed, self._seconds),
            left=f"{left // 60:.0f}:{left % 60:02.0f} left",
            counters=f"{sum(progress.runs.values())} runs · {progress.users:,} users accounted · "
            f"{progress.faults} faults · {progress.findings} findings",
        )


@contextmanager
def display(console: Console, seconds: float) -> Iterator[Display]:
    """Show a soak of so many seconds."""
    columns = (BarColumn(), TextColumn("{task.fields[left]} · {task.fields[counters]}"))
    bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
    with bar:
        yield Display(console, bar, seconds)


def summary(result: Result) -> RenderableType:
    """The end of a soak."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    table.add_row("Runs", f"{sum(result.runs.values()):,}", _in_words(result.runs))
    table.add_row("", f"{result.drain_runs:,}", "of them after the last fault")
    table.add_row("Users accounted", f"{result.users_accounted:,}", _in_words(result.outcomes))
    table.add_row("Faults injected", f"{sum(result.faults.values()):,}")
    for kind, times in sorted(result.faults.items(), key=lambda each: -each[1]):
        table.add_row(f"  {kind}", f"{times:,}")
    table.add_row("Rows replayed", f"{result.replayed:,}")
    table.add_row("Rows compared", f"{result.rows.compared:,}")
    table.add_row("Rows lost", f"{len(result.rows.lost):,}")
    table.add_row("Rows stale", f"{len(result.rows.stale):,}")
    table.add_row("Looks at versions", f"{result.looks:,}", "none may go back")
    table.add_row("Log lines searched", f"{result.log_lines:,}", "for secrets and users in clear")
    return Group(Text(), table, Text(), *_verdict(result))


def _in_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()) if count)


def _verdict(result: Result) -> Iterator[Text]:
    if not result.findings:
        yield Text(f"✔ Nothing was lost in {result.seconds:.0f} s.", style="bold green")
        return
    for finding in result.findings:
        yield Text(f"✘ {finding}", style="red")
    plan = result.plan
    again = f"make soak SEED={plan.seed} MINUTES={plan.seconds / 60:g} USERS={plan.users}"
    yield Text(f"To have the same faults again: {again}", style="bold")
