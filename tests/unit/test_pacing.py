"""No more calls per second than the tenant allows, and none held back without need."""

from __future__ import annotations

from itertools import pairwise
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from batch_core.pacing import Pacer


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(
    rate=st.floats(0.1, 1000),
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_starts_are_spaced_by_the_rate_however_calls_arrive(rate: float, gaps: list[float]) -> None:
    clock = Clock()
    pacer = Pacer(rate, clock)
    starts: list[float] = []
    for gap in gaps:
        clock.now += gap
        wait = pacer.reserve(within=inf)
        assert wait is not None
        starts.append(clock.now + wait)
    for earlier, later in pairwise(starts):
        assert later - earlier >= 1 / rate - 1e-6


@given(rate=st.floats(0.1, 1000), count=st.integers(1, 100))
def test_a_full_queue_takes_an_interval_for_each_call(rate: float, count: int) -> None:
    clock = Clock()
    pacer = Pacer(rate, clock)
    waits = [pacer.reserve(within=inf) for _ in range(count)]
    for n, wait in enumerate(waits):
        assert wait is not None
        assert abs(wait - (n + 1) / rate) < 1e-6


def test_without_a_rate_nothing_waits() -> None:
    pacer = Pacer(0, Clock())
    pacer.hold(100)
    assert [pacer.reserve(within=1) for _ in range(1000)] == [0.0] * 1000


def test_a_place_that_is_too_late_is_not_taken() -> None:
    clock = Clock()
    pacer = Pacer(1, clock)
    assert pacer.reserve(within=5) == 1
    clock.now += 1
    assert pacer.reserve(within=0.5) is None
    assert pacer.reserve(within=1) is None
    assert pacer.reserve(within=1.01) == 1


def test_without_time_left_there_is_no_place() -> None:
    assert Pacer(0, Clock()).reserve(within=0) is None
    assert Pacer(0, Clock()).reserve(within=-1) is None


def test_time_that_was_not_used_is_not_saved_up() -> None:
    clock = Clock()
    pacer = Pacer(10, clock)
    clock.now += 60
    assert pacer.reserve(within=9) == 0
    wait = pacer.reserve(within=9)
    assert wait is not None
    assert abs(wait - 0.1) < 1e-9


def test_a_hold_starts_nothing_before_its_end() -> None:
    clock = Clock()
    pacer = Pacer(10, clock)
    pacer.hold(3)
    pacer.hold(1)  # the longer one counts
    assert pacer.reserve(within=9) == 3
