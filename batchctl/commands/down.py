"""batchctl down."""

from __future__ import annotations

from batchctl import console
from batchctl.local.cloud import LocalCloud


def down() -> None:
    """Stop the local cloud and whatever a crash left of it; the database's files stay."""
    stopped = LocalCloud(report=console.step).down()
    if stopped:
        console.out.print(f"Stopped {stopped} {'process' if stopped == 1 else 'processes'}.")
    else:
        console.out.print("Nothing was running.")
