"""batchctl bench."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from batchctl import console
from batchctl.bench import measure
from batchctl.bench.arena import Arena
from batchctl.bench.document import Bench
from batchctl.bench.page import write_page
from batchctl.bench.tables import tables
from batchctl.commands.options import Database, Json
from batchctl.local.cloud import LocalCloud
from batchctl.local.home import write_json

if TYPE_CHECKING:
    from pathlib import Path


def bench(
    *,
    users: Annotated[int, typer.Option(metavar="N", min=1, help="Users in each round.")] = 30_000,
    latency_ms: Annotated[
        int, typer.Option(metavar="L", min=0, help="How slow the sample API is.")
    ] = 200,
    rounds: Annotated[
        int, typer.Option(metavar="R", min=1, help="Rounds; their medians are shown.")
    ] = 3,
    growth: Annotated[
        bool, typer.Option(help="Also run 1,000 to 100,000 users, for the curve.")
    ] = True,
    sweep: Annotated[
        bool,
        typer.Option("--sweep", help="Also try group sizes, calls in flight and chunk sizes."),
    ] = False,
    crowd: Annotated[
        bool,
        typer.Option("--crowd", help="Also let many invocations wait for a slow API at once."),
    ] = False,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Measure the batch against one Lambda per user and two scripts, on this machine.

    The same users, the same API and the same database for all of them, in turn. It takes about a
    quarter of an hour, in which the machine should have nothing else to do.
    """
    cloud = LocalCloud(database=database, report=console.step)
    found_running = cloud.status().running
    began = datetime.now(UTC)
    folder = cloud.home / "bench" / began.strftime("%Y-%m-%dT%H%M%SZ")
    try:
        arena = Arena(cloud, latency_ms=latency_ms, reports=folder / "runs")
        result = Bench(
            at=began.isoformat(timespec="seconds"),
            machine={**machine(), "database": cloud.database_server.version()},
            asked={"users": users, "latency_ms": latency_ms, "rounds": rounds},
            stack_parameters=arena.target.stack.parameters,
            rows=measure.variants(arena, users, rounds, console.step),
            writing=measure.writing(arena, users, console.step),
        )
        # What took minutes is kept, whatever becomes of the rest.
        document = keep(result, folder, cloud.home)
        if growth:
            sizes = measure.GROWTH_USERS
            result = replace(result, growth=measure.growth(arena, sizes, console.step))
            document = keep(result, folder, cloud.home)
        if crowd:
            result = replace(result, crowd=measure.crowd(arena, console.step))
            document = keep(result, folder, cloud.home)
        if sweep:
            result = replace(result, sweep=measure.sweep(arena, users, console.step))
            document = keep(result, folder, cloud.home)
    finally:
        if not found_running:
            console.step("stopping the local cloud")
            cloud.down()
    if as_json:
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        console.out.print(tables(result, str(folder / "bench.html")), soft_wrap=False)


def machine() -> dict[str, object]:
    """What the figures depend on: the processors, how busy they are, the interpreter."""
    return {
        "processors": os.cpu_count(),
        "architecture": platform.machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def keep(result: Bench, folder: Path, home: Path) -> dict[str, object]:
    """Write the charts, the page and the document; return the document."""
    charts = draw(result, folder, home / "matplotlib")
    write_page(result, charts, folder / "bench.html")
    document = {**result.document(), "charts": [chart.name for chart in charts]}
    write_json(folder / "bench.json", document)
    return document


def draw(result: Bench, folder: Path, cache: Path) -> list[Path]:
    """Draw the charts; return their files."""
    # Its caches would go into the person's home otherwise.
    os.environ.setdefault("MPLCONFIGDIR", str(cache))
    from batchctl.bench import charts  # noqa: PLC0415  a second that no other command should wait

    folder.mkdir(parents=True, exist_ok=True)
    return charts.draw(result, folder)
