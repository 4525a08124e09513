"""Invocations laid out side by side."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from batchctl.report.lanes import Bar, bands, bars_of
from tests.support.run_reports import a_run

LONGEST_OVERLAP_MS = 2


def bar(number: int, state: str, place: tuple[int, int] | None, start: int, length: int) -> Bar:
    chunk, group = place or (None, None)
    return Bar(number, state, chunk, group, start, start + length)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Call API", "Process Users", "Write Rows"]),
            st.tuples(st.integers(0, 3), st.integers(0, 5)),
            st.integers(0, 1_000),
            st.integers(0, 300),
        ),
        max_size=40,
    )
)
def test_every_bar_has_one_place_and_different_groups_of_a_lane_follow_one_another(
    drawn: list[tuple[str, tuple[int, int], int, int]],
) -> None:
    bars = [
        bar(at, state, None if state == "Write Rows" else place, start, length)
        for at, (state, place, start, length) in enumerate(drawn)
    ]
    found = bands(bars)
    placed = [number for band in found for lane in band.lanes for number in lane]
    assert sorted(placed) == list(range(len(bars)))
    for band in found:
        for lane in band.lanes:
            groups: dict[object, list[Bar]] = {}
            for number in lane:
                own = bars[number]
                key = number if own.chunk is None else (own.chunk, own.group)
                groups.setdefault(key, []).append(own)
            spans = sorted(
                (min(b.start_ms for b in own), max(b.end_ms for b in own))
                for own in groups.values()
            )
            for (_, end), (start, _) in pairwise(spans):
                assert start >= end - LONGEST_OVERLAP_MS


def test_lanes_are_as_many_as_the_maps_had_places() -> None:
    run = a_run(chunks=3, groups=8, at_once=4)
    table = json.loads(json.dumps(run.document()["course"]["invocations"]))
    found = {band.label: len(band.lanes) for band in bands(bars_of(table))}
    assert found["List Users"] == found["Finish Run"] == 1
    assert {found[f"Chunk lane {n}"] for n in (1, 2, 3)} == {4}


def test_chunks_that_followed_one_another_share_a_lane() -> None:
    first, second = bar(0, "Call API", (0, 0), 0, 100), bar(1, "Call API", (1, 0), 100, 50)
    beside = bar(2, "Call API", (2, 0), 20, 50)
    assert [(b.label, b.lanes) for b in bands([first, second, beside])] == [
        ("Chunk lane 1", [[0, 1]]),
        ("Chunk lane 2", [[2]]),
    ]


def test_a_bar_begins_with_its_cold_start() -> None:
    table = {
        "states": ["Call API"],
        "columns": ["state", "chunk", "group", "start_ms", "duration_ms", "init_ms"],
        "rows": [[0, 1, 2, 500, 30, 400], [0, 1, 3, 600, 30, None]],
    }
    assert [(b.start_ms, b.end_ms) for b in bars_of(table)] == [(100, 530), (600, 630)]
