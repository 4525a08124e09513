"""Changes to the tenants' file that leave every other line as it is, comments above all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from batchctl.errors import BatchctlError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchctl.tenants.document import Document


def with_tenant(document: Document, entry: Mapping[str, Any]) -> str:
    """Return the file with one more tenant behind the others."""
    lines = document.text.splitlines()
    first, last = _first_line(document, 0), _last_line(document, _count(document) - 1)
    indent = " " * (len(lines[first]) - len(lines[first].lstrip()))
    written = yaml.safe_dump(dict(entry), sort_keys=False, allow_unicode=True, width=1000)
    marks = ["- ", *["  "] * written.count("\n")]
    added = [
        f"{indent}{mark}{line}" for mark, line in zip(marks, written.splitlines(), strict=False)
    ]
    return _joined([*lines[: last + 1], "", *added, *lines[last + 1 :]])


def without_tenant(document: Document, number: int) -> str:
    """Return the file without a tenant and the comments that stand right above it."""
    lines = document.text.splitlines()
    first, last = _first_line(document, number), _last_line(document, number)
    while lines[first - 1].lstrip().startswith("#"):
        first -= 1
    if not lines[first - 1].strip():  # the blank that set it apart goes with it
        first -= 1
    return _joined([*lines[:first], *lines[last + 1 :]])


def _first_line(document: Document, number: int) -> int:
    """The index of the line that a tenant begins on. Raises BatchctlError when it has none."""
    line = document.lines["tenants", number] - 1
    if not document.text.splitlines()[line].lstrip().startswith("- "):
        raise BatchctlError(
            f"{document.file}:{line + 1}: tenants are added and removed line by line. "
            "Begin every tenant on a line of its own, with a hyphen."
        )
    return line


def _last_line(document: Document, number: int) -> int:
    """The index of the last line that says something about a tenant."""
    following = ("tenants", number + 1)
    ends = [line - 1 for place, line in document.lines.items() if len(place) == 1]
    ends += [document.lines[following] - 1] if following in document.lines else []
    lines = document.text.splitlines()
    first = _first_line(document, number)
    last = min((end for end in ends if end > first), default=len(lines)) - 1
    while not lines[last].strip() or lines[last].lstrip().startswith("#"):
        last -= 1
    return last


def _count(document: Document) -> int:
    return len(document.values["tenants"])


def _joined(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
