"""``python -m tests.soak``: the batch, for minutes, while everything around it fails at random."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from batchctl import console
from batchctl.commands.options import Database
from batchctl.local.cloud import LocalCloud
from batchctl.local.databases import DatabaseKind
from tests.soak.display import display, summary
from tests.soak.plan import Plan
from tests.soak.soak import soak


def main(
    *,
    minutes: Annotated[
        float, typer.Option(metavar="N", min=0.1, help="How long to inject faults.")
    ] = 10,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="The plan of faults; a new one, if not given."),
    ] = None,
    users: Annotated[int, typer.Option(metavar="N", min=1, help="How many there are at first.")] = (
        400
    ),
    database: Database = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Run the batch every few seconds on a local cloud of its own while faults are injected at
    random, then let it settle and compare every row with the API.

    The status is 1 when anything is lost, stale or logged that must not be.
    """
    plan = Plan.of(
        seed=secrets.randbelow(1_000_000) if seed is None else seed,
        seconds=minutes * 60,
        users=users,
    )
    console.step(f"seed {plan.seed}, {minutes:g} minutes, {users:,} users")
    with own_cloud(database) as cloud, display(console.err, plan.seconds) as shown:
        result = soak(cloud, plan, shown)
    (console.err if as_json else console.out).print(summary(result), soft_wrap=False)
    if as_json:
        sys.stdout.write(json.dumps(result.document()) + "\n")
    if result.findings:
        raise typer.Exit(1)


@contextmanager
def own_cloud(database: DatabaseKind | None = None) -> Iterator[LocalCloud]:
    """A local cloud that nobody else works with, and of which nothing is left."""
    home = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        with LocalCloud(home, database=database, report=console.step) as cloud:
            yield cloud
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    typer.run(main)
