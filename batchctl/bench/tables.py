"""The bench for a person at a terminal: aligned tables, good at 80 columns."""

from __future__ import annotations

from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from batchctl.bench.document import Bench
from batchctl.bench.grids import Grid, grids

_COLOURS: Final = {"yes": "green", "no": "red"}


def tables(bench: Bench, page: str) -> RenderableType:
    """Lay out everything; `page` is where the same can be looked at with its charts."""
    parts: list[RenderableType] = []
    for grid in grids(bench):
        title = Text(f"  {grid.title}", style="bold")
        parts += ["", title, Padding(_table(grid), (0, 2))]
    notes = Text("\n".join(bench.notes()), style="bright_black")
    parts += ["", Padding(notes, (0, 2)), "", Padding(Text(f"Report  {page}"), (0, 2))]
    return Group(*parts)


def _table(grid: Grid) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    first, *others = grid.headings
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right", vertical="bottom", no_wrap=True)
    for n, row in enumerate(grid.rows):
        cells = [Text(cell, style=_COLOURS.get(cell, "")) for cell in row]
        table.add_row(*cells, style="bold green" if n == grid.marked else None)
    return table
