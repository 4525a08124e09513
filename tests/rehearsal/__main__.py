"""``python -m tests.rehearsal``: what the pipeline does to a push, played on a local cloud."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from batchctl import console
from batchctl.local.cloud import LocalCloud
from tests.rehearsal.display import Display, document, summary
from tests.rehearsal.place import Place
from tests.rehearsal.story import Rehearsal

_WIDE: Final = 150


def main(
    *,
    full: Annotated[
        bool, typer.Option("--full", help="Run every command of buildspec.yml; takes long.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Approve without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Play the pipeline's own steps, with enforced IAM and its real roles: a push to five tenants,
    four broken ones that the canary stops, a repair, a tenant more and a tenant less.

    The status is 1 when anything is not as expected.
    """

    def approve(question: str) -> bool:
        return yes or not sys.stdin.isatty() or typer.confirm(question, err=True)

    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="rehearsal-"))
    try:
        with LocalCloud(folder / "cloud", enforces_iam=True, report=console.step) as cloud:
            place = Place(cloud, folder, full=full, approve=approve)
            rehearsal = Rehearsal(place, Display(console.err))
            rehearsal.play()
        seconds = time.monotonic() - started
        console_of(as_json).print(summary(rehearsal, seconds))
        if as_json:
            sys.stdout.write(json.dumps(document(rehearsal, seconds)) + "\n")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if rehearsal.broken:
        raise typer.Exit(1)


def console_of(as_json: bool) -> Console:
    """Where the table goes, as wide as it is: where lines wrap is better than where words do."""
    return Console(stderr=as_json, width=_WIDE, highlight=False)


if __name__ == "__main__":
    typer.run(main)
