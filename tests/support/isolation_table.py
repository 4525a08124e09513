"""The matrix of isolation: each role of a tenant, and what it got of its own and of the other's.

A pytest plugin, loaded by ``make isolation`` with ``-p``; the test of the matrix fills it, with or
without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import pytest
from rich.console import Console
from rich.table import Table

from tests.support.access_matrix import Cell

PROPERTY: Final = "matrix"

_SERVICES: Final = {
    "s3": "bucket",
    "kinesis": "stream",
    "lambda": "functions",
    "secretsmanager": "secrets",
    "logs": "logs",
    "states": "workflow",
    "scheduler": "schedule",
    "sqs": "queue",
    "iam": "roles",
    "cloudformation": "stack",
}


class IsolationTable:
    """Gathers the cells of a test session and prints them, one role per row."""

    def __init__(self) -> None:
        self._cells: dict[str, Sequence[Cell]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            for name, cells in report.user_properties:
                if name == PROPERTY:
                    assert isinstance(cells, list)
                    self._cells[cells[0].role] = cells

    def pytest_terminal_summary(self) -> None:
        if not self._cells:
            return
        console = Console(width=180)
        console.print(_overview(self._cells))
        console.print(_allowed(self._cells))


def _overview(matrix: dict[str, Sequence[Cell]]) -> Table:
    table = Table(title="Calls allowed, of those tried", box=None)
    table.add_column("Role")
    table.add_column("On what is")
    for title in _SERVICES.values():
        table.add_column(title, justify="right")
    table.add_column("Allowed", justify="right")
    table.add_column("Denied", justify="right")
    for role, cells in matrix.items():
        for owner in dict.fromkeys(cell.on for cell in cells):
            of_owner = [cell for cell in cells if cell.on == owner]
            tried = Counter(_service(cell) for cell in of_owner)
            allowed = Counter(_service(cell) for cell in of_owner if cell.allowed)
            counts = [f"{allowed[each]} of {tried[each]}" for each in _SERVICES]
            total = allowed.total()
            mark = "" if owner == of_owner[0].of else "[green]" if not total else "[red]"
            first = f"{of_owner[0].of}'s {role}" if owner == of_owner[0].of else ""
            sums = f"{mark}{total}", f"{mark}{tried.total() - total}"
            table.add_row(first, f"{owner}'s", *counts, *sums)
    return table


def _allowed(matrix: dict[str, Sequence[Cell]]) -> Table:
    table = Table(title="What was allowed", box=None)
    for title in ("Role", "Action", "On"):
        table.add_column(title)
    for role, cells in matrix.items():
        first = role
        for cell in cells:
            if cell.allowed:
                table.add_row(first, cell.probe.action, f"{cell.on}'s {cell.probe.on}")
                first = ""
    return table


def _service(cell: Cell) -> str:
    return cell.probe.action.partition(":")[0]


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(IsolationTable(), "isolation-table")
