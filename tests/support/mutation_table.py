"""The table of mutations: what was broken, which fault's verdict that concerns, what caught it.

A pytest plugin, loaded by ``make mutations`` with ``-p``; the tests of ``tests/mutations`` fill the
table, with or without it.
"""

from __future__ import annotations

from typing import Final

import pytest
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.mutations.mutations import Mutation

PROPERTY: Final = "mutation"


class MutationTable:
    """Gathers the mutations of a test session and prints them, one per row."""

    def __init__(self) -> None:
        self._tried: list[tuple[Mutation, bool]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            for name, mutation in report.user_properties:
                if name == PROPERTY:
                    assert isinstance(mutation, Mutation)
                    self._tried.append((mutation, report.passed))

    def pytest_terminal_summary(self) -> None:
        table = Table(title="What was broken, and what noticed", box=None)
        table.add_column("Mutation", max_width=58)
        table.add_column("Fault", justify="right")
        table.add_column("Caught by", max_width=84, overflow="fold")
        table.add_column("Verdict")
        for mutation, caught in self._tried:
            table.add_row(
                mutation.name,
                ", ".join(map(str, mutation.faults)),
                escape("\n".join(test.partition("::")[2] for test in mutation.caught_by)),
                "[green]caught" if caught else "[red]NOT CAUGHT",
            )
        Console(width=170).print(table)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(MutationTable(), "mutation-table")
