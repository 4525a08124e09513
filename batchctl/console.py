"""What a person sees: results on standard output, progress and errors on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Console

if TYPE_CHECKING:
    from rich.table import Table

_WIDE: Final = 1_000

# Rich guesses what is a number or a path and colours half a sentence: only deliberate styles.
out: Final = Console(highlight=False, soft_wrap=True)
err: Final = Console(highlight=False, soft_wrap=True, stderr=True)


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
