"""Figures of a run, summed from the lines of its invocations."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core.meter import bucket_of
from batchctl.run.figures import (
    billed_gb_s,
    figures_of,
    histogram_percentile,
    modelled_gb_s,
    percentile,
)
from batchctl.run.lambda_model import Time
from batchctl.run.lines import Invocation, parse


def invocation(state: str = "Call API", **given: Any) -> Invocation:
    fields: dict[str, Any] = {
        "chunk": 0,
        "group": 0,
        "duration": Time(100.0),
        "init": None,
        "memory_mb": 512,
        "env_id": "env",
    }
    return Invocation(state, **(fields | given))


LINE = (
    '{"level":"INFO","message":"invocation","state":"Call API","tenant":"demo","run_id":"demo-1",'
    '"chunk":2,"group":3,"meter":{"env_id":"ce56","memory_mb":512,"duration_ms":210.4,'
    '"cpu_ms":30.5,"queued_ms":80.1,"init_ms":903.2,"init_cpu_ms":700.0,"init_queued_ms":100.0,'
    '"s3_get":1,"api_requests":3,"api_retries":1,"api_latency":{"153":2,"155":1},'
    '"event_bytes":49,"response_bytes":812}}'
)


def test_an_invocation_line_is_read() -> None:
    line = parse(LINE)
    assert line is not None
    read = Invocation.from_line(line, 5_000)
    assert read.slice == ("Call API", 2, 3)
    assert (read.duration, read.init) == (Time(210.4, 30.5, 80.1), Time(903.2, 700.0, 100.0))
    assert (read.memory_mb, read.env_id) == (512, "ce56")
    assert (read.started_ms, read.ended_ms) == (4_789.6, 5_000)
    assert read.meter["s3_get"] == 1
    assert read.api_latency == {153: 2, 155: 1}
    assert not read.failed


@pytest.mark.parametrize("text", ["START RequestId: 1", "", "{torn", "[1]", '"text"'])
def test_what_is_no_json_object_is_no_line(text: str) -> None:
    assert parse(text) is None


def test_an_invocation_that_answered_nothing_has_failed() -> None:
    assert invocation(meter={"response_bytes": 4}).failed


def test_billed_time_is_rounded_up_and_includes_init() -> None:
    # 101 ms + 900 ms at half a gigabyte.
    cold = invocation(duration=Time(100.2), init=Time(899.1))
    assert billed_gb_s(cold) == pytest.approx(1.001 * 0.5)
    assert billed_gb_s(invocation(duration=Time(100.0))) == pytest.approx(0.05)


def test_modelled_time_includes_init_and_gives_cpu_its_share_of_a_core() -> None:
    # At 884.5 MB, half a core: 50 ms of waiting and 2 x 40 ms of CPU; 2 x 300 ms of INIT.
    cold = invocation(duration=Time(100, 40, 10), init=Time(500, 300, 200), memory_mb=884.5)
    assert modelled_gb_s(cold) == pytest.approx(0.730 * 884.5 / 1024)


def test_counts_are_summed_and_peaks_are_not() -> None:
    figures = figures_of(
        [
            invocation(
                meter={
                    "s3_get": 1,
                    "api_requests": 100,
                    "api_retries": 2,
                    "event_bytes": 300,
                    "response_bytes": 9_000,
                },
                init=Time(500.0),
            ),
            invocation(meter={"s3_get": 1, "s3_put": 1, "api_requests": 50}),
            invocation("Process Users", meter={"put_units": 2, "event_bytes": 9_400}),
            invocation("Write Rows", meter={"db_statements": 4, "db_statement_bytes_max": 15_000}),
            invocation("Write Rows", meter={"db_statements": 5, "db_statement_bytes_max": 900}),
        ],
        log_bytes=1_234,
        state_bytes=[9_100],
    )
    assert figures.lambda_invocations == 5
    assert figures.cold_starts == 1
    assert (figures.s3_get, figures.s3_put, figures.kinesis_put_units) == (2, 1, 2)
    assert (figures.api_requests, figures.api_retries) == (150, 2)
    assert (figures.db_statements, figures.db_statement_bytes_max) == (9, 15_000)
    assert figures.max_state_bytes == 9_400
    assert figures.log_bytes == 1_234
    assert [(f.name, f.invocations) for f in figures.by_function] == [
        ("Call API", 2),
        ("Process Users", 1),
        ("Write Rows", 2),
    ]


def test_the_writers_event_is_not_a_state() -> None:
    assert figures_of([invocation("Write Rows", meter={"event_bytes": 10**6})]).max_state_bytes == 0


def test_a_state_seen_in_the_history_counts() -> None:
    assert figures_of([], state_bytes=[17, 4]).max_state_bytes == 17


def test_connections_are_counted_by_environment() -> None:
    figures = figures_of(
        [
            invocation("Write Rows", env_id="a", meter={"db_connections": 1, "db_statements": 3}),
            invocation("Write Rows", env_id="a", meter={"db_statements": 3}),  # kept open
            invocation("Finish Run", env_id="b", meter={"db_statements": 3}),  # of an earlier run
            invocation("Call API", env_id="c"),
        ]
    )
    assert figures.db_connections_peak == 2


def test_a_run_without_lines_has_figures_of_nothing() -> None:
    figures = figures_of([])
    assert (figures.lambda_invocations, figures.lambda_gb_s, figures.max_state_bytes) == (0, 0, 0)
    assert figures.api_p50_ms is None


def test_percentiles_are_by_nearest_rank() -> None:
    hundred = [float(value) for value in range(1, 101)]
    assert percentile(hundred, 50) == 50
    assert percentile(hundred, 99) == 99
    assert percentile([7.0], 1) == 7
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


@given(st.lists(st.floats(1.01, 60_000), min_size=1), st.sampled_from([50, 99]))
def test_a_percentile_of_a_histogram_is_right_within_its_buckets(
    latencies: list[float], percent: int
) -> None:
    buckets: dict[int, int] = {}
    for latency in latencies:
        buckets[bucket_of(latency)] = buckets.get(bucket_of(latency), 0) + 1
    exact = percentile(latencies, percent)
    found = histogram_percentile(buckets, percent)
    assert found is not None
    # Rounded to a tenth of a millisecond on top of the bucket's 3.5 %.
    assert exact - 0.05 <= found <= exact * 2 ** (1 / 20) + 0.05
