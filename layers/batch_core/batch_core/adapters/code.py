"""Which code this is, read off the code itself."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_DIGITS = 12


def code_version(folders: Iterable[Path]) -> str:
    """Name the Python and SQL files of some folders by their content.

    A number that somebody has to raise says what was meant to be deployed; this says what runs.
    """
    digest = sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix in {".py", ".sql"}:
                digest.update(f"{path.relative_to(folder)}\0".encode())
                digest.update(sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:_DIGITS]
