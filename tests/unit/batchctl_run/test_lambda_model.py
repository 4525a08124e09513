"""What an invocation seen here would take on Lambda."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchctl.run.lambda_model import VCPU_MB, Time

milliseconds = st.floats(0, 60_000)
times = st.builds(Time, milliseconds, milliseconds, milliseconds)


def test_waiting_takes_as_long_as_it_took() -> None:
    assert Time(200.0).at(128) == 200.0


def test_cpu_is_stretched_by_the_share_of_a_core() -> None:
    assert Time(100.0, 100.0).at(VCPU_MB // 2) == pytest.approx(200, rel=0.01)


def test_the_time_that_others_had_the_processor_does_not_count() -> None:
    assert Time(500.0, 100.0, 300.0).at(VCPU_MB) == 200.0


def test_more_than_a_core_does_not_help() -> None:
    assert Time(300.0, 100.0).at(10_240) == Time(300.0, 100.0).at(VCPU_MB)


@given(times, st.integers(128, 10_240), st.integers(128, 10_240))
def test_more_memory_never_takes_longer(time: Time, less: int, more: int) -> None:
    less, more = sorted((less, more))
    assert time.at(more) <= time.at(less)


@given(times, st.integers(128, 10_240))
def test_what_is_billed_is_whole_milliseconds(time: Time, memory_mb: int) -> None:
    billed = time.gb_s_at(memory_mb) * 1024 / memory_mb * 1000
    assert billed == pytest.approx(round(billed), abs=1e-6)
    assert time.at(memory_mb) <= billed + 1e-6


@given(times, times, st.integers(128, 10_240))
def test_times_add_up(one: Time, other: Time, memory_mb: int) -> None:
    both = one + other
    assert (both.wall, both.cpu, both.queued) == (
        one.wall + other.wall,
        one.cpu + other.cpu,
        one.queued + other.queued,
    )
