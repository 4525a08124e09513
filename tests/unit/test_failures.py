"""The one log line about users without a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from batch_core.failures import Failures
from batch_core.observability import pseudonym
from batch_core.outcomes import Outcome, Tally
from batch_core.ports import BREAKER_OPEN, LATE

type Lines = list[Mapping[str, Any]]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    logged: Lines = []
    monkeypatch.setattr(
        "batch_core.failures.logger.warning",
        lambda message, **fields: logged.append({"message": message, **fields}),
    )
    return logged


def test_nothing_wrong_is_nothing_logged(lines: Lines) -> None:
    failures = Failures("acme")
    failures.log()
    assert lines == []
    assert failures.tally == Tally()


def test_users_are_counted_by_what_went_wrong(lines: Lines) -> None:
    failures = Failures("acme")
    for user in range(5):
        failures.add(Outcome.REJECTED, "http_404", user)
    failures.add(Outcome.RETRY_LATER, "timeout", 9)
    failures.log()
    assert failures.tally == Tally(rejected=5, retry_later=1)
    (line,) = lines
    assert (line["users"], line["classes"]) == (6, 2)
    assert line["failures"][0] == {
        "outcome": "rejected",
        "error": "http_404",
        "users": 5,
        "examples": [pseudonym("acme", user) for user in range(3)],
    }


def test_the_line_stays_short_whatever_goes_wrong(lines: Lines) -> None:
    failures = Failures("acme")
    for user in range(1000):
        failures.add(Outcome.REJECTED, f"{user} " * 1000, user)
    failures.log()
    (line,) = lines
    assert (line["users"], line["classes"]) == (1000, 1)
    assert line["failures"][0]["error"] == "unknown"
    assert len(str(line)) < 4000
    assert failures.tally == Tally(rejected=1000)


def test_no_user_id_is_logged(lines: Lines) -> None:
    failures = Failures("acme")
    failures.add(Outcome.REJECTED, "http_404", "alice@example.com")
    failures.log()
    assert "alice" not in str(lines)


def test_a_pseudonym_is_stable_and_differs_between_tenants() -> None:
    assert pseudonym("acme", 7) == pseudonym("acme", 7) == pseudonym("acme", "7")
    assert pseudonym("acme", 7) != pseudonym("demo", 7)
    assert len(pseudonym("acme", 7)) == 12


def test_a_group_that_was_not_read_is_counted_without_examples(lines: Lines) -> None:
    failures = Failures("acme")
    failures.add_unread(LATE, users=40)
    failures.add(LATE.outcome, LATE.error, 7)
    failures.log()
    assert (failures.count(LATE), failures.count(BREAKER_OPEN)) == (41, 0)
    assert failures.tally == Tally(retry_later=41)
    assert lines[0]["users"] == 41
    assert lines[0]["failures"][0]["examples"] == [pseudonym("acme", 7)]
