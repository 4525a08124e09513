"""What is remembered about users that fail."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core.error_classes import known
from batch_core.limits import ERROR_TEXT_BYTES
from batch_core.outcomes import Outcome
from batch_core.records import Record, RejectedRow
from batch_core.user_state import Mark, can_be_marked, marks_of


@given(
    st.integers(0, 70_000),
    st.sampled_from(["", "http_500", "mysql_1406", "refused_by_job", "KeyError"]),
    st.text(max_size=50),
)
def test_a_mark_is_what_was_written(failures: int, error: str, said: str) -> None:
    mark = Mark("u", failures, error, said)

    assert Mark.from_json(mark.to_json()) == mark
    assert mark.values[1] <= 65_535


@given(st.text(min_size=1), st.text())
def test_of_a_mark_from_elsewhere_only_what_the_ledger_can_hold_is_read(
    error: str, said: str
) -> None:
    mark = Mark.from_json(["u", 1, error, said * 100])

    assert mark.error == known(error)
    assert len(mark.said.encode()) <= ERROR_TEXT_BYTES


@pytest.mark.parametrize(
    "value",
    [None, [], [1, 2], [1, "2", ""], [1, -1, ""], [None, 1, ""], ["x" * 256, 1, ""], [1.5, 1, ""]],
)
def test_what_is_no_mark_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="mark"):
        Mark.from_json(value)


@pytest.mark.parametrize(
    ("user_id", "can"),
    [(1, True), ("x" * 255, True), ("x" * 256, False), (None, False), (1.5, False)],
)
def test_only_ids_that_the_ledger_can_hold_are_marked(user_id: object, can: bool) -> None:
    assert can_be_marked(user_id) is can


def record(**changes: Any) -> Record:
    values: dict[str, Any] = {
        "tenant": "demo",
        "run_id": "r",
        "chunk": 0,
        "group": 0,
        "version": 1,
        "trace_id": "",
        "segment_id": "",
        "part": 0,
        "columns": ("user_id",),
        "rows": ((1,), (2,), (3,)),
    }
    return Record(**values | changes)


def test_users_that_never_failed_and_were_stored_need_no_mark() -> None:
    assert marks_of(record(), []) == []


def test_who_failed_before_and_is_stored_now_has_recovered() -> None:
    assert marks_of(record(failures=((2, 4),)), []) == [Mark(2, 0)]


def test_a_refused_row_is_one_more_failure_and_its_text_is_not_kept() -> None:
    given = record(failures=((2, 4),))
    refused = [
        RejectedRow(given, (2,), Outcome.REJECTED, "1406: Data too long: 'secret'"),
        RejectedRow(given, (3,), Outcome.REJECTED, "the row takes 20000 bytes"),
    ]

    assert marks_of(given, refused) == [Mark(2, 5, "mysql_1406"), Mark(3, 1, "unwritable")]


def test_who_is_gone_is_remembered_as_such() -> None:
    given = record(failures=((2, 4),))

    assert marks_of(given, [RejectedRow(given, (2,), Outcome.GONE, "1452")]) == [Mark(2, 5, "gone")]


def test_the_marks_of_a_record_are_passed_on() -> None:
    mark = Mark(9, 3, "http_500")

    assert marks_of(record(marks=(mark,)), []) == [mark]
