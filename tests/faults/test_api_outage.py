"""Faults 1, 2, 3 and 5: an API that turns away, fails or refuses many users at once.

What counts here is what it costs: how often the API was asked, and how many users were lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch_core.breaker import TRICKLE, WINDOW
from batch_core.outcomes import Tally
from batch_core.retry import API_TRIES, RETRIES_PER_CALL, RETRIES_TO_START, parse_retry_after
from tests.faults.conftest import Lab
from tests.support.api_groups import Batch, Environment, users, well
from tests.support.scripted_server import Exchange, ScriptedServer, answer

CONCURRENCY = 5
# What an environment may ask before it is answered well, in these tests.
FIRST_CALLS = 20


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        server.otherwise = well
        yield server


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jitter is any pause from nothing up, so that nothing is a fair draw."""
    monkeypatch.setattr("batch_core.adapters.http.random.random", lambda: 0.0)


def environment(server: ScriptedServer, **options: Any) -> Environment:
    return Environment(server.url, **{"concurrency": CONCURRENCY, **options})


# --- 1 ----------------------------------------------------------------------------------------

RETRY_AFTER = {
    # text: (requests made, whether the user is served when the API takes the second request)
    "0": (2, True),
    "Thu, 01 Jan 1970 00:00:00 GMT": (2, True),
    "1": (2, True),
    "-1": (2, True),  # makes no sense, so the usual backoff
    "soon": (2, True),
    "1000000000": (1, False),
    "Fri, 31 Dec 9999 23:59:59 GMT": (1, False),
}


@pytest.mark.fault(1)
def test_a_retry_after_is_obeyed_where_it_fits_and_left_to_the_next_run_where_not(
    server: ScriptedServer, lab: Lab
) -> None:
    for user, text in enumerate(RETRY_AFTER):
        server.on(f"/users/{user}", answer(429, b"", Retry_After=text), well)
    batch = Batch(users(30))

    with environment(server) as env:
        result = env.work(batch)

    served = [user for user, (_, served) in enumerate(RETRY_AFTER.values()) if served]
    assert sorted(result.rows) == [*served, *range(len(RETRY_AFTER), 30)]
    assert result.errors == {"http_429": 2}
    assert result.tally == Tally(queued=28, retry_later=2)
    for user, (requests, _) in enumerate(RETRY_AFTER.values()):
        assert len(server.asked(f"/users/{user}")) == requests
    assert len(server.asked("/users/29")) == 1
    lab.report(
        "429 with seconds, dates, 0, -1, 10^9, garbage",
        times=len(RETRY_AFTER),
        users=30,
        accounted=result.accounted,
    )


@pytest.mark.fault(1)
def test_whatever_a_retry_after_says_its_user_and_the_others_are_accounted_for(
    server: ScriptedServer, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing is waited for here: a whole second is already too long.
    monkeypatch.setattr("batch_core.retry.RETRY_AFTER_SECONDS", 0.5)
    dates = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1))  # noqa: DTZ001
    # A header's value as a server may send it: visible, and no space at its ends.
    texts = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40)
    tried = accounted = 0

    with environment(server) as env:

        @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(
            st.integers().map(str)
            | dates.map(lambda moment: f"{moment:%a, %d %b %Y %H:%M:%S GMT}")
            | texts
        )
        def holds(text: str) -> None:
            nonlocal tried, accounted
            server.received.clear()
            server.on("/users/1", answer(429, b"", Retry_After=text))
            result = env.work(Batch(users(4)))
            assert result.tally == Tally(queued=3, retry_later=1)
            assert sorted(result.rows) == [0, 2, 3]
            waits = parse_retry_after(text, datetime.now(UTC))
            expected = 1 if waits is not None and waits > 0.5 else API_TRIES
            assert len(server.asked("/users/1")) == expected
            tried += 1
            accounted += result.accounted

        holds()
    lab.report("any text as Retry-After", times=tried, users=4 * tried, accounted=accounted)


# --- 2 ----------------------------------------------------------------------------------------


@pytest.mark.fault(2)
@pytest.mark.parametrize("status", [429, 503])
def test_a_storm_is_not_multiplied_by_retries(
    server: ScriptedServer, lab: Lab, status: int
) -> None:
    server.otherwise = answer(status)
    count = 20  # what holds the retries back is their budget

    with environment(server) as env:
        result = env.work(Batch(users(count), first_calls=100))

    assert result.tally == Tally(retry_later=count)
    assert result.errors == {f"http_{status}": count}
    asked = Counter(request.target for request in server.received)
    assert max(asked.values()) <= API_TRIES
    assert count < len(server.received) <= count + RETRIES_TO_START + RETRIES_PER_CALL * count
    lab.report(f"{status} for everyone", times=1, users=count, accounted=result.accounted)


@pytest.mark.fault(2)
def test_a_storm_that_passes_costs_nobody_the_run(server: ScriptedServer, lab: Lab) -> None:
    for user in range(0, 40, 5):
        server.on(f"/users/{user}", answer(503), answer(429), well)

    with environment(server) as env:
        result = env.work(Batch(users(40)))

    assert result.tally == Tally(queued=40)
    assert len(server.received) == 40 + 2 * 8
    lab.report("503, then 429, then well", times=16, users=40, accounted=result.accounted)


@pytest.mark.fault(2)
@pytest.mark.parametrize("status", [429, 503])
def test_behind_a_storm_the_rest_of_the_run_asks_nothing(
    server: ScriptedServer, lab: Lab, status: int
) -> None:
    with environment(server) as env:
        accounted = _collapse(server, env, Batch(users(400)), status)
    lab.report(f"{status} for four groups", times=1, users=400, accounted=accounted)


