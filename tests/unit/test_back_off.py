"""When users that failed are asked again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core.back_off import BackOff, Standing

MINUTE = 60_000
NOW = 1_769_853_600_000
BACK_OFF = BackOff(period=timedelta(minutes=10), quarantine_after=5, quarantine=timedelta(hours=24))


@pytest.mark.parametrize(
    ("failures", "minutes", "standing"),
    [
        (1, 0, Standing.DUE),
        (1, 10, Standing.DUE),
        (2, 10, Standing.BACKING_OFF),
        (2, 20, Standing.DUE),
        (3, 30, Standing.BACKING_OFF),
        (3, 40, Standing.DUE),
        (4, 70, Standing.BACKING_OFF),
        (4, 80, Standing.DUE),
        (5, 80, Standing.QUARANTINED),
        (5, 24 * 60, Standing.DUE),
        (60_000, 23 * 60, Standing.QUARANTINED),
        (60_000, 24 * 60, Standing.DUE),
    ],
)
def test_breaks_double_until_quarantine(failures: int, minutes: int, standing: Standing) -> None:
    failed_at = NOW - minutes * MINUTE

    assert BACK_OFF.standing(failures=failures, failed_at=failed_at, now=NOW) is standing


def test_a_run_that_comes_a_little_early_does_not_cost_a_whole_break() -> None:
    early = NOW - 20 * MINUTE + 4 * MINUTE

    assert BACK_OFF.standing(failures=2, failed_at=early, now=NOW) is Standing.DUE


@given(failures=st.integers(0, 70_000), minutes=st.integers(0, 100_000))
def test_nobody_is_left_alone_for_longer_than_the_quarantine(failures: int, minutes: int) -> None:
    standing = BACK_OFF.standing(failures=failures, failed_at=NOW - minutes * MINUTE, now=NOW)

    assert standing is Standing.DUE or minutes < 24 * 60


@given(failures=st.integers(0, 70_000), ahead=st.integers(1, 10**12))
def test_who_is_said_to_have_failed_in_the_future_is_asked(failures: int, ahead: int) -> None:
    failed_at = NOW + MINUTE + ahead

    assert BACK_OFF.standing(failures=failures, failed_at=failed_at, now=NOW) is Standing.DUE


def test_clocks_that_differ_a_little_do_not_end_a_quarantine() -> None:
    standing = BACK_OFF.standing(failures=9, failed_at=NOW + MINUTE // 2, now=NOW)

    assert standing is Standing.QUARANTINED
