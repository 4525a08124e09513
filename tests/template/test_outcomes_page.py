"""The page of outcomes and errors says what the code knows, and names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

from batch_core.error_classes import ErrorClass
from batch_core.outcomes import Outcome

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "outcomes.md").read_text(encoding="utf-8")


def first_cells(heading: str) -> list[str]:
    """The words in code in the first cells of the table under a heading."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([a-z0-9_]+)` \|", section, re.MULTILINE)


def test_every_outcome_has_its_row() -> None:
    assert first_cells("Outcomes") == [outcome.value for outcome in Outcome]


def test_every_class_of_an_error_has_its_row() -> None:
    named = first_cells("Classes of errors")

    assert sorted(named) == sorted([*ErrorClass, "http_", "mysql_"])


def test_every_row_names_a_test() -> None:
    rows = [row for row in PAGE.splitlines() if row.startswith("|")]

    untested = [row for row in rows if "shown by" not in row and "---" not in row]
    assert [row for row in untested if "`tests/" not in row] == []


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)

    assert named
    missing = [
        f"{path}::{test}"
        for path, test in named
        if f"def {test}(" not in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert missing == []
