"""The bench as pictures: bars for the variants, the growth curve, the frontier of the sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from batchctl.bench.samples import Row, times_slower

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from batchctl.bench.document import Bench
    from batchctl.bench.frontier import Choice
    from batchctl.bench.results import Growth, Sweep

_OURS: Final = "#1b7f79"
_OTHERS: Final = "#8d99a6"
_ACCENT: Final = "#c8553d"
_MEMORY_COLOURS: Final = ("#440154", "#31688e", "#35b779", "#e0a100", "#c8553d")


def draw(bench: Bench, folder: Path) -> list[Path]:
    """Write the pictures that the bench has figures for; return their files."""
    figures = {"variants": variants(bench)}
    if bench.growth:
        figures["growth"] = growth(bench.growth)
    if bench.sweep:
        figures["sweep"] = sweep(bench.sweep)
    files = []
    for name, figure in figures.items():
        file = folder / f"{name}.png"
        figure.savefig(file, dpi=150)
        files.append(file)
    return files


def variants(bench: Bench) -> Figure:
    """Bars for the wall time of each variant, with its ratio to the tuned script."""
    cron, users = bench.row("cron"), bench.row("cron").median.users
    rows = sorted(bench.rows, key=lambda row: row.median.ms_per_user)
    walls = [row.median.ms_per_user * users / 1000 for row in rows]
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.barh([row.title[3:] for row in rows], walls, height=0.6)
    for bar, row, wall in zip(bars, rows, walls, strict=True):
        bar.set_color(_OURS if row.key in ("grouped", "per_user") else _OTHERS)
        axes.annotate(
            _bar_label(row, cron, wall),
            (wall, bar.get_y() + bar.get_height() / 2),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_xscale("log")
    axes.set_xlim(min(walls) / 3, max(walls) * 40)
    axes.invert_yaxis()
    axes.set_xlabel(f"seconds for {users:,} users, environments warm (logarithmic)")
    axes.set_title(
        f"{users:,} users, an API that answers in {bench.asked['latency_ms']} ms", loc="left"
    )
    _plain(axes, "x")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.tick_params(axis="y", length=0)
    return figure


def _bar_label(row: Row, cron: Row, wall: float) -> str:
    ratio = "" if row is cron else f" · {times_slower(row, cron):,.2f} x the asyncio script"
    users = row.median.users
    scaled = f"\nscaled from {users:,} users" if users != cron.median.users else ""
    return f"{wall:,.1f} s{ratio}{scaled}"


def growth(grown: Growth) -> Figure:
    """The wall time over the users, and beside it what should not grow with them."""
    points, law = grown.points, grown.law
    users = [point.users for point in points]
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(users, [law(n) for n in users], color=_OTHERS, linestyle="--", linewidth=1.5)
    left.plot(users, [point.wall_s for point in points], "o", color=_OURS, markersize=7)
    for point in points:
        left.annotate(
            f"{point.wall_s:,.1f} s",
            (point.users, point.wall_s),
            xytext=(8, -14),
            textcoords="offset points",
            ha="left",
        )
    left.set_yscale("log")
    left.set_ylim(min(p.wall_s for p in points) / 2, max(p.wall_s for p in points) * 2)
    left.set_ylabel("wall time, seconds")
    left.set_title(f"wall time ~ users^{law.exponent:.2f}", loc="left")
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    flat = {
        "largest state": ([float(p.max_state_bytes) for p in points], "o-", _OURS),
        "database connections": ([float(p.connections) for p in points], "s--", _OTHERS),
        "memory of List Users": ([float(p.listing_peak_bytes) for p in points], "^-", _ACCENT),
    }
    for name, (values, style, colour) in flat.items():
        right.plot(users, [value / values[0] for value in values], style, color=colour, label=name)
    right.axhspan(1 / 1.2, 1.2, color=_OTHERS, alpha=0.15, linewidth=0, label="within 20 %")
    right.set_ylim(0, max(2, *right.get_ylim()))
    right.set_ylabel(f"times the figure at {users[0]:,} users")
    right.set_title("what must not grow", loc="left")
    right.legend(loc="lower left", frameon=False, ncols=2)
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xlim(users[0] / 2, users[-1] * 2)
        axes.set_xticks(users, [f"{n:,}" for n in users])
        axes.minorticks_off()
        axes.set_xlabel("users")
        _plain(axes)
    return figure


def sweep(swept: Sweep) -> Figure:
    """Every setting by time and cost; the frontier is a line, the recommended one is named."""
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.add_subplot()
    memories = sorted({choice.setting.memory_mb for choice in swept.choices})
    for memory, colour in zip(memories, _MEMORY_COLOURS, strict=False):
        own = [choice for choice in swept.choices if choice.setting.memory_mb == memory]
        axes.scatter(*_coordinates(own), s=28, color=colour, alpha=0.7, label=f"{memory:,} MB")
    axes.plot(
        *_coordinates(swept.frontier), color="black", linewidth=1, drawstyle="steps-post", zorder=0
    )
    best = swept.recommended
    axes.scatter(
        [best.wall_s], [best.usd_per_million], s=160, facecolors="none", edgecolors=_ACCENT
    )
    setting = best.setting
    users = swept.observations[0].users
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.tick_params(which="minor", labelsize=7)
    axes.set_xlabel(f"wall time for {users:,} users, seconds (other memory sizes modelled)")
    axes.set_ylabel("$ per million users, without hourly prices")
    axes.set_title(
        "cost and time; the line is the frontier, the circle what is recommended:\n"
        f"{setting.users_per_invocation:,} users per invocation, {setting.api_concurrency} in"
        f" flight, chunks of {setting.chunk_size:,}, {setting.memory_mb:,} MB",
        loc="left",
    )
    axes.legend(
        title="memory, modelled", frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5)
    )
    _plain(axes)
    return figure


def _coordinates(choices: Sequence[Choice]) -> tuple[list[float], list[float]]:
    return [c.wall_s for c in choices], [c.usd_per_million for c in choices]


def _plain(axes: Axes, grid: Literal["both", "x"] = "both") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, axis=grid, color="#e6e9ec", linewidth=0.8)
    axes.set_axisbelow(True)
