"""When the breaker lets calls through, and whose fault a failure is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core import meter
from batch_core.breaker import (
    LOOK_SECONDS,
    TRICKLE,
    WINDOW,
    Breaker,
    Breakers,
    is_users_own,
    pardoned,
)
from batch_core.job import Response
from batch_core.limits import JUDGED_FROM, NEARLY_EVERYONE
from batch_core.outcomes import Outcome
from batch_core.ports import BREAKER_OPEN, LATE, Answer, Failure
from batch_core.retry import RETRY_AFTER_SECONDS, Setback
from batch_core.run import Run

RUN = Run(
    id="demo-20260131T102000Z",
    version=1,
    fence=1,
    group_size=100,
    requests_per_second=0,
    ends_at=9e9,
    first_calls=6,
    later_calls=0.5,
)
GOOD = Response(200, b"{}")
ILL = Setback("http_500")
GONE = Failure(Outcome.REJECTED, "http_404")
FAILED_TO_OPEN = round(WINDOW * NEARLY_EVERYONE)


def made(first: int = 6, later: float = 0.5) -> Breaker:
    breaker = Breaker(first, later, now=lambda: 17.0)
    breaker.begin_group()
    return breaker


def hear(breaker: Breaker, *results: Answer | Setback, counts: bool = True) -> Breaker:
    """Make one call after the other."""
    for result in results:
        assert breaker.begin(again=False) == 0
        breaker.heard(result, counts=counts)
    return breaker


def asks(breaker: Breaker, result: Answer | Setback, *, users: int = 200) -> int:
    """Offer it the users of a group who all come to the same; returns how many it let through."""
    for made in range(users):
        if breaker.begin(again=False) is None:
            return made
        breaker.heard(result, counts=True)
    return users


# --- before anybody was served ----------------------------------------------------------------


def test_few_calls_are_made_before_one_is_answered_and_then_all() -> None:
    breaker = made(first=6)
    waits = [breaker.begin(again=False) for _ in range(8)]
    assert waits == [0, 0, 0, 0, 0, 0, LOOK_SECONDS, LOOK_SECONDS]

    breaker.heard(GOOD, counts=True)

    assert [breaker.begin(again=False) for _ in range(100)] == [0] * 100


@pytest.mark.parametrize("result", [ILL, GONE, Failure(Outcome.REJECTED, "redirect")])
def test_an_api_that_answers_nobody_gets_no_more_than_these(result: Answer | Setback) -> None:
    breaker = made(first=6)
    assert asks(breaker, result) == 6
    assert not breaker.allows()


def test_each_further_group_has_its_share_and_a_fraction_adds_up() -> None:
    breaker = made(first=6, later=0.5)
    asked = [asks(breaker, ILL)]
    for _ in range(6):
        breaker.begin_group()
        asked.append(asks(breaker, ILL))
    assert asked == [6, 0, 1, 0, 1, 0, 1]


def test_where_few_calls_are_left_users_who_were_not_asked_come_first() -> None:
    breaker = made(first=3)
    breaker.begin(again=False)
    breaker.begin(again=False)
    breaker.heard(ILL, counts=True)
    assert breaker.begin(again=True) == LOOK_SECONDS
    breaker.heard(ILL, counts=True)
    assert breaker.begin(again=True) == 0


def test_a_call_that_is_not_made_after_all_is_left_to_another() -> None:
    breaker = made(first=1)
    assert breaker.begin(again=False) == 0
    breaker.withdraw()
    assert breaker.begin(again=False) == 0


@pytest.mark.parametrize("error", ["http_429", "throttled"])
def test_an_api_that_says_how_long_to_wait_is_there(error: str) -> None:
    breaker = made(first=2)
    assert asks(breaker, Setback(error, retry_after=RETRY_AFTER_SECONDS)) == 200
    assert asks(breaker, Setback(error, retry_after=RETRY_AFTER_SECONDS + 1)) == 2


# --- behind a good answer ---------------------------------------------------------------------


def test_it_shuts_when_nine_of_ten_users_fail() -> None:
    breaker = hear(made(), *[GOOD] * (WINDOW - FAILED_TO_OPEN))
    hear(breaker, *[ILL] * (FAILED_TO_OPEN - 1))
    assert breaker.served
    hear(breaker, ILL)
    assert not breaker.served


def test_an_outage_in_the_middle_of_a_run_costs_a_window_and_a_trickle_per_group() -> None:
    breaker = hear(made(), *[GOOD] * 1000)
    assert asks(breaker, ILL) == FAILED_TO_OPEN + TRICKLE
    for _ in range(3):
        breaker.begin_group()
        assert asks(breaker, ILL) == TRICKLE


def test_behind_neighbours_who_fail_the_next_good_answer_opens_it_again() -> None:
    breaker = hear(made(), *[GOOD] * 100)
    asks(breaker, GONE)
    breaker.begin_group()
    assert asks(breaker, GOOD) == 200


@given(st.lists(st.sampled_from([GOOD, ILL, GONE, None]), min_size=WINDOW, max_size=300))
def test_it_stays_open_while_no_window_was_nearly_all_failures(
    results: list[Answer | Setback],
) -> None:
    breaker = hear(made(), GOOD)
    failed: list[bool] = [False]
    for result in results:
        failed.append(result in (ILL, GONE))
        if sum(failed[-WINDOW:]) >= FAILED_TO_OPEN:
            return
        hear(breaker, result)
        assert breaker.served


@pytest.mark.parametrize(
    "result", [LATE, Setback("http_429", retry_after=RETRY_AFTER_SECONDS), GOOD, None]
)
def test_what_is_no_failure_never_shuts_it(result: Answer | Setback) -> None:
    assert hear(hear(made(), GOOD), *[result] * 10 * WINDOW).served


def test_users_who_are_known_to_fail_prove_nothing() -> None:
    breaker = hear(hear(made(), GOOD), *[ILL] * 10 * WINDOW, counts=False)
    assert breaker.served


def test_it_says_when_the_last_good_answer_came() -> None:
    assert hear(made(), ILL).served_at == 0
    assert hear(made(), GOOD).served_at == 17


# --- what a run keeps -------------------------------------------------------------------------


def test_another_run_begins_anew_and_the_same_run_does_not() -> None:
    breakers = Breakers()
    hear(breakers.of(RUN), GOOD)
    assert breakers.of(RUN).served
    assert not breakers.of(replace(RUN, fence=2)).served


def test_that_it_opened_is_logged_and_metered_once_per_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    meter.reset()
    logged: list[Any] = []
    monkeypatch.setattr(
        "batch_core.breaker.logger.error", lambda _, **fields: logged.append(fields)
    )
    asks(made(), ILL)
    assert logged == [{"error": "http_500", "outcome": "skipped"}]
    assert meter.reading() == {"breaker_opened": 1}


# --- whose fault it is ------------------------------------------------------------------------


def later(error: str) -> Failure:
    return Failure(Outcome.RETRY_LATER, error)


NO_CONNECTION = ["connect", "connect_timeout", "dns", "tls", "address"]


@pytest.mark.parametrize(
    "failure",
    [LATE, BREAKER_OPEN, *map(later, ("http_429", "throttled", *NO_CONNECTION))],
)
def test_what_is_said_of_the_tenant_or_the_run_is_no_users_own(failure: Failure) -> None:
    assert not is_users_own(failure)


OWN: Sequence[str] = ["http_401", "http_403", "http_404", "too_large", "redirect", "http_500"]


@pytest.mark.parametrize("error", [*OWN, "timeout", "truncated"])
def test_what_is_said_of_a_user_may_be_its_own(error: str) -> None:
    assert is_users_own(Failure(Outcome.REJECTED, error))


def test_an_api_that_rejects_everyone_rejects_nobody() -> None:
    assert pardoned(GONE) == later("http_404")
    for other in (None, LATE, later("timeout"), BREAKER_OPEN):
        assert pardoned(other) == other


def test_whether_the_api_fails_for_everyone_is_told_from_ten_users_on() -> None:
    breaker = made(first=50)
    hear(breaker, *[GONE] * (JUDGED_FROM - 1))
    assert (breaker.fails(unasked=0), breaker.can_tell()) == (False, False)
    assert breaker.fails(unasked=1)
    hear(breaker, GONE)
    assert (breaker.fails(unasked=0), breaker.can_tell()) == (True, True)


def test_while_somebody_is_served_the_api_fails_for_nobody_else() -> None:
    breaker = hear(made(), GOOD, *[GONE] * JUDGED_FROM)
    assert (breaker.fails(unasked=0), breaker.can_tell()) == (False, True)
