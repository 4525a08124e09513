"""The commands that the documents print, as they would be pasted into one shell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.checkout import ROOT

_FENCE: Final = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
# What a block of commands begins with; the other blocks are pictures, output and files.
_COMMAND: Final = re.compile(
    r"\s*(aws|make|sam|git|cat >|export|for|[a-z]+=|output\(\)|\.venv/bin/|curl|mysql) ?"
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of commands, and where it stands."""

    page: str
    line: int
    text: str

    @property
    def where(self) -> str:
        """As editors take it."""
        return f"{self.page}:{self.line}"


def commands(page: str, section: str | None = None) -> list[Block]:
    """Find the blocks of commands of a page, or of one section of it."""
    text = (ROOT / page).read_text(encoding="utf-8")
    begin, end = _section(text, section)
    return [
        Block(page, text.count("\n", 0, found.start()) + 2, _unindented(found[1], found[3]))
        for found in _FENCE.finditer(text, begin, end)
        if not found[2] and _COMMAND.match(found[3])
    ]


def script(blocks: list[Block], *, after: Mapping[str, str]) -> str:
    """Write the blocks as one script of bash, which says where it stopped.

    `after` has commands of the test's own, each behind the first line that contains its key.
    """
    return "\n".join(_lines(blocks, dict(after)))


def _lines(blocks: list[Block], after: dict[str, str]) -> Iterator[str]:
    yield "set -euo pipefail"
    yield "trap 'echo \"stopped in $where\" >&2' ERR"
    for block in blocks:
        yield f"where={Path(block.page).name}:{block.line}"
        for line in block.text.splitlines():
            yield line
            for key in [key for key in after if key in line]:
                yield after.pop(key)
    assert not after, f"no line has {', '.join(after)}"


def _section(text: str, section: str | None) -> tuple[int, int]:
    if section is None:
        return 0, len(text)
    begin = text.index(f"\n## {section}\n")
    end = text.find("\n## ", begin + 1)
    return begin, len(text) if end < 0 else end


def _unindented(indent: str, text: str) -> str:
    return "\n".join(line.removeprefix(indent) for line in text.splitlines()) + "\n"
