"""What a person sees: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import codecs
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, Final

from rich.console import Console

if TYPE_CHECKING:
    from rich.table import Table

_WIDE: Final = 1_000

# Rich guesses what is a number or a path and colours half a sentence: only deliberate styles.
out: Final = Console(highlight=False, soft_wrap=True)
err: Final = Console(highlight=False, soft_wrap=True, stderr=True)


# The signs of this project that a terminal may lack if it is not UTF-8, and others for them.
_SIGNS: Final = "✔✘✕·»─—│├└┘┐█■░●○∅↻►◄→“”"
_FOR_THEM: Final = '+xx->--|+++###.*o0@><>""'
_PLAIN: Final = dict(zip(_SIGNS, _FOR_THEM, strict=True)) | {"…": "...", "¥": "JPY "}


def print_on_any_terminal() -> None:
    """Write what the terminal's encoding lacks in ASCII, rather than fail; a name gets "?"."""
    codecs.register_error("plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError), "for printing only"
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character, "?") for character in lacking), error.end


def wide(table: Table) -> None:
    """Print a table as wide as it is: where lines wrap is better than where names are cut."""
    Console(highlight=False, width=_WIDE).print(table)


def step(text: str) -> None:
    """Say what is being done, while it is done."""
    err.print(f"[dim]·[/dim] {text}", markup=True)


def error(text: str) -> None:
    """Print the one paragraph of an operator's error."""
    err.print("[bold red]Error:[/bold red] ", end="")
    err.print(text, markup=False)
