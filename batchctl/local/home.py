"""Where a local cloud keeps its files."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from batchctl.errors import BatchctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHECKOUT: Final = Path(__file__).resolve().parents[2]


def default_home() -> Path:
    """Return the folder of the local cloud: BATCHCTL_HOME, or .local in the checkout."""
    return Path(os.environ.get("BATCHCTL_HOME") or CHECKOUT / ".local").resolve()


def short(path: Path) -> str:
    """A path as short as it can be given from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


@contextmanager
def exclusive(lock: Path, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock that ends with the process that took it, however that ends.

    `waiting` is told when another command holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting(f"another command is at work on {lock.parent}; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in a file; empty, for nothing known, when the file is absent or torn."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_json(file: Path, value: dict[str, Any]) -> None:
    """Replace a file whole by an object's text."""
    write_text(file, json.dumps(value, indent=2) + "\n")


def write_text(file: Path, text: str) -> None:
    """Replace a file whole, so that no reader ever sees half of it.

    Raises BatchctlError when it cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(file)
    except OSError as error:
        raise BatchctlError(f"{file} cannot be written: {error.strerror}.") from error
