"""Lays a run's invocations out in lanes, side by side as the workflow's two Maps had them. Pure.

A lane holds what followed one another. The chunks fill the lanes of the outer Map, and within each
of these the groups fill the lanes of the inner one, so that a lane with nothing in it is a place
that nobody used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

# What one place of a Map needs between two items, and what clocks may differ by.
_OVERLAP_MS = 2


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of the report's table of invocations, and where in that table it is."""

    number: int
    state: str
    chunk: int | None
    group: int | None
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Band:
    """Lanes that belong together; each lane is the numbers of its bars."""

    label: str
    lanes: Sequence[Sequence[int]]


def bars_of(table: dict[str, Any]) -> list[Bar]:
    """Read the table; a bar begins with INIT, where there was one."""
    column = {name: at for at, name in enumerate(table["columns"])}
    return [
        Bar(
            number,
            table["states"][row[column["state"]]],
            row[column["chunk"]],
            row[column["group"]],
            row[column["start_ms"]] - (row[column["init_ms"]] or 0),
            row[column["start_ms"]] + row[column["duration_ms"]],
        )
        for number, row in enumerate(table["rows"])
    ]


def bands(bars: Sequence[Bar]) -> list[Band]:
    """Lay out bars: what has no chunk by its function, what has one by its chunk's lane."""
    by_function: dict[str, list[Bar]] = defaultdict(list)
    by_chunk: dict[int, list[Bar]] = defaultdict(list)
    for bar in bars:
        if bar.chunk is None:
            by_function[bar.state].append(bar)
        else:
            by_chunk[bar.chunk].append(bar)
    before = [_band("List Users", [[bar] for bar in by_function.pop("List Users", [])])]
    chunk_lanes = packed(by_chunk.values())
    middle = [
        _band(
            f"Chunk lane {number}",
            [group for chunk in chunks for group in _by_group(chunk)],
        )
        for number, chunks in enumerate(chunk_lanes, start=1)
    ]
    after = [_band(name, [[bar] for bar in own]) for name, own in by_function.items()]
    return [band for band in (*before, *middle, *after) if band.lanes]


def packed(items: Iterable[Sequence[Bar]]) -> list[list[Sequence[Bar]]]:
    """Give each item, in the order they began, the first lane that is free by then."""
    lanes: list[list[Sequence[Bar]]] = []
    free_at: list[int] = []
    for item in sorted(items, key=_start):
        lane = next(
            (at for at, free in enumerate(free_at) if free <= _start(item) + _OVERLAP_MS),
            len(lanes),
        )
        if lane == len(lanes):
            lanes.append([])
            free_at.append(0)
        lanes[lane].append(item)
        free_at[lane] = max(bar.end_ms for bar in item)
    return lanes


def _band(label: str, items: Iterable[Sequence[Bar]]) -> Band:
    return Band(label, [[bar.number for item in lane for bar in item] for lane in packed(items)])


def _by_group(bars: Iterable[Bar]) -> list[list[Bar]]:
    groups: dict[int | None, list[Bar]] = defaultdict(list)
    for bar in bars:
        groups[bar.group].append(bar)
    return list(groups.values())


def _start(item: Sequence[Bar]) -> int:
    return min(bar.start_ms for bar in item)
