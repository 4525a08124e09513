"""batchctl demo."""

from __future__ import annotations

from typing import Final

import typer

from batchctl import console
from batchctl.commands.options import DEFAULT_TENANT, Database
from batchctl.commands.run import Wish, moment_of, present, run_locally
from batchctl.local.cloud import LocalCloud

_USERS: Final = 1_000
# A usual answer time of an API on the internet.
_LATENCY_MS: Final = 200

_PICTURE: Final = """\
 Database ─► [bold]List Users[/] ──► chunks of users in S3
                 │
    For Each Chunk, For Each Group ┐
                 │                 ├─ [bold]Call API[/] ◄─────► the outside API
                 │                 └─ [bold]Process Users[/] ──► Kinesis ──► [bold]write_rows[/]
                 │                                                      │
             [bold]Finish Run[/] ◄── ledger of the run, in the database ◄────────┘

 It ends when every user has exactly one outcome."""


def demo(database: Database = None) -> None:
    """Run the batch once for 1,000 users on a local cloud, and stop what was started for it."""
    cloud = LocalCloud(database=database, report=console.step)
    found_running = cloud.status().running
    console.out.print(f"\n{_PICTURE}\n")
    try:
        wish = Wish(_USERS, None, _LATENCY_MS, None, moment_of(None))
        target, report = run_locally(cloud, DEFAULT_TENANT, wish, goes_on=found_running)
        present(report, target, as_json=False)
    finally:
        if not found_running:
            console.step("stopping the local cloud")
            cloud.down()
    if not report.verdict.good:
        raise typer.Exit(1)
