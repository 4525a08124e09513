"""How many users fit into a run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core.admission import Admission, Lanes, Plan, deal, plan
from batch_core.codec import parse_json
from batch_core.failures import Failures
from batch_core.limits import CHUNKS_PER_RUN, GROUPS_PER_CHUNK
from batch_core.outcomes import Tally
from batch_core.ports import Candidate, LastRun
from tests.unit.test_list_users import configured

SECONDS = 200.0


def planned(group_size: int = 100, last: LastRun | None = None, **settings: Any) -> Plan:
    defaults = {"chunk_size": 5_000, "chunk_concurrency": 8, "group_concurrency": 40}
    return plan(
        configured(**defaults | settings), group_size=group_size, last=last, seconds=SECONDS
    )


def test_without_a_run_before_only_the_sizes_are_the_limit() -> None:
    assert planned() == Plan(
        users=CHUNKS_PER_RUN * 5_000, chunk_size=5_000, group_size=100, lanes=Lanes(8, 40)
    )


def test_a_chunk_never_has_more_groups_than_a_map_may_iterate_over() -> None:
    assert planned(1, chunk_size=10_000).chunk_size == GROUPS_PER_CHUNK
    assert planned(7, chunk_size=10_000).chunk_size == 7 * GROUPS_PER_CHUNK


def test_a_chunk_holds_whole_groups_and_at_least_one() -> None:
    assert planned(7, chunk_size=20).chunk_size == 14
    assert planned(50, chunk_size=20).chunk_size == 50


def test_a_rate_is_a_limit_from_the_first_run_on() -> None:
    assert planned(api_requests_per_second=10.0).users == 2_000


def test_what_users_took_in_the_last_run_says_how_many_fit() -> None:
    # 320 groups at once, 200 s, 2.56 s a user.
    assert planned(last=LastRun(2_560, listed=10**6)).users == 25_000


@pytest.mark.parametrize(
    ("user_ms", "group_size"), [(100, 100), (200, 100), (205, 97), (1_280, 15), (50_000, 1)]
)
def test_a_group_is_small_enough_to_be_asked_as_a_whole(user_ms: float, group_size: int) -> None:
    assert planned(last=LastRun(user_ms, listed=1_000)).group_size == group_size


@pytest.mark.parametrize(
    ("listed", "chunk_size"),
    [
        (100, 1_000),  # a tenant may grow overnight
        (8_000, 1_000),
        (8_001, 1_100),
        (30_000, 3_800),
        (40_000, 5_000),
        (40_001, 2_600),  # two rounds of eight, not nine chunks of which the last is alone
        (100_000, 4_200),
        (400_000, 5_000),
    ],
)
def test_as_many_users_as_last_time_are_spread_over_all_lanes(listed: int, chunk_size: int) -> None:
    last = LastRun(user_ms=4, listed=listed)

    assert planned(last=last).chunk_size == chunk_size
    assert planned(last=last).users == CHUNKS_PER_RUN * chunk_size


@given(
    listed=st.integers(1, 600_000),
    group_size=st.integers(1, 1_000),
    chunk_size=st.integers(100, 40_000),
    chunks=st.integers(1, 40),
)
def test_who_was_listed_last_time_fits_again_whatever_the_lanes(
    listed: int, group_size: int, chunk_size: int, chunks: int
) -> None:
    sizes: dict[str, Any] = {"chunk_size": chunk_size, "chunk_concurrency": chunks}
    most = planned(group_size, **sizes).users
    again = planned(group_size, LastRun(1, listed=listed), **sizes)

    assert again.users >= min(listed, most)
    assert again.chunk_size <= planned(group_size, **sizes).chunk_size


def test_what_just_fits_is_spread_over_all_lanes() -> None:
    assert planned(last=LastRun(2_560, listed=10**6)).chunk_size == 1_568


def test_users_that_are_fast_fit_however_many_they_are() -> None:
    assert planned(last=LastRun(4, listed=10**6)) == planned()


def test_a_user_is_asked_however_slow_the_api_was() -> None:
    assert planned(last=LastRun(1e9, listed=10**6)).users == 1


@given(
    group_size=st.integers(1, 1_000),
    user_ms=st.floats(1, 1e6),
    chunk_size=st.integers(1, 40_000),
    chunks=st.integers(1, 40),
    groups=st.integers(1, 40),
)
def test_what_is_admitted_takes_no_longer_than_there_is_time(
    group_size: int, user_ms: float, chunk_size: int, chunks: int, groups: int
) -> None:
    fits = planned(
        group_size,
        LastRun(user_ms, listed=10**6),
        chunk_size=chunk_size,
        chunk_concurrency=chunks,
        group_concurrency=groups,
    )

    slots = chunks * groups
    assert fits.users * user_ms / 1000 / slots <= SECONDS or fits.users == fits.group_size
    assert fits.group_size <= group_size
    assert fits.chunk_size % fits.group_size == 0
    assert fits.chunk_size // fits.group_size <= GROUPS_PER_CHUNK


@pytest.mark.parametrize(
    ("rate", "lanes", "group_size"),
    [
        (5_000, Lanes(8, 40), 100),
        (3_200, Lanes(8, 40), 100),
        (500, Lanes(2, 25), 100),
        (100, Lanes(1, 10), 100),
        (10, Lanes(1, 1), 100),
        (5, Lanes(1, 1), 100),
        (1, Lanes(1, 1), 40),
        (0.1, Lanes(1, 1), 4),
        (0.001, Lanes(1, 1), 1),
    ],
)
def test_a_low_rate_makes_a_narrow_run_and_then_small_groups(
    rate: float, lanes: Lanes, group_size: int
) -> None:
    made = planned(api_requests_per_second=rate)

    assert (made.lanes, made.group_size) == (lanes, group_size)


@given(rate=st.floats(0.1, 100_000), group_size=st.integers(1, 1_000))
def test_a_group_ends_in_time_at_its_share_of_any_rate(rate: float, group_size: int) -> None:
    made = planned(group_size, api_requests_per_second=rate)

    assert made.group_size * made.lanes.at_once / rate <= 40 or made.group_size == 1
    assert made.lanes.chunks <= 8
    assert made.lanes.groups <= 40
    assert made.users >= made.group_size


def test_one_user_per_group_keeps_the_rate_with_few_groups() -> None:
    assert planned(1, api_requests_per_second=2.0).lanes == Lanes(1, 20)


def text_ids() -> st.SearchStrategy[list[str]]:
    """Ids in the order of a collation that takes upper and lower case for one."""
    ids = st.lists(st.text("aAbB", min_size=1, max_size=2), max_size=40)
    return ids.map(lambda each: sorted(each, key=str.lower))


@given(st.lists(st.integers(0, 20), max_size=40).map(sorted) | text_ids())
def test_a_user_that_the_query_yields_again_is_rejected_once_more_and_asked_once(
    listed: list[Any],
) -> None:
    failures = Failures("demo")
    admission = Admission(now=1, limit=100, back_off=None, failures=failures)
    candidates = [Candidate({"user_id": user_id}) for user_id in listed]

    asked = [parse_json(text)["user_id"] for text in admission(candidates)]

    assert asked == list(dict.fromkeys(listed))
    assert admission.listed == len(listed)
    assert failures.tally == Tally(rejected=len(listed) - len(asked))


# --- dealing ----------------------------------------------------------------------------------


@given(
    users=st.integers(0, 3_000),
    group_size=st.integers(1, 300),
    chunk_groups=st.integers(1, 20),
    at_once=st.integers(1, 9),
)
def test_groups_begin_in_the_users_order_whatever_the_lanes(
    users: int, group_size: int, chunk_groups: int, at_once: int
) -> None:
    made = Plan(users, chunk_groups * group_size, group_size, Lanes(at_once, 3))

    chunks = list(deal(range(users), made))

    assert len(chunks) == -(-users // made.chunk_size)
    assert all(0 < len(chunk) <= made.chunk_size for chunk in chunks)
    groups = [
        (n // at_once, at // group_size, n, chunk[at : at + group_size])
        for n, chunk in enumerate(chunks)
        for at in range(0, len(chunk), group_size)
    ]
    assert [user for *_, group in sorted(groups) for user in group] == list(range(users))
    # Cut where Call API cuts it: only the last group may be short.
    assert sum(len(group) < group_size for *_, group in groups) <= 1
