"""The workflow's events and the functions' lines, joined into one timeline."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from batchctl.run.collect import Collector
from batchctl.trace.document import document
from batchctl.trace.events import Event
from batchctl.trace.history import History
from batchctl.trace.show import shown
from batchctl.trace.timeline import Trace, trace_of
from tests.support.express_log import BEGAN_MS, EXECUTION, ExpressLog, a_run_with_failures
from tests.support.run_lines import (
    RUN,
    FakeLogs,
    groups_failed,
    invocation,
    listed,
    not_listed,
    received,
    warned,
    without_a_row,
)


def logged() -> FakeLogs:
    """What the functions logged of the run in `a_run_with_failures`."""
    logs = FakeLogs()
    at = BEGAN_MS + 500
    logs.write("List Users", listed(400, execution=EXECUTION), at)
    logs.write("List Users", invocation("List Users", init_ms=300.0), at)
    for chunk in (0, 1):
        for group in (0, 1):
            failed: dict[str, Any] = {"response_bytes": 4} if (chunk, group) == (1, 0) else {}
            named = {"request_id": f"r-{chunk}{group}", "error": "ApiError" if failed else ""}
            logs.write("Call API", invocation("Call API", group, chunk, named, **failed), at + 900)
            if not failed:
                line = invocation("Process Users", group, chunk, records=1, rows=100)
                logs.write("Process Users", line, at + 1_000)
    logs.write("Write Rows", received(300, (0, 0), (0, 1), (1, 1)), at + 1_200)
    logs.write("Write Rows", invocation("Write Rows", records=3), at + 1_250)
    logs.write("Finish Run", invocation("Finish Run"), at + 1_500)
    return logs


def joined(logs: FakeLogs, events: list[Event]) -> Trace:
    lines = Collector(logs, RUN, since_ms=0, group_size=100)
    lines.sweep()
    return trace_of(RUN, lines, History(events))


def drawn(what: RenderableType, width: int = 100) -> str:
    console = Console(file=StringIO(), width=width, record=True, force_terminal=True)
    console.print(what)
    return console.export_text()


def test_a_timeline_is_made_of_both_logs() -> None:
    trace = joined(logged(), a_run_with_failures().events())
    assert (trace.execution, trace.ending, trace.log) == (
        EXECUTION,
        "ExecutionSucceeded",
        "every event",
    )
    assert (trace.listed, trace.missing_events) == (400, 0)
    assert [(chunk.n, chunk.groups, chunk.troubles) for chunk in trace.chunks] == [
        (0, 2, 0),
        (1, 2, 1),
    ]
    steps = {(step.state, step.chunk, step.group): step for step in trace.steps}
    assert steps["Call API", 1, 0].attempts == 2  # one of which logged nothing
    assert steps["Call API", 1, 0].failed
    assert ("Process Users", 1, 0) not in steps
    assert steps["List Users", None, None].cold == 1
    assert [write.rows for write in trace.writes] == [300]


def test_a_failure_is_told_once_with_the_place_the_line_knows() -> None:
    trace = joined(logged(), a_run_with_failures().events())
    assert [(f.error, f.state, f.chunk, f.group, f.then) for f in trace.failures] == [
        ("Runtime.ExitError", "Call API", 1, 0, "retried"),
        ("ApiError", "Call API", 1, 0, "caught"),
    ]


def test_a_log_of_errors_only_is_cursord_by_lambdas_request_id() -> None:
    events = [event for event in a_run_with_failures().events() if event.type == "TaskFailed"]
    trace = joined(logged(), events)
    assert (trace.log, trace.ending, trace.missing_events) == ("errors only", "", 0)
    by_error = {failure.error: failure for failure in trace.failures}
    found = by_error["ApiError"]
    assert (found.state, found.function, found.chunk, found.group) == ("Call API", "call_api", 1, 0)
    assert found.cause == "the API is gone"
    # Nothing tells where this one was: its environment ended before it could log.
    assert (by_error["Runtime.ExitError"].state, by_error["Runtime.ExitError"].group) == ("", None)


def test_a_killed_environment_is_cursord_by_what_finish_run_names() -> None:
    # Both attempts were killed: of neither is there a line.
    killed = {"error": "Runtime.ExitError", "cause": ""}
    events = [
        replace(event, details=killed)
        for event in a_run_with_failures().events()
        if event.type == "TaskFailed"
    ]
    logs = logged()
    logs.lines["Call API"] = [line for line in logs.lines["Call API"] if '"r-10"' not in line.text]
    logs.write("Finish Run", groups_failed((1, 0, "Call API", "Runtime.ExitError")), BEGAN_MS + 9)
    trace = joined(logs, events)
    assert [(f.error, f.state, f.function, f.chunk, f.group) for f in trace.failures] == [
        ("Runtime.ExitError", "Call API", "call_api", 1, 0)
    ] * 2


def test_of_several_killed_environments_each_gets_its_place_and_none_is_left_out() -> None:
    killed = {"error": "Runtime.ExitError", "cause": ""}
    events = [Event(7, "TaskFailed", BEGAN_MS + 5, None, killed)]
    places = [(0, 3, "Call API", "Runtime.ExitError"), (2, 4, "Call API", "Runtime.ExitError")]
    logs = FakeLogs()
    logs.write("Finish Run", groups_failed(*places, (2, 9, "Process Users", "CodeError")), BEGAN_MS)
    found = {(f.chunk, f.group, f.state, f.error) for f in joined(logs, events).failures}
    assert found == {*places, (2, 9, "Process Users", "CodeError")}


def test_without_any_event_the_lines_alone_tell_of_failures() -> None:
    trace = joined(logged(), [])
    (failure,) = trace.failures
    assert (trace.log, failure.error, failure.state, failure.chunk, failure.group) == (
        "nothing",
        "ApiError",
        "Call API",
        1,
        0,
    )


def test_a_failing_event_without_a_request_id_goes_with_the_line_right_before_it() -> None:
    # As on the local cloud, whose events tell neither a way back nor a request.
    at_ms = BEGAN_MS + 500 + 900
    cause = {"error": "Runtime.HandlerError", "cause": "the API is gone"}
    near = Event(7, "TaskFailed", at_ms + 40, None, cause)
    (failure,) = joined(logged(), [near]).failures
    assert (failure.error, failure.chunk, failure.group) == ("ApiError", 1, 0)
    assert failure.cause == "the API is gone"
    far = Event(7, "TaskFailed", at_ms + 60_000, None, cause)
    assert [(f.error, f.group) for f in joined(logged(), [far]).failures] == [
        ("ApiError", 0),
        ("Runtime.HandlerError", None),
    ]


def test_an_invocation_that_never_logged_is_known_from_the_workflow() -> None:
    logs = logged()
    logs.lines["Call API"] = [line for line in logs.lines["Call API"] if '"r-10"' not in line.text]
    trace = joined(logs, a_run_with_failures().events())
    steps = {(step.state, step.chunk, step.group): step for step in trace.steps}
    assert steps["Call API", 1, 0].failed
    assert steps["Call API", 1, 0].attempts == 2


def test_a_second_start_of_the_run_is_told_and_not_taken_for_it() -> None:
    logs = logged()
    logs.write("List Users", not_listed("duplicate", "arn:other"), BEGAN_MS + 9_000)
    trace = joined(logs, a_run_with_failures().events())
    assert trace.execution == EXECUTION
    assert "duplicate: another start left the run alone" in drawn(shown(trace, "acme"))


def test_a_run_that_could_not_list_is_told_with_what_the_database_said() -> None:
    logs = FakeLogs()
    named = {"execution": EXECUTION, "request_id": "r-list", "error": "SchemaError"}
    logs.write("List Users", invocation("List Users", fields=named, response_bytes=4), BEGAN_MS)
    logs.write("List Users", not_listed("duplicate", "arn:other"), BEGAN_MS + 9_000)
    said = "1054: Unknown column 'u.account' in 'SELECT'"
    cause = {"error": "SchemaError", "cause": said}
    events = [
        Event(1, "TaskFailed", BEGAN_MS + 10, None, cause),
        Event(2, "ExecutionFailed", BEGAN_MS + 20, None, cause),
    ]

    trace = joined(logs, events)

    assert trace.execution == EXECUTION
    screen = drawn(shown(trace, "acme"))
    assert said in screen
    assert screen.count("another start left the run alone") == 1


def test_a_start_that_listed_goes_before_one_that_failed_to() -> None:
    logs = logged()
    named = {"execution": "arn:other", "error": "SchemaError"}
    logs.write("List Users", invocation("List Users", fields=named), BEGAN_MS - 9_000)
    assert joined(logs, []).execution == EXECUTION


@pytest.mark.parametrize("width", [80, 100, 140])
@pytest.mark.parametrize("chunk", [None, 1])
def test_what_is_shown_fits_the_screen_with_failures_before_the_timeline(
    width: int, chunk: int | None
) -> None:
    logs = logged()
    logs.write("Call API", without_a_row(http_404=12), BEGAN_MS + 1_400)
    logs.write("Call API", warned("the breaker is open elsewhere", state="Call API"), BEGAN_MS)
    trace = joined(logs, a_run_with_failures().events())
    text = drawn(shown(trace, "acme · eu-central-1", chunk), width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    assert len(text.splitlines()) <= 35
    assert text.index("Failures") < text.index("Timeline")
    assert "✔ SUCCEEDED" in text
    assert "ApiError in acme-call → caught" in text
    assert "12 users: http_404, such as http_404-0 0/2" in text.replace("\n", " ")
    assert ("1/0 Call API" in text) == (chunk == 1)


def test_a_run_of_a_hundred_chunks_shows_those_in_trouble() -> None:
    logs = FakeLogs()
    logs.write("List Users", listed(10_000), BEGAN_MS)
    for chunk in range(100):
        failed = {"response_bytes": 4} if chunk == 71 else {}
        logs.write("Call API", invocation("Call API", 0, chunk, {}, **failed), BEGAN_MS + 500)
    text = drawn(shown(joined(logs, []), "acme"))
    assert "Chunk 71" in text
    assert "and 94 more chunks" in text
    assert len(text.splitlines()) <= 35
    assert "no such chunk" in drawn(shown(joined(logs, []), "acme", 100))


def test_a_program_gets_everything_in_milliseconds_from_the_start() -> None:
    trace = joined(logged(), a_run_with_failures().events())
    told = json.loads(json.dumps(document(trace, "acme", None)))
    assert told["run_id"] == RUN
    assert told["workflow_log"]["coverage"] == "every event"
    assert told["failures"][1]["request_id"] == "r-10"
    assert told["writes"][0]["groups"] == [[0, 0], [0, 1], [1, 1]]
    assert {step["state"] for step in told["steps"]} == {
        "List Users", "Call API", "Process Users", "Write Rows", "Finish Run",
    }  # fmt: skip
    assert any(state["state"] == "For Each Group" for state in told["states"])
    assert 0 <= min(step["began_ms"] for step in told["steps"]) < told["took_ms"]


def test_groups_that_failed_alike_share_a_line() -> None:
    logs = FakeLogs()
    logs.write("List Users", listed(900), BEGAN_MS)
    for group in range(9):
        error = "TimeoutError" if group == 8 else "ApiError"
        named = {"error": error, "request_id": f"r-{group}"}
        line = invocation("Call API", group, 2, named, response_bytes=4)
        logs.write("Call API", line, BEGAN_MS + group)
    text = drawn(shown(joined(logs, []), "acme"))
    assert "Call API 2/0, 2/1, 2/2 +5  ApiError in call_api" in text
    assert "Call API 2/8" in text


def test_a_run_that_ended_early_shows_what_ended_it_first() -> None:
    log = ExpressLog()
    at = log.attempt(log.entered("Task", "List Users", log.add("ExecutionStarted", 0)))
    at = log.exited("Task", "List Users", log.failed(at, "SchemaError"))
    log.add("ExecutionFailed", log.entered("Fail", "Run Failed", at), {"error": "RunFailed"})
    logs = FakeLogs()
    logs.write("List Users", invocation("List Users", response_bytes=4), BEGAN_MS)
    text = drawn(shown(joined(logs, log.events()), "acme"))
    assert "✘ FAILED" in text
    assert text.index("RunFailed → ended the run") < text.index("SchemaError in acme-call")
