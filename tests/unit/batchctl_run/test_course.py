"""How a run went over time."""

from __future__ import annotations

import pytest

from batch_core.meter import bucket_end, bucket_of
from batchctl.run.course import bin_width, course_of
from batchctl.run.lambda_model import Time
from batchctl.run.lines import Invocation, Received


def call(group: int, ended_ms: int, *, init_ms: float | None = None, **meter: int) -> Invocation:
    return Invocation(
        state="Call API",
        chunk=0,
        group=group,
        duration=Time(200.0),
        init=None if init_ms is None else Time(init_ms),
        memory_mb=512,
        env_id=f"e{group}",
        ended_ms=ended_ms,
        meter=meter,
        api_latency={bucket_of(100 + 100 * group): 10},
    )


def step(state: str, ended_ms: int, group: int | None = None, **meter: int) -> Invocation:
    chunk = None if group is None else 0
    return Invocation(
        state, chunk, group, Time(20.0), None, 256, f"{state}{group}", ended_ms, meter=meter
    )


def test_times_count_from_the_start_of_the_first_function_its_cold_start_included() -> None:
    course = course_of([call(0, 1_000_500, init_ms=300.0), call(1, 1_000_700)], [])
    table = course["invocations"]
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    assert course["origin"] == "1970-01-01T00:16:40.000+00:00"
    assert course["span_ms"] == 700
    assert [(row["start_ms"], row["duration_ms"], row["cold"]) for row in rows] == [
        (300, 200, 1),
        (500, 200, 0),
    ]


def test_an_invocation_that_raised_is_marked() -> None:
    course = course_of([call(0, 1_000, response_bytes=4), call(1, 1_000, response_bytes=50)], [])
    failed = course["invocations"]["columns"].index("failed")
    assert [row[failed] for row in course["invocations"]["rows"]] == [1, 0]


def test_latency_is_told_for_each_bin_of_time() -> None:
    lines = [
        call(0, 1_000, api_requests=12, api_retries=2, api_timeout=2, api_http_503=1),
        call(3, 9_000, api_requests=10),
    ]
    course = course_of(lines, [])
    api, bin_ms = course["api"], course["bin_ms"]
    first, last = api["over_time"]
    assert first[0] == 0
    assert first[1:3] == [12, 2]
    assert first[3] == round(bucket_end(bucket_of(100)), 1)
    # 9,000 is 8,200 after the origin; the invocation counts where its middle was.
    assert last[0] == (8_100 // bin_ms) * bin_ms
    assert last[3:] == [round(bucket_end(bucket_of(400)), 1)] * 3
    assert sum(calls for _, calls in api["histogram"]) == 20
    assert api["failed_attempts"] == {"timeout": 2, "http_503": 1}


def test_a_records_wait_is_from_where_it_was_put_to_where_it_was_received() -> None:
    lines = [step("Process Users", 2_000, 0), step("Process Users", 2_100, 1)]
    received = [
        Received(2_150, records=2, rows=150, groups=[(0, 0), (0, 1)]),
        # Of the group there is no line.
        Received(1_990, records=1, rows=20, groups=[(7, 7)]),
    ]
    writes = course_of(lines, received)["writes"]
    assert (writes["lag_p50_ms"], writes["lag_p99_ms"]) == (50, 150)
    totals = [sum(column) for column in zip(*writes["over_time"], strict=True)]
    assert totals[1:4] == [2, 3, 170]
    assert max(row[4] for row in writes["over_time"]) == 150


def test_a_writer_whose_clock_is_behind_did_not_receive_before_it_was_put() -> None:
    received = [Received(1_990, records=1, rows=20, groups=[(0, 0)])]
    writes = course_of([step("Process Users", 2_000, 0)], received)["writes"]
    assert (writes["lag_p50_ms"], writes["over_time"][0][4]) == (0, 0)


def test_connections_are_counted_by_function_from_their_first_use() -> None:
    lines = [
        step("List Users", 1_000, db_connections=1, db_statements=4),
        step("Write Rows", 3_000, 1, db_connections=2, db_statements=3, db_retries=1),
        step("Write Rows", 4_000, 1, db_statements=3),
        step("Process Users", 4_000, 0, records=1),
    ]
    assert course_of(lines, [])["connections"] == [
        {"function": "List Users", "held": 1, "opened": 1, "retries": 0, "statements": 4,
         "first_ms": [0]},
        {"function": "Write Rows", "held": 1, "opened": 2, "retries": 1, "statements": 6,
         "first_ms": [2_000]},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("span_ms", "width"), [(0, 10), (600, 10), (601, 20), (285_000, 5_000), (900_000, 15_000)]
)
def test_bins_are_round_and_at_most_sixty(span_ms: float, width: int) -> None:
    assert bin_width(span_ms) == width
    assert span_ms / width <= 60


def test_a_run_without_lines_has_an_empty_course() -> None:
    course = course_of([], [])
    assert course["invocations"]["rows"] == []
    assert course["api"]["over_time"] == course["writes"]["over_time"] == []
    assert course["span_ms"] == 0
