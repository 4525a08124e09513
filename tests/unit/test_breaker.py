"""When the breaker opens, what it tells the other environments, and who is to blame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core import meter
from batch_core.breaker import (
    FAILED_TO_OPEN,
    FLAG_SECONDS,
    REFUSALS_TO_OPEN,
    WINDOW,
    Breaker,
    Breakers,
    is_users_own,
)
from batch_core.errors import PayloadError
from batch_core.job import Response
from batch_core.outcomes import Outcome
from batch_core.ports import BREAKER_OPEN, LATE, Answer, Failure
from batch_core.retry import RETRY_AFTER_SECONDS, THROTTLED, Setback
from batch_core.run import Run
from tests.support.fakes import FakePayloadStore

RUN = Run(
    id="demo-20260131T102000Z",
    version=1,
    fence=1,
    group_size=100,
    requests_per_second=0,
    ends_at=9e9,
)
FLAG = f"{RUN.prefix}/breaker"
GOOD = Response(200, b"{}")
ILL = Setback("http_500")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def made(store: FakePayloadStore | None = None, clock: Clock | None = None) -> Breaker:
    return Breakers(store or FakePayloadStore(), clock or Clock()).of(RUN)


def hear(breaker: Breaker, *results: Answer | Setback) -> Breaker:
    for result in results:
        if breaker.heard(result):
            breaker.share()
    return breaker


# --- the API's own failures -------------------------------------------------------------------


def test_it_opens_when_nine_of_ten_attempts_fail() -> None:
    breaker = hear(made(), *[GOOD] * (WINDOW - FAILED_TO_OPEN))
    hear(breaker, *[ILL] * (FAILED_TO_OPEN - 1))
    assert breaker.allows()
    hear(breaker, ILL)
    assert not breaker.allows()
    assert breaker.error == "http_500"


def test_an_outage_in_the_middle_of_a_run_is_seen() -> None:
    breaker = hear(hear(made(), *[GOOD] * 1000), *[ILL] * FAILED_TO_OPEN)
    assert not breaker.allows()


def test_an_api_that_answers_every_fifth_call_is_asked_on() -> None:
    results: list[Answer | Setback] = [ILL, ILL, GOOD, ILL, ILL]
    assert hear(made(), *results * 200).allows()


NO_ANSWER = ["http_500", "http_503", "http_429", "timeout", "disconnected", "truncated", "protocol"]
NO_CONNECTION = ["connect", "connect_timeout", "dns", "tls", "address"]


@pytest.mark.parametrize("error", [*NO_ANSWER, *NO_CONNECTION])
def test_every_kind_of_no_answer_counts(error: str) -> None:
    assert hear(made(), *[Setback(error)] * WINDOW).error == error


@pytest.mark.parametrize(
    "result",
    [
        None,
        GOOD,
        Failure(Outcome.REJECTED, "http_404"),
        Failure(Outcome.REJECTED, "too_large"),
        LATE,
        Setback("http_429", retry_after=RETRY_AFTER_SECONDS),
        Setback("throttled", retry_after=RETRY_AFTER_SECONDS),
    ],
)
def test_what_is_no_failure_of_the_api_never_opens_it(result: Answer | Setback) -> None:
    assert hear(made(), *[result] * 10 * WINDOW).allows()


def test_to_be_asked_to_wait_beyond_reason_is_a_failure() -> None:
    for error in THROTTLED:
        far = Setback(error, retry_after=RETRY_AFTER_SECONDS + 1)
        assert not hear(made(), *[far] * WINDOW).allows()


def test_it_never_closes_and_what_comes_late_changes_nothing() -> None:
    breaker = hear(made(), *[ILL] * WINDOW, *[GOOD] * WINDOW, *[Setback("dns")] * WINDOW)
    assert breaker.error == "http_500"


@given(st.lists(st.sampled_from([GOOD, ILL, Failure(Outcome.REJECTED, "http_404")]), max_size=300))
def test_it_is_open_exactly_when_some_window_was_full_of_failures(
    results: list[Answer | Setback],
) -> None:
    windows = [results[max(0, end - WINDOW) : end] for end in range(1, len(results) + 1)]
    crowded = any(window.count(ILL) >= FAILED_TO_OPEN for window in windows)
    assert hear(made(), *results).allows() is not crowded


# --- refusals ---------------------------------------------------------------------------------


def refused(status: int) -> Failure:
    return Failure(Outcome.REJECTED, f"http_{status}")


@pytest.mark.parametrize("status", [401, 403])
def test_it_opens_when_the_key_is_refused_for_everyone(status: int) -> None:
    breaker = hear(made(), *[refused(status)] * (REFUSALS_TO_OPEN - 1))
    assert breaker.allows()
    assert hear(breaker, refused(status)).error == f"http_{status}"


@pytest.mark.parametrize("other", [GOOD, None, refused(404), refused(403)])
def test_another_answer_among_the_refusals_shows_that_the_key_is_good(other: Answer) -> None:
    some = [refused(401)] * (REFUSALS_TO_OPEN - 1)
    assert hear(made(), *some, other, *some).allows()


def test_no_answer_among_the_refusals_shows_nothing() -> None:
    some = [refused(401)] * (REFUSALS_TO_OPEN // 2)
    assert not hear(made(), *some, Setback("timeout"), LATE, *some).allows()


def test_when_everyone_is_refused_nobody_is_at_fault() -> None:
    breaker = hear(made(), *[refused(401)] * REFUSALS_TO_OPEN)
    assert breaker.pardoned(refused(401)) == Failure(Outcome.RETRY_LATER, "http_401")
    for other in (refused(403), refused(404), None, LATE):
        assert breaker.pardoned(other) == other


def test_who_is_refused_while_the_api_is_ill_or_well_stays_rejected() -> None:
    for breaker in (made(), hear(made(), *[ILL] * WINDOW)):
        assert breaker.pardoned(refused(401)) == refused(401)


# --- what environments share ------------------------------------------------------------------


def test_a_healthy_run_asks_s3_nothing() -> None:
    store = FakePayloadStore()
    hear(made(store), *[GOOD, None, refused(404)] * 100)
    assert (store.reads, store.objects) == ([], {})


def test_the_environment_that_opens_tells_the_others_once() -> None:
    store = FakePayloadStore()
    hear(made(store), *[ILL] * 3 * WINDOW)
    assert store.objects == {FLAG: b'{"error":"http_500"}'}
    assert store.metadata[FLAG] == {"run-id": RUN.id}


@pytest.mark.parametrize("first", [ILL, refused(401)])
def test_one_failure_is_enough_to_hear_what_the_others_know(first: Answer | Setback) -> None:
    store = FakePayloadStore()
    hear(made(store), *[refused(401)] * REFUSALS_TO_OPEN)
    other = hear(made(store), GOOD, first)
    assert other.error == "http_401"
    assert other.pardoned(refused(401)).outcome is Outcome.RETRY_LATER  # type: ignore[union-attr]


def test_that_nobody_has_given_up_is_believed_for_a_while() -> None:
    store, clock = FakePayloadStore(), Clock()
    breaker = hear(made(store, clock), *[ILL] * 5)
    clock.now += FLAG_SECONDS - 0.01
    hear(breaker, ILL)
    assert store.reads == [(FLAG, None)]
    clock.now += 0.01
    hear(breaker, ILL)
    assert store.reads == [(FLAG, None)] * 2


def test_another_run_starts_closed_and_the_same_run_does_not() -> None:
    breakers = Breakers(FakePayloadStore(), Clock())
    hear(breakers.of(RUN), *[ILL] * WINDOW)
    assert not breakers.of(RUN).allows()
    assert breakers.of(replace(RUN, fence=2)).allows()


def test_results_add_up_over_the_groups_of_a_run() -> None:
    breakers = Breakers(FakePayloadStore(), Clock())
    for _ in range(WINDOW):
        hear(breakers.of(RUN), ILL)
    assert not breakers.of(RUN).allows()


class BrokenStore(FakePayloadStore):
    def put(self, key: str, body: bytes, *, metadata: Mapping[str, str]) -> str:
        raise PayloadError("S3 is away")

    def get(self, key: str, **_: Any) -> bytes:
        raise PayloadError("S3 is away")


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> Sequence[str]:
    logged: list[str] = []
    monkeypatch.setattr(
        "batch_core.breaker.logger.warning", lambda message, **_: logged.append(message)
    )
    return logged


def test_without_s3_it_works_for_its_own_environment(warnings: Sequence[str]) -> None:
    breaker = hear(made(BrokenStore()), *[ILL] * WINDOW)
    assert breaker.error == "http_500"
    assert warnings == [
        "the breaker's flag cannot be read",
        "the breaker's flag cannot be written",
    ]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b"\xff", b'"error"'])
def test_a_flag_that_makes_no_sense_is_none(warnings: Sequence[str], content: bytes) -> None:
    store = FakePayloadStore()
    store.objects[FLAG] = content
    assert hear(made(store), ILL).allows()
    assert warnings == ["the breaker's flag cannot be read"]


def test_that_it_opened_is_logged_and_metered(monkeypatch: pytest.MonkeyPatch) -> None:
    meter.reset()
    logged: list[Any] = []
    monkeypatch.setattr(
        "batch_core.breaker.logger.error", lambda _, **fields: logged.append(fields)
    )
    hear(made(), *[ILL] * 2 * WINDOW)
    assert logged == [{"error": "http_500", "outcome": "skipped"}]
    assert meter.reading() == {"breaker_opened": 1}


# --- whose fault it is ------------------------------------------------------------------------


def later(error: str) -> Failure:
    return Failure(Outcome.RETRY_LATER, error)


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize(
    "failure",
    [LATE, BREAKER_OPEN, refused(401), refused(403), later("http_401")]
    + [later(error) for error in (*THROTTLED, *NO_CONNECTION)],
)
def test_what_the_tenant_or_the_run_is_at_fault_for_is_no_users_own(
    failure: Failure, opened: bool
) -> None:
    assert not is_users_own(failure, breaker_opened=opened)


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("error", ["http_404", "too_large", "bad_encoding", "redirect", "KeyError"])
def test_what_is_rejected_is_its_users_own(error: str, opened: bool) -> None:
    assert is_users_own(Failure(Outcome.REJECTED, error), breaker_opened=opened)


@pytest.mark.parametrize("error", ["http_500", "timeout", "truncated", "disconnected", "protocol"])
def test_what_may_pass_is_its_users_own_unless_it_is_everyones(error: str) -> None:
    assert is_users_own(later(error), breaker_opened=False)
    assert not is_users_own(later(error), breaker_opened=True)
