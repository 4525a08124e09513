"""Tallies: sums that lose nobody."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batch_core.outcomes import Outcome, Tally

outcomes = st.lists(st.sampled_from(Outcome))
tallies = st.builds(Tally, *[st.integers(0, 10**6)] * 7)


@given(outcomes, st.integers(0, 100))
def test_every_outcome_is_counted(ends: list[Outcome], queued: int) -> None:
    tally = Tally.of(ends, queued=queued)
    assert tally.settled == len(ends)
    assert tally.outcomes == {outcome.value: ends.count(outcome) for outcome in Outcome}
    assert tally.queued == queued


@given(outcomes, outcomes)
def test_the_tally_of_two_groups_is_their_sum(one: list[Outcome], other: list[Outcome]) -> None:
    assert Tally.of(one) + Tally.of(other) == Tally.of(one + other)


@given(tallies)
def test_a_tally_is_read_back(tally: Tally) -> None:
    assert Tally.from_json(tally.to_json()) == tally


def test_zeros_are_written_and_what_is_absent_is_zero() -> None:
    assert Tally.from_json({}) == Tally()
    assert set(Tally().to_json()) == {"queued", *(outcome.value for outcome in Outcome)}
    assert set(Tally().to_json().values()) == {0}


def test_what_a_later_version_counts_is_ignored() -> None:
    assert Tally.from_json({"stored": 1, "parked": 2}) == Tally(stored=1)
