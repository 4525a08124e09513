"""The table of faults: what was injected, how often, who was accounted for, and the verdict.

A pytest plugin, loaded by ``make faults`` with ``-p``; the tests of ``tests/faults`` fill the table
through the fixture `lab`, with or without it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pytest
from rich.console import Console
from rich.table import Table

PROPERTY: Final = "injection"

TITLES: Final[Mapping[int, str]] = {
    1: "429 with Retry-After",
    2: "429 or 503 without it, for everyone",
    3: "5xx for nearly everyone",
    4: "4xx for one user",
    5: "401 or 403 for everyone",
    6: "the API cannot be connected to",
    7: "slow headers, slow bodies",
    8: "huge, endless and exploding bodies",
    9: "bodies that break off",
    10: "bodies that are not what they should be",
    11: "certificates that must not be trusted",
    12: "redirects, addresses and ids that lead elsewhere",
    13: "304 for a known ETag",
    14: "the API is slow for all",
    15: "one start delivered several times",
    16: "a run while another is processed",
    17: "a start delivered late",
    18: "a start without its scheduled time",
    19: "payloads near the limit of a state",
    20: "more users than five minutes hold",
    21: "one user or one group breaks",
    22: "Lambda throttles or fails by itself",
    23: "Lambda times out or is killed",
    24: "an environment frozen and thawed",
    25: "a deployment during a run",
    26: "a deployment that fails",
    27: "a tenant configured wrongly",
    28: "two tenants in one account",
    29: "users deleted or created during a run",
    30: "clocks that disagree",
    31: "PutRecords takes only some records",
    32: "PutRecords' answer is lost",
    33: "records twice, late, in another order",
    34: "records and rows that cannot be stored",
    35: "no batch can be written",
    36: "answers that the mapping misreads",
    37: "retries used up, records too old",
    38: "shards split, hot and slow",
    39: "records and batches near the limits",
    40: "S3 objects that are gone",
    41: "S3 objects that are not the ones meant",
    42: "S3 refuses, slows down, breaks off",
    43: "the writer cannot keep up",
    44: "the database is killed",
    45: "a connection dies in a transaction",
    46: "a connection dies at COMMIT",
    47: "deadlocks",
    48: "locks held too long",
    49: "read-only after a failover",
    50: "too many connections",
    51: "a database that says nothing",
    52: "packets too big",
    53: "a driver that fails oddly",
    54: "credentials rotated",
    55: "a column is added",
    56: "a column is missing",
    57: "a table locked by its change",
    58: "text outside the character set",
    59: "two unique keys",
    60: "MySQL's and MariaDB's dialects",
}


@dataclass(frozen=True, slots=True)
class Injection:
    """What one test did, for one row of the table."""

    fault: int
    injected: str
    times: int
    users: int
    accounted: int
    lost: int


class FaultTable:
    """Gathers the injections of a test session and prints them, one row per fault."""

    def __init__(self) -> None:
        self._injections: dict[int, list[Injection]] = defaultdict(list)
        self._failed: set[int] = set()
        self._faults: dict[str, int] = {}

    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        for item in items:
            if marker := item.get_closest_marker("fault"):
                self._faults[item.nodeid] = marker.args[0]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        fault = self._faults.get(report.nodeid)
        if fault is None:
            return
        if not report.passed:
            self._failed.add(fault)
        if report.when == "teardown":
            for name, injection in report.user_properties:
                if name == PROPERTY:
                    assert isinstance(injection, Injection)
                    self._injections[fault].append(injection)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.exitstatus == pytest.ExitCode.OK and self._untried:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self) -> None:
        table = Table(title="What was done to it, and what became of the users", box=None)
        table.add_column("#", justify="right")
        table.add_column("Fault", max_width=34)
        table.add_column("Injected", max_width=56)
        for name in ("Times", "Users", "Accounted", "Rows lost"):
            table.add_column(name, justify="right")
        table.add_column("Verdict")
        for fault, title in TITLES.items():
            table.add_row(str(fault), title, *self._cells(fault))
        Console(width=160).print(table)

    @property
    def _untried(self) -> set[int]:
        return TITLES.keys() - self._injections.keys()

    def _cells(self, fault: int) -> list[str]:
        injections = self._injections[fault] if fault not in self._untried else []
        if not injections:
            return ["", "0", "0", "0", "0", "[red]FAILED" if fault in self._failed else "not tried"]
        sums = [
            sum(getattr(injection, name) for injection in injections)
            for name in ("times", "users", "accounted", "lost")
        ]
        words = "; ".join(dict.fromkeys(injection.injected for injection in injections))
        verdict = "[red]FAILED" if fault in self._failed else "[green]held"
        return [words, *(f"{number:,}" for number in sums), verdict]


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(FaultTable(), "fault-table")