# --- 3 ----------------------------------------------------------------------------------------


@pytest.mark.fault(3)
def test_behind_an_outage_the_rest_of_the_run_asks_nothing_and_the_next_run_asks_again(
    server: ScriptedServer, lab: Lab
) -> None:
    batch = Batch(users(400))
    with environment(server) as env:
        accounted = _collapse(server, env, batch, 500)
        server.received.clear()
        server.otherwise = well
        same = env.work(batch, 1)
        following = env.work(Batch(batch.users, run_id="demo-20260131T103000Z", store=batch.store))

    # The API is back: the next group of the same run is served already.
    assert same.tally == Tally(queued=100)
    assert following.tally == Tally(queued=100)
    accounted += same.accounted + following.accounted
    lab.report("500 for four groups, then well", times=1, users=600, accounted=accounted)


def _collapse(server: ScriptedServer, env: Environment, batch: Batch, status: int) -> int:
    """Let everybody fail: each environment asks a few and no more; returns the accounted."""
    server.otherwise = answer(status)

    first = env.work(batch, 0)
    after_first = len(server.received)
    second = env.work(batch, 1)
    after_second = len(server.received)
    with environment(server) as other:
        third, fourth = other.work(batch, 2), other.work(batch, 3)

    assert after_first == FIRST_CALLS
    assert first.errors.keys() == {f"http_{status}", "breaker_open"}
    assert first.tally.retry_later + first.tally.skipped == 100
    # A further group of the environment finds out, with one call, whether it was only neighbours.
    assert after_second == after_first + 1
    assert second.tally == Tally(retry_later=1, skipped=99)
    assert len(server.received) == 2 * after_second
    assert third.tally.retry_later + third.tally.skipped == 100
    assert fourth.tally == Tally(retry_later=1, skipped=99)
    return sum(result.accounted for result in (first, second, third, fourth))


@pytest.mark.fault(3)
def test_an_api_that_fails_for_nearly_everyone_is_an_outage_too(
    server: ScriptedServer, lab: Lab
) -> None:
    server.otherwise = answer(500)
    for user in range(15, 200, 20):
        server.on(f"/users/{user}", well)
    batch = Batch(users(200))

    with environment(server) as env:
        first, second = env.work(batch, 0), env.work(batch, 1)

    assert first.tally.skipped + first.tally.retry_later + first.tally.queued == 100
    assert first.tally.queued == len(first.rows) >= 1  # who was answered is served
    assert first.tally.skipped > 0
    # Of the second group a trickle only is asked about, unless one of it is answered.
    assert second.tally.retry_later <= TRICKLE or second.tally.queued
    accounted = first.accounted + second.accounted
    lab.report("500 for 95 %", times=190, users=200, accounted=accounted)


@pytest.mark.fault(3)
def test_an_api_that_fails_for_every_fourth_user_is_asked_to_the_end(
    server: ScriptedServer, lab: Lab
) -> None:
    for user in range(0, 200, 4):
        server.on(f"/users/{user}", answer(500), well)
    batch = Batch(users(200))

    with environment(server) as env:
        results = [env.work(batch, group) for group in range(2)]

    # Each group starts with ten retries and earns another twenty: enough for its 25.
    assert [result.tally for result in results] == [Tally(queued=100)] * 2
    accounted = sum(result.accounted for result in results)
    lab.report("500 once for every fourth user", times=50, users=200, accounted=accounted)


# --- 5 ----------------------------------------------------------------------------------------


@pytest.mark.fault(5)
@pytest.mark.parametrize("status", [401, 403])
def test_a_revoked_key_stops_the_run_and_rejects_nobody(
    server: ScriptedServer, lab: Lab, status: int
) -> None:
    server.otherwise = answer(status)
    batch = Batch(users(300))

    with environment(server) as env, environment(server) as other:
        first, second = env.work(batch, 0), env.work(batch, 1)
        third = other.work(batch, 2)

    assert first.tally == third.tally == Tally(retry_later=FIRST_CALLS, skipped=100 - FIRST_CALLS)
    assert first.errors == {f"http_{status}": FIRST_CALLS, "breaker_open": 100 - FIRST_CALLS}
    assert second.tally == Tally(retry_later=1, skipped=99)
    accounted = first.accounted + second.accounted + third.accounted
    lab.report(f"{status} for everyone", times=1, users=300, accounted=accounted)


@pytest.mark.fault(5)
def test_a_key_revoked_in_the_middle_of_a_group_costs_only_those_behind_it(
    server: ScriptedServer, lab: Lab
) -> None:
    asked = 0

    async def until_revoked(exchange: Exchange) -> None:
        nonlocal asked
        asked += 1
        await (well if asked <= 60 else answer(401))(exchange)

    server.otherwise = until_revoked

    with environment(server) as env:
        result = env.work(Batch(users(200), group_size=200))

    assert result.tally.queued == len(result.rows) == 60
    assert result.tally.rejected == 0
    assert result.tally.retry_later < WINDOW + CONCURRENCY + TRICKLE
    lab.report("401 from the 61st call on", times=1, users=200, accounted=result.accounted)


@pytest.mark.fault(5)
def test_a_user_without_access_among_others_is_rejected_alone(
    server: ScriptedServer, lab: Lab
) -> None:
    server.on("/users/3", answer(401))
    server.on("/users/70", answer(403))

    with environment(server) as env:
        result = env.work(Batch(users(100)))

    assert result.tally == Tally(queued=98, rejected=2)
    assert result.errors == {"http_401": 1, "http_403": 1}
    assert len(server.received) == 100
    lab.report("401, 403 for one user each", times=2, users=100, accounted=result.accounted)
