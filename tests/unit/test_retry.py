"""When another attempt is made, and how long it is waited for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core.retry import (
    API_TRIES,
    BACKOFF_CAP_SECONDS,
    RETRIES_PER_CALL,
    RETRIES_TO_START,
    RETRY_AFTER_SECONDS,
    RetryBudget,
    Setback,
    full_jitter,
    parse_retry_after,
    pause_before_retry,
)

NOW = datetime(2026, 1, 31, 10, 20, tzinfo=UTC)
DAY = 86_400.0


def pause(
    setback: Setback,
    *,
    tries: int = 1,
    repeatable: bool = True,
    remaining: float = 100,
    random: float = 0.5,
) -> float | None:
    return pause_before_retry(
        setback, tries=tries, repeatable=repeatable, remaining=remaining, random=lambda: random
    )


# --- Retry-After ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0.493", 1.0),
        ("1.0", 1.0),
        ("19.01", 20.0),
        ("0.0", 0.0),
        ("9" * 8000 + ".5", DAY),
        ("007", 7.0),
        ("1000000000", DAY),
        ("9" * 8000, DAY),
        ("Sat, 31 Jan 2026 10:20:30 GMT", 30.0),
        ("Sat, 31 Jan 2026 12:20:30 +0200", 30.0),
        ("Sat, 31 Jan 2026 10:20:30 -0000", 30.0),
        ("Saturday, 31-Jan-26 10:20:30 GMT", 30.0),
        ("Sat Jan 31 10:20:30 2026", 30.0),
        ("Sat, 31 Jan 2026 10:19:00 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", DAY),
    ],
)
def test_seconds_and_dates_are_read(text: str, seconds: float) -> None:
    assert parse_retry_after(text, NOW) == seconds


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "-1",
        "+1",
        "1.",
        ".5",
        "1,5",
        "-0.5",
        "1.5s",
        "1.5.5",
        "1e3",
        "soon",
        "\N{ARABIC-INDIC DIGIT SEVEN}",
        "\N{SUPERSCRIPT TWO}",
        "Sat, 31 Feb 2026 10:20:30 GMT",
        "Sat, 31 Jan 2026 99:99:99 GMT",
        "Sat, 31 Jan 99999 10:20:30 GMT",
        "0x10",
        "nan",
        "inf",
    ],
)
def test_what_makes_no_sense_is_as_good_as_absent(text: str | None) -> None:
    assert parse_retry_after(text, NOW) is None


@given(st.one_of(st.text(), st.from_regex(r"\A[A-Za-z0-9 ,:+-]{0,40}\Z"), st.integers().map(str)))
def test_any_text_gives_seconds_within_a_day_or_nothing(text: str) -> None:
    seconds = parse_retry_after(text, NOW)
    assert seconds is None or 0 <= seconds <= DAY


@given(
    st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_every_date_is_the_distance_from_now(moment: datetime, zone: timezone) -> None:
    expected = min(max((moment - NOW).total_seconds(), 0), DAY)
    assert parse_retry_after(format_datetime(moment.astimezone(zone)), NOW) == expected


# --- the decision -----------------------------------------------------------------------------

setbacks = st.builds(
    Setback,
    error=st.just("x"),
    again=st.booleans(),
    unreached=st.booleans(),
    retry_after=st.none() | st.floats(0, DAY),
)


@given(
    setback=setbacks,
    tries=st.integers(1, 10),
    repeatable=st.booleans(),
    remaining=st.floats(-10, 300),
    random=st.floats(0, 1),
)
def test_a_pause_always_fits_and_never_follows_the_last_try(
    setback: Setback, tries: int, repeatable: bool, remaining: float, random: float
) -> None:
    seconds = pause(setback, tries=tries, repeatable=repeatable, remaining=remaining, random=random)
    if seconds is None:
        return
    assert tries < API_TRIES
    assert setback.again
    assert repeatable or setback.unreached
    assert 0 <= seconds < remaining
    if setback.retry_after is not None:
        assert seconds == setback.retry_after <= RETRY_AFTER_SECONDS
    else:
        assert seconds <= BACKOFF_CAP_SECONDS


def test_two_retries_and_no_more() -> None:
    assert pause(Setback("http_500"), tries=1) is not None
    assert pause(Setback("http_500"), tries=2) is not None
    assert pause(Setback("http_500"), tries=3) is None


def test_what_cannot_go_better_is_not_tried_again() -> None:
    assert pause(Setback("tls", again=False)) is None


def test_a_request_with_effects_is_repeated_only_if_it_never_arrived() -> None:
    assert pause(Setback("disconnected"), repeatable=False) is None
    assert pause(Setback("connect", unreached=True), repeatable=False) is not None


def test_retry_after_is_kept_to_the_letter_or_not_at_all() -> None:
    assert pause(Setback("http_429", retry_after=20.0)) == 20.0
    assert pause(Setback("http_429", retry_after=20.1)) is None
    assert pause(Setback("http_429", retry_after=5.0), remaining=5.0) is None


@given(tries=st.integers(1, 1000), base=st.floats(0.01, 10), random=st.floats(0, 1))
def test_jitter_stays_between_nothing_and_the_cap(tries: int, base: float, random: float) -> None:
    assert 0 <= full_jitter(tries, base=base, random=lambda: random) <= BACKOFF_CAP_SECONDS


def test_the_bound_of_the_jitter_doubles() -> None:
    assert [full_jitter(n, base=0.5, random=lambda: 1.0) for n in (1, 2, 3, 4, 5)] == [
        0.5,
        1.0,
        2.0,
        4.0,
        5.0,
    ]


# --- the budget -------------------------------------------------------------------------------


def retries_left(budget: RetryBudget) -> int:
    return next(n for n in range(10_000) if not budget.spend())


def test_a_burst_starts_with_some_retries_and_earns_more() -> None:
    assert retries_left(RetryBudget()) == RETRIES_TO_START == 10
    budget = RetryBudget()
    for _ in range(100):
        budget.earn()
    assert RETRIES_PER_CALL == 0.2
    assert retries_left(budget) in {29, 30}  # a hundred times a fifth, in floats


def test_what_was_refused_costs_nothing() -> None:
    budget = RetryBudget()
    retries_left(budget)
    for _ in range(5):
        assert not budget.spend()
        budget.earn()
    assert budget.spend()
    assert not budget.spend()


@given(st.lists(st.booleans(), max_size=300))
def test_retries_never_exceed_the_start_and_a_fifth_of_the_calls(calls: list[bool]) -> None:
    budget = RetryBudget()
    spent = 0
    for first in calls:
        if first:
            budget.earn()
        else:
            spent += budget.spend()
    assert spent <= RETRIES_TO_START + RETRIES_PER_CALL * calls.count(True) + 1e-9
