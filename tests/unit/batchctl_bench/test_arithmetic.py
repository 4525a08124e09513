"""Medians, ratios, the fitted curve: against numbers worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchctl.bench.fit import power_law, spread
from batchctl.bench.samples import median_of, times_slower
from tests.support.bench_results import row, sample


def test_a_median_is_taken_field_by_field() -> None:
    middle = median_of([sample(3.0), sample(1.0), sample(8.0)])

    assert (middle.wall_s, middle.cpu_s, middle.users) == (3.0, 1.5, 30_000)


def test_what_a_variant_does_not_have_has_no_median() -> None:
    assert median_of([sample(1.0, of_project=False)] * 3).invocations is None


def test_a_median_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no samples"):
        median_of([])


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    # The machine slowed down: 2, 3 and 2.5 times as long, round by round; the medians say 4.
    assert times_slower(row("a", [2, 12, 20]), row("b", [1, 4, 8])) == 2.5


def test_variants_with_different_users_are_compared_per_user() -> None:
    assert times_slower(row("a", [40], users=1_000), row("b", [12], users=30_000)) == 100


def test_variants_with_different_rounds_are_not_compared() -> None:
    with pytest.raises(ValueError, match="longer"):
        times_slower(row("a", [1, 2]), row("b", [1, 2, 3]))


@given(factor=st.floats(0.01, 100), exponent=st.floats(-2, 2))
def test_the_fit_finds_the_law_that_made_the_points(factor: float, exponent: float) -> None:
    law = power_law([(x, factor * x**exponent) for x in (1, 10, 300)])

    assert law.exponent == pytest.approx(exponent, abs=1e-9)
    assert law(50) == pytest.approx(factor * 50**exponent)


def test_the_fit_lies_between_points_that_no_law_joins() -> None:
    # Logarithms 0, 1, 1 at 0, 1, 2: the slope of least squares is a half.
    assert power_law([(1, 1), (10, 10), (100, 10)]).exponent == pytest.approx(0.5)


def test_one_point_makes_no_curve() -> None:
    with pytest.raises(ValueError, match="two points"):
        power_law([(5, 1), (5, 2)])


def test_the_spread_of_what_is_flat_is_one() -> None:
    assert spread([3, 3, 3]) == 1
    assert spread([2, 5, 4]) == 2.5
