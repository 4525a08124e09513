"""The language of Logs Insights, as far as the tests of the saved queries speak it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.logs_insights import Line, ask

NOON = "2026-01-31T12:00:00Z"


def lines(*values: dict[str, Any]) -> list[Line]:
    return [Line("g", json.dumps({"timestamp": NOON, **value})) for value in values]


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("fields a | filter a = 1 or b.0 = 7", [{"a": 1}, {"a": 2}]),
        ('fields a | filter not a = 1 and b.1.c like "x|"', [{"a": 2}]),
        ("fields a | filter @message like /9|8/", [{"a": 2}]),
        ("fields a | filter ispresent(b.0)", [{"a": 2}]),
        ("fields a | sort a desc | limit 1", [{"a": 3}]),
        ("stats count(*) as n, count(b.0) as m, sum(a) as s", [{"n": 3, "m": 1, "s": 6}]),
        ("stats max(a) as top, 2 * top / 3 as share by kind", [
            {"kind": "odd", "top": 3, "share": 2}, {"kind": None, "top": 2, "share": 4 / 3},
        ]),
        ("stats pct(a, 50) as middle by bin(1h) as slot | fields middle", [{"middle": 2}]),
        ("fields jsonParse(@message) as l | unnest l.b into x | stats count(*) as n", [{"n": 4}]),
        ("# a comment\nfields coalesce(b.0, a) as first", [
            {"first": 1}, {"first": 7}, {"first": 3},
        ]),
    ],
)  # fmt: skip
def test_a_query_is_answered(query: str, answer: list[dict[str, Any]]) -> None:
    recorded = lines(
        {"a": 1, "kind": "odd"}, {"a": 2, "b": [7, {"c": "x|9"}]}, {"a": 3, "kind": "odd"}
    )

    assert ask(query, recorded) == answer


@pytest.mark.parametrize(
    "query",
    [
        "select a",
        "fields upper(a)",
        "filter a == 1",
        "stats percentile(a, 50) by b",
        "stats count(*) as n group by b",
        "sort a downwards",
        "filter a in (1, 2)",
    ],
)
def test_what_is_not_the_language_is_no_empty_answer(query: str) -> None:
    with pytest.raises(AssertionError):
        ask(query, lines({"a": 1}))
