"""The bench as a page: its tables and charts in one file that loads nothing."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from batchctl.bench.document import Bench
from batchctl.bench.grids import grids
from batchctl.local.home import write_text
from batchctl.report.rendering import asset, environment

# What the charts show, by the names of their files.
_CAPTIONS: Final = {
    "variants": "How long each variant takes for the same users; the axis is logarithmic.",
    "growth": "What grows with the users, and what does not.",
    "sweep": "What each setting costs, and how long it takes.",
}


def write_page(bench: Bench, charts: Sequence[Path], page: Path) -> None:
    """Write the page of a bench."""
    write_text(
        page,
        environment("batchctl.bench")
        .get_template("bench.html.j2")
        .render(
            bench=bench,
            good=all(target.met is not False for target in bench.targets),
            grids=list(grids(bench)),
            charts=[
                (_CAPTIONS[chart.stem], base64.b64encode(chart.read_bytes()).decode())
                for chart in charts
            ],
            style=asset("report.css"),
        ),
    )
