"""What a soak must find, if it is there."""

from __future__ import annotations

import pytest

from batchctl.run.verdict import Verdict
from tests.soak.plan import Population
from tests.soak.tenant import account, leaks, user_id
from tests.soak.watch import Rows, VersionWatch, told

OUTCOMES = {"stored": 3, "unchanged": 1}


def test_rows_are_lost_stale_or_too_many() -> None:
    rows = Rows.of({"a": 1, "b": 2, "c": 3}, {"b": 2, "c": 4, "d": 5})

    assert rows == Rows(3, lost=("a",), stale=("c",), surplus=("d",))
    assert len(rows.findings) == 3
    assert Rows.of({"a": 1}, {"a": 1}).findings == []


def test_a_version_that_goes_back_is_found_and_one_that_grows_is_not() -> None:
    watch, population = VersionWatch(), Population.of(3)
    watch.look({account(1): 5, account(2): 5}, population)
    watch.look({account(1): 6, account(3): 1}, population)
    assert watch.findings == []

    watch.look({account(2): 4}, population)
    assert watch.findings == ["the version of u-000002 went back to 4"]


def test_a_deleted_user_with_a_row_is_found() -> None:
    watch = VersionWatch()
    watch.look({account(1): 5, account(2): 5}, Population({1}, set(), {2}))

    assert watch.findings == ["u-000002, who was deleted, has a row again"]


@pytest.mark.parametrize(
    "text",
    [
        "the password is hunter2!",
        f'{{"error": "no row for {account(7)}"}}',
        f'"user_id":{user_id(7)},',
    ],
)
def test_a_line_with_a_secret_or_a_user_leaks(text: str) -> None:
    assert leaks(text, ["hunter2"])


def test_a_line_with_pseudonyms_times_and_counts_leaks_nothing() -> None:
    text = f'{{"examples":["a{user_id(7)}f"],"at":1764040000123,"rows":400,"run":"u-7"}}'

    assert leaks(text, ["hunter2"]) == []


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict("SUCCEEDED", 4, OUTCOMES, 1, judged=True),
        Verdict("SUCCEEDED", 5, OUTCOMES, 0, judged=True),
        Verdict("FAILED", 4, OUTCOMES, 0),
        Verdict("UNHEARD", 0, {}, 0, reason="no answer"),
    ],
)
def test_a_run_that_does_not_add_up_or_says_no_reason_is_found(verdict: Verdict) -> None:
    assert list(told([verdict]))


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict("SUCCEEDED", 4, OUTCOMES, 0, judged=True),
        Verdict("FAILED", 4, {}, 4, reason="the database was away"),
        Verdict("DUPLICATE", 0, {}, 0),
    ],
)
def test_a_run_that_adds_up_or_says_its_reason_is_well(verdict: Verdict) -> None:
    assert list(told([verdict])) == []
