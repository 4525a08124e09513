"""batchctl report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from batchctl import console
from batchctl.errors import UsageError
from batchctl.local.home import default_home, read_json, short
from batchctl.report.page import write_page


def report(
    run: Annotated[
        str | None,
        typer.Argument(help="A run, or the path of its report file; the last run, if not given."),
    ] = None,
) -> None:
    """Write the page of a run, one HTML file that needs no network, and print where it is.

    `batchctl run` has written it already; this writes it anew from the report file beside it.
    """
    file = _file_of(run, default_home() / "reports")
    document = read_json(file)
    if "run_id" not in document:
        raise UsageError(f"{short(file)} is not the report of a run.")
    console.out.print(short(write_page(document, file)), markup=False)


def _file_of(run: str | None, reports: Path) -> Path:
    """The report file of a run.

    Raises UsageError when there is none.
    """
    if run is None:
        files = sorted(reports.glob("*.json"), key=lambda file: file.stat().st_mtime)
        if not files:
            raise UsageError(f"There is no report in {short(reports)} yet. Try: batchctl run")
        return files[-1]
    for file in (reports / f"{run}.json", Path(run)):
        if file.is_file():
            return file
    raise UsageError(
        f"There is no report of {run} in {short(reports)}. `batchctl run` writes one for each run"
        " that it starts; of any other, see: batchctl trace RUN"
    )
