"""What a person sees of a rehearsal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tests.rehearsal.play import Done
from tests.rehearsal.story import WAVES, Rehearsal, Row, Show, State


class Display(Show):
    """A line for everything, when it is done."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def act(self, title: str) -> None:
        self._console.print(f"\n[bold]{title}[/bold]")

    def done(self, done: Done) -> None:
        mark = "[green]✔[/green]" if done.ok else "[red]✘[/red]"
        back = "[yellow]back to the last good one: [/yellow]" if done.rolling_back else ""
        place = f"{done.stage:9} {done.action:17}"
        self._line(f"{mark} [dim]{done.seconds:6.1f} s[/dim]  {place} {back}{escape(done.told)}")

    def typed(self, command: str, seconds: float) -> None:
        self._line(f"[dim]$ {seconds:6.1f} s[/dim]  {escape(command)}")

    def expected(self, what: str, held: bool) -> None:
        self._line(f"{'[green]✔' if held else '[red]✘'} expected: {what}")

    def _line(self, text: str) -> None:
        self._console.print(f"  {text}", emoji=False)


def summary(rehearsal: Rehearsal, seconds: float) -> RenderableType:
    """The end of a rehearsal."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("", "tenant"):
        table.add_column(title)
    table.add_column("wave", justify="right")
    table.add_column("version", justify="right")
    table.add_column("package")
    table.add_column("result", max_width=72, overflow="fold")
    table.add_column("seconds", justify="right")
    last = ""
    for row in rehearsal.rows:
        if last and row.act != last:
            table.add_section()
        table.add_row(row.act if row.act != last else "", *_cells(row))
        last = row.act
    return Group(Text(), table, Text(), *_notes(rehearsal), *_verdict(rehearsal, seconds))


def _cells(row: Row) -> Iterator[str]:
    yield row.tenant
    wave = WAVES.get(row.tenant, max(WAVES.values()))
    yield str(wave) if wave else "canary"
    yield _change(*(str(state.version) if state else "-" for state in (row.before, row.after)))
    yield _change(*(state.package if state else "-" for state in (row.before, row.after)))
    yield escape(row.result)
    yield f"{row.seconds:.1f}"


def _change(before: str, after: str) -> str:
    return after if before == after else f"{before} → {after}"


def _notes(rehearsal: Rehearsal) -> Iterator[Text]:
    if rehearsal.left_out:
        yield Text(f"Left to CI: {rehearsal.left_out}. FULL=1 plays them, too.", style="dim")
    yield Text(
        "Not played: the pipeline's own resource and alarms that calculate, which the local cloud"
        " does not make; alarms are looked at once, not for three minutes.",
        style="dim",
    )
    for kept in rehearsal.kept:
        yield Text(f"Kept: {kept}", style="dim")


def _verdict(rehearsal: Rehearsal, seconds: float) -> Iterator[Text]:
    if not rehearsal.broken:
        yield Text(f"✔ Everything went as expected, in {seconds:.0f} s.", style="bold green")
    for what in rehearsal.broken:
        yield Text(f"✘ not as expected: {what}", style="red")


def document(rehearsal: Rehearsal, seconds: float) -> dict[str, Any]:
    """The same for a program."""

    def state(each: State | None) -> dict[str, Any] | None:
        return None if each is None else {"version": each.version, "package": each.package}

    return {
        "as_expected": not rehearsal.broken,
        "broken": rehearsal.broken,
        "rows": [
            {
                "act": row.act,
                "tenant": row.tenant,
                "wave": WAVES.get(row.tenant, max(WAVES.values())),
                "before": state(row.before),
                "after": state(row.after),
                "result": row.result,
                "seconds": round(row.seconds, 1),
            }
            for row in rehearsal.rows
        ],
        "left_out": rehearsal.left_out,
        "kept": rehearsal.kept,
        "seconds": round(seconds, 1),
    }
