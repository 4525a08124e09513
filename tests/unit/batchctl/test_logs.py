"""How `batchctl logs` chooses and shows lines."""

from __future__ import annotations

import json

import pytest

from batchctl.commands.logs import Line, _chosen, _fields, _lines, _render
from batchctl.errors import UsageError
from batchctl.log_events import LogEvent
from batchctl.stacks import Stack
from tests.unit.batchctl.test_log_events import MiniStackLogs

STACK = Stack(
    "express-batch-demo",
    "CREATE_COMPLETE",
    {"CallApiLogGroup": "/call", "WriteRowsLogGroup": "/write", "StreamName": "s"},
    {"TenantId": "demo"},
)


@pytest.mark.parametrize("name", ["call_api", "CallApi", "call-api", "CallApiFunction"])
def test_a_function_may_be_called_by_any_of_its_names(name: str) -> None:
    assert _chosen(STACK, name) == {"CallApi": "/call"}


def test_an_unknown_function_is_answered_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"no function ship_it\. There are: CallApi, WriteRows"):
        _chosen(STACK, "ship_it")


def line_of(**fields: object) -> Line:
    text = json.dumps(fields)
    return Line("CallApi", LogEvent("k", 1_700_000_000_123, text), _fields(text))


def test_a_line_shows_when_who_where_and_what() -> None:
    shown = _render(
        line_of(level="INFO", message="called", run_id="r1", chunk=0, group=3, requests=100)
    )
    assert shown.plain == "22:13:20.123 CallApi      INFO    r1/0/3 called requests=100"


def test_an_exception_follows_its_line() -> None:
    shown = _render(line_of(level="ERROR", message="failed", exception="Traceback\nBoom"))
    assert shown.plain.endswith("failed\nTraceback\nBoom")


def test_a_line_that_is_not_json_is_shown_as_it_is() -> None:
    shown = _render(Line("CallApi", LogEvent("k", 0, "[out of memory]"), {}))
    assert shown.plain == "00:00:00.000 CallApi      [out of memory]"


def texts(events: list[tuple[int, str]], run: str | None) -> list[str]:
    lines = _lines(MiniStackLogs(events), {"CallApi": "/call"}, run=run, since_ms=0, follow=False)
    return [line.event.text for line in lines]


def test_one_run_is_told_from_another_that_mentions_it() -> None:
    mine = json.dumps({"run_id": "r1", "message": "mine"})
    other = json.dumps({"run_id": "r2", "message": "after r1"})
    assert texts([(1, mine), (2, other)], "r1") == [mine]


def test_what_the_platform_writes_around_invocations_is_left_out() -> None:
    assert texts([(1, "START RequestId: x"), (2, "Killed"), (3, "END RequestId: x")], None) == [
        "Killed"
    ]
