"""How many calls a run makes of an API that is down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core.admission import Lanes, narrowed
from batch_core.caution import Caution, calls_in_vain, caution_of


@pytest.mark.parametrize(("users", "calls"), [(1, 100), (5_000, 100), (5_050, 101), (30_000, 600)])
def test_what_may_be_called_in_vain_is_a_fiftieth_of_the_users_and_never_below_a_hundred(
    users: int, calls: int
) -> None:
    assert calls_in_vain(users) == calls


@pytest.mark.parametrize(
    ("users", "groups", "at_once", "caution"),
    [
        (300, 2, 80, Caution(49, 1.0)),
        (1_000, 5, 80, Caution(19, 1.0)),
        (3_000, 15, 1, Caution(85, 1.0)),
        (3_000, 60, 40, Caution(2, 0.33)),
        (30_000, 150, 80, Caution(6, 0.8)),
        (30_000, 150, 20, Caution(24, 0.8)),
        (30_000, 30_000, 80, Caution(6, 0.0)),
        (0, 0, 80, Caution(100, 0.0)),
    ],
)
def test_it_is_shared_by_the_environments_and_their_further_groups(
    users: int, groups: int, at_once: int, caution: Caution
) -> None:
    assert caution_of(users, groups=groups, at_once=at_once) == caution


@given(
    users=st.integers(1, 200_000),
    group_size=st.integers(1, 1_000),
    chunks=st.integers(1, 40),
    lanes=st.integers(1, 40),
)
def test_all_environments_together_stay_below_it(
    users: int, group_size: int, chunks: int, lanes: int
) -> None:
    most, groups = calls_in_vain(users), -(-users // group_size)
    at_once = narrowed(Lanes(chunks, lanes), most).at_once

    caution = caution_of(users, groups=groups, at_once=at_once)

    environments = min(at_once, groups)
    assert caution.first >= 1
    assert environments * caution.first + groups * caution.later <= most


@given(st.integers(1, 40), st.integers(1, 40), st.integers(100, 10_000))
def test_lanes_are_narrowed_no_further_than_they_must_be(
    chunks: int, groups: int, most: int
) -> None:
    lanes = narrowed(Lanes(chunks, groups), most)

    assert lanes.at_once <= most
    assert lanes == Lanes(chunks, groups) or lanes.at_once > most - lanes.chunks
