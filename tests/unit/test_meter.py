"""The meter: what one invocation used."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core import meter


@pytest.fixture(autouse=True)
def fresh_meter() -> Iterator[None]:
    meter.reset()
    yield
    meter.reset()


def test_counts_add_up_and_peaks_stay() -> None:
    meter.count("s3_get")
    meter.count("s3_get", 2)
    for size in (3, 9, 5):
        meter.peak("db_statement_bytes_max", size)
    assert meter.reading() == {"s3_get": 3, "db_statement_bytes_max": 9}


def test_a_reset_forgets_everything() -> None:
    meter.count("s3_get")
    meter.latency(5)
    meter.reset()
    assert meter.reading() == {}


def test_latencies_are_counted_in_buckets() -> None:
    for milliseconds in (199.0, 200.0, 1000.0):
        meter.latency(milliseconds)
    histogram = meter.reading()["api_latency"]
    assert histogram == {str(meter.bucket_of(200)): 2, str(meter.bucket_of(1000)): 1}


@given(st.floats(1.0001, 10_000_000))
def test_a_bucket_ends_within_a_few_percent_above_what_is_in_it(milliseconds: float) -> None:
    end = meter.bucket_end(meter.bucket_of(milliseconds))
    assert milliseconds <= end * 1.000001
    assert end <= milliseconds * 2 ** (1 / 20) * 1.000001


@given(st.floats(0, 1))
def test_below_a_millisecond_there_is_one_bucket(milliseconds: float) -> None:
    assert meter.bucket_of(milliseconds) == 0
    assert meter.bucket_end(0) == 1


@given(st.floats(0, 10_000_000), st.floats(0, 10_000_000))
def test_buckets_keep_the_order(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert meter.bucket_of(low) <= meter.bucket_of(high)
