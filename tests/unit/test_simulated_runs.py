"""What holds over many runs: a few cost the many nothing, an outage costs little, nobody starves.

The runs are simulated: real decisions, modelled time. See `tests/support/simulation.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from math import ceil
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from batch_core.caution import calls_in_vain
from tests.support.simulation import HANGS, Said, Tenant

ONE_LANE, TWENTY_LANES = (1, 1), (4, 5)
LOGGER = logging.getLogger("express-batch")
simulated = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    """Keep the lines of thousands of groups to themselves."""
    before = LOGGER.level
    LOGGER.setLevel(logging.CRITICAL)
    yield
    LOGGER.setLevel(before)


# --- a few must not cost the many -------------------------------------------------------------

WELL = Said()
BAD = {
    "refused": Said(403, b""),
    "unknown": Said(404, b""),
    "fails": Said(500, b""),
    "hangs": Said(seconds=HANGS),
    "slow and wrong": Said(200, b"<html>", seconds=4.0),
    "login page": Said(200, b"<html>"),
    "wants to wait": Said(429, b"", headers=(("retry-after", "15"),)),
}
SHARE = 0.05


@st.composite
def bad_users(draw: st.DrawFn, users: int) -> dict[str, Said]:
    """Up to 5 % bad users of some kinds, in blocks of neighbours of any length and distance."""
    left = round(users * SHARE)
    bad: dict[str, Said] = {}
    length = draw(st.sampled_from([1, 2, 15, 45, 200, left]))
    kinds = draw(st.lists(st.sampled_from(sorted(BAD)), min_size=1, max_size=2))
    starts = st.integers(0, users - 1)
    for n, start in enumerate(draw(st.lists(starts, min_size=1, max_size=max(left // length, 1)))):
        for user in range(start, min(start + length, users)):
            if len(bad) < left:
                bad[str(user)] = BAD[kinds[n % len(kinds)]]
    return bad


def received(users: int, lanes: tuple[int, int], bad: dict[str, Said], *, runs: int) -> list[int]:
    """How many of the healthy are served in each run, from a clean start."""
    tenant = Tenant(range(users), lambda user: bad.get(user, WELL), lanes=lanes)
    return [sum(str(user) not in bad for user in tenant.run().served) for _ in range(runs)]


@pytest.mark.parametrize("lanes", [ONE_LANE, TWENTY_LANES])
@pytest.mark.parametrize("users", [300, 3_000])
def test_bad_users_cost_the_healthy_less_than_a_twentieth_of_their_updates(
    users: int, lanes: tuple[int, int]
) -> None:
    @simulated
    @given(bad_users(users))
    def holds(bad: dict[str, Said]) -> None:
        # All fit where nobody is bad; and the first runs, in which nobody is known, cost most.
        served = received(users, lanes, bad, runs=5)
        assert sum(served) >= (1 - SHARE) * 5 * (users - len(bad))

    holds()


@pytest.mark.parametrize("lanes", [ONE_LANE, TWENTY_LANES])
def test_they_cost_no_more_among_thirty_thousand(lanes: tuple[int, int]) -> None:
    kinds = sorted(BAD)
    block = {str(user): BAD["refused"] for user in range(5_000, 5_700)}
    spread = {str(user): BAD[kinds[user % len(kinds)]] for user in range(0, 30_000, 40)}
    bad = {**spread, **block}

    served = received(30_000, lanes, bad, runs=3)

    assert len(bad) <= SHARE * 30_000
    assert sum(served) >= (1 - SHARE) * 3 * (30_000 - len(bad))


def test_bad_users_at_the_front_of_every_group_do_not_speak_for_the_others() -> None:
    bad = {str(user): BAD["refused"] for user in range(3_000) if user % 200 < 10}

    # Fifteen environments, each with five calls to begin with.
    tenant = Tenant(
        range(3_000), lambda user: bad.get(user, WELL), lanes=TWENTY_LANES, chunk_size=1_000
    )

    assert len(tenant.run().served) == 2_850


def test_neighbours_who_are_refused_for_ever_are_marked_and_asked_less_and_less() -> None:
    bad = {str(user): BAD["refused"] for user in range(100, 115)}
    tenant = Tenant(range(3_000), lambda user: bad.get(user, WELL), lanes=TWENTY_LANES)

    asked = [len(tenant.run().asked & bad.keys()) for _ in range(8)]

    # As every user that fails: by the next run, then after 2 and 4 periods.
    assert asked == [15, 15, 0, 15, 0, 0, 0, 15]


# --- an outage --------------------------------------------------------------------------------

DOWN = {
    "fails": Said(503, b""),
    "hangs": Said(seconds=HANGS),
    "key refused": Said(401, b""),
    "redirects to a login": Said(302, b"", headers=(("location", "/login"),)),
    "gone": Said(410, b""),
}


@pytest.mark.parametrize("kind", DOWN)
@pytest.mark.parametrize("users", [300, 3_000, 30_000])
@pytest.mark.parametrize(
    ("lanes", "group_size"), [(ONE_LANE, 200), (TWENTY_LANES, 200), ((8, 40), 20)]
)
def test_an_api_that_is_down_gets_few_calls_and_every_run_says_so_until_all_are_served_again(
    kind: str, users: int, lanes: tuple[int, int], group_size: int
) -> None:
    state = [DOWN[kind]]
    tenant = Tenant(range(users), lambda _: state[0], lanes=lanes, group_size=group_size)

    for _ in range(1 if users > 3_000 else 3):
        run = tenant.run()
        assert run.requests <= calls_in_vain(users)
        assert (run.answer["status"], run.answer["error"]) == ("failed", "api_unreachable")
    if users > 3_000:
        return
    state[0] = WELL
    healed = tenant.run()
    assert healed.answer["status"] == "completed"
    assert len(healed.served) == users


def test_a_login_page_for_everyone_fails_the_run_and_marks_nobody() -> None:
    state = [BAD["login page"]]
    tenant = Tenant(range(300), lambda _: state[0])

    for _ in range(6):
        answer = tenant.run().answer
        assert (answer["status"], answer["error"]) == ("failed", "nearly_all_rejected")
    state[0] = WELL

    assert len(tenant.run().served) == 300


# --- nobody starves ---------------------------------------------------------------------------

IDS: dict[str, Callable[[int], Any]] = {
    "int": int,
    "text": "u{:06}".format,
    "decimal": lambda n: Decimal(n) + Decimal("0.5"),
    "uuid": "{:032x}".format,
}


def until_all_had_a_turn(tenant: Tenant, users: Sequence[Any]) -> list[int]:
    """Run until everybody was served; returns how many each run served."""
    # A DECIMAL is text from the chunk on.
    waiting, served = set(map(str, users)), list[int]()
    while waiting:
        run = tenant.run()
        waiting -= {str(user) for user in run.served}
        served.append(len(run.served))
        assert len(served) <= len(users), "somebody waits for ever"
    return served


@settings(simulated, max_examples=20)
@given(
    count=st.integers(50, 600),
    ids=st.sampled_from(sorted(IDS)),
    lanes=st.sampled_from([ONE_LANE, (1, 2), (2, 2), TWENTY_LANES]),
    group_size=st.sampled_from([1, 20, 50, 200, 1_000]),
    chunk_size=st.sampled_from([200, 5_000]),
    concurrency=st.sampled_from([5, 20, 50]),
    latency=st.sampled_from([0.5, 2.0, 8.0, 20.0, 30.0]),
    spread=st.floats(0, 0.5),
    seed=st.integers(0, 99),
)
def test_every_user_is_asked_within_as_many_runs_as_it_takes_and_one(
    count: int,
    ids: str,
    lanes: tuple[int, int],
    group_size: int,
    chunk_size: int,
    concurrency: int,
    latency: float,
    spread: float,
    seed: int,
) -> None:
    # More than a dozen runs show nothing that a dozen do not.
    assume(count * latency < 2_000 * lanes[0] * lanes[1] * min(concurrency, group_size))
    users = [IDS[ids](n) for n in range(count)]
    takes = {
        str(user): Said(seconds=latency * (1 + spread * ((n * 7919) % 200 - 100) / 100))
        for n, user in enumerate(users)
    }
    tenant = Tenant(
        users,
        takes.__getitem__,
        lanes=lanes,
        group_size=group_size,
        chunk_size=chunk_size,
        concurrency=concurrency,
        timeout=1e6,
        seed=seed,
    )

    served = until_all_had_a_turn(tenant, users)

    # What fits is what each run but the last, which need not be full, managed at least.
    fits = min(served[:-1] or served)
    assert len(served) <= ceil(count / fits) + 1
