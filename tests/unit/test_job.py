"""The shipped job: which call it makes for a user, and what it takes for an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core.job import RejectError, Response
from batch_core.upsert import Upsert
from job import JOB
from sampleapi.activity import activity

USER = {"user_id": 7, "account": "ann/7", "etag": None}
TOLD: dict[str, Any] = {
    "account": "ann/7",
    "action": "sign_in",
    "occurred_at": "2026-01-31T10:00:00.123+09:00",
    "score": 12.5,
    "country": "JP",
    "devices": [{"kind": "phone", "last_seen_at": "2026-01-30T10:00:00.000Z", "more": 1}],
    "note": "Glad 😀",
}


def answered(told: object, etag: str | None = '"e"') -> dict[str, Any]:
    row = JOB.process(USER, Response(200, json.dumps(told).encode(), etag))
    assert row is not None
    return dict(row)


def test_the_account_is_quoted_and_the_stored_etag_is_sent() -> None:
    request = JOB.request({**USER, "account": "../a?b é", "etag": '"e"'})

    assert (request.method, request.path) == ("GET", "/users/..%2Fa%3Fb%20%C3%A9/activity")
    assert request.etag == '"e"'


def test_an_answer_becomes_a_row_in_the_columns_types() -> None:
    assert answered(TOLD) == {
        "action": "sign_in",
        "occurred_at": "2026-01-31 01:00:00.123",
        "score": 12.5,
        "country": "JP",
        "devices": [{"kind": "phone", "last_seen_at": "2026-01-30T10:00:00.000Z"}],
        "note": "Glad 😀",
        "etag": '"e"',
    }


@pytest.mark.parametrize("etag", [None, "", '"' + "x" * 200 + '"'])
def test_an_etag_that_cannot_be_kept_is_not_sent_back(etag: str | None) -> None:
    assert answered(TOLD, etag)["etag"] is None


@given(st.text(min_size=1, max_size=30), st.integers(0, 1_000))
def test_whatever_the_sample_api_serves_can_be_stored(account: str, revision: int) -> None:
    told = activity("demo", account, revision)
    row = JOB.process({**USER, "account": account}, Response(200, json.dumps(told).encode()))

    assert row is not None
    assert set(row) == set(JOB.table.columns)
    columns = (JOB.table.key, *JOB.table.columns)
    assert Upsert.guarded(JOB.table, columns).row((7, *row.values(), 1))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"account": "bob"}, "account is not the one"),
        ({"action": 5}, "action must be text"),
        ({"action": "x" * 65}, "action has 65 characters; 64 are allowed"),
        ({"occurred_at": "yesterday"}, "occurred_at must be an ISO-8601 time"),
        ({"occurred_at": "2026-01-31T10:00:00"}, "occurred_at must name its time zone"),
        ({"occurred_at": None}, "occurred_at must be text"),
        ({"score": "12.5"}, "score must be a number"),
        ({"score": True}, "score must be a number"),
        ({"score": 2**64}, r"score is beyond 999999\.99"),
        ({"score": -1_000_000}, r"score is beyond 999999\.99"),
        ({"country": "jp"}, "country must be two capital letters"),
        ({"country": "JPN"}, "country has 3 characters"),
        ({"devices": {}}, "devices must be a list"),
        ({"devices": [{"kind": "a", "last_seen_at": "2026-01-30T10:00:00Z"}, 5]}, r"devices\[1\]"),
        ({"devices": [{"last_seen_at": "2026-01-30T10:00:00Z"}]}, r"devices\[0\]\.kind must"),
        ({"devices": [{"kind": "a"}]}, r"devices\[0\]\.last_seen_at must be text"),
        ({"note": "x" * 501}, "note has 501 characters"),
    ],
)
def test_a_field_at_fault_is_named(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(RejectError, match=fault):
        answered(TOLD | change)


@pytest.mark.parametrize("field", TOLD)
def test_a_field_that_is_missing_is_named(field: str) -> None:
    with pytest.raises(RejectError, match=field):
        answered({name: value for name, value in TOLD.items() if name != field})


@pytest.mark.parametrize("told", [[], "text", 5, None])
def test_an_answer_that_is_no_object_is_rejected(told: object) -> None:
    with pytest.raises(RejectError, match="must be an object"):
        answered(told)
