"""What an Express log tells, although its failing events name no state."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from batchctl.trace.events import Event
from batchctl.trace.history import History
from tests.support.express_log import BEGAN_MS, LAMBDA, ExpressLog, a_run_with_failures


def test_a_failing_event_without_a_state_name_is_cursord_by_the_events_before_it() -> None:
    log = a_run_with_failures()
    first, second = History(log.events()).failures()
    failing = [line for line in log.lines if '"TaskFailed"' in line]
    assert all("name" not in json.loads(line)["details"] for line in failing)
    assert (first.state, first.function, first.chunk, first.group) == (
        "Call API",
        "acme-call",
        1,
        0,
    )
    assert (first.error, first.cause, first.then) == (
        "Runtime.ExitError",
        "the API is gone",
        "retried",
    )
    assert (second.error, second.request_id, second.then) == ("ApiError", "r-10", "caught")


def test_states_are_told_with_their_times_and_attempts() -> None:
    visits = History(a_run_with_failures().events()).visits()
    calls = {(v.chunk, v.group): v for v in visits if v.state == "Call API"}
    assert set(calls) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert calls[1, 0].attempts == 2
    assert calls[0, 0].attempts == 1
    assert all(visit.ended_ms is not None for visit in visits)
    assert visits[0].began_ms == BEGAN_MS + 100
    # Each chunk's inner Map has an end of its own.
    maps = [(v.chunk, v.group, v.ended_ms) for v in visits if v.state == "For Each Group"]
    assert [place[:2] for place in maps] == [(0, None), (1, None)]
    assert maps[0][2] != maps[1][2]


def test_an_iteration_that_follows_from_the_one_before_is_not_inside_it() -> None:
    # With MaxConcurrency 1 an iteration's previous event is the last of the iteration before.
    log = ExpressLog()
    started = log.map(
        "For Each Group", 2, log.iteration("For Each Chunk", 0, log.map("For Each Chunk", 2, 0))
    )
    first = log.task("Call API", log.iteration("For Each Group", 0, started))
    second = log.iteration("For Each Group", 1, first)
    log.failed(log.attempt(log.entered("Task", "Call API", second)))
    # The next chunk follows from a group of the chunk before.
    chunk = log.iteration("For Each Chunk", 1, second)
    log.failed(log.attempt(log.entered("Task", "Process Users", chunk)))
    places = [(f.state, f.chunk, f.group) for f in History(log.events()).failures()]
    assert places == [("Call API", 0, 1), ("Process Users", 1, None)]


def test_a_task_that_timed_out_has_no_cause_and_is_cursord_all_the_same() -> None:
    log = ExpressLog()
    at = log.attempt(log.entered("Task", "List Users", log.add("ExecutionStarted", 0)))
    at = log.add("TaskTimedOut", at, {"error": "States.Timeout", **LAMBDA})
    at = log.exited("Task", "List Users", at)
    at = log.entered("Fail", "Run Failed", at)
    cause = json.dumps({"state": "List Users", "error": "States.Timeout", "cause": ""})
    log.add("ExecutionFailed", at, {"error": "RunFailed", "cause": cause})
    timed_out, ended = History(log.events()).failures()
    assert (timed_out.state, timed_out.error, timed_out.then) == (
        "List Users",
        "States.Timeout",
        "caught",
    )
    assert timed_out.cause == "no cause was given"
    assert (ended.state, ended.then) == ("", "ended the run")


def test_an_expression_that_failed_names_its_state() -> None:
    log = ExpressLog()
    at = log.entered("Pass", "Group Failed", log.iteration("For Each Group", 3, 0))
    details = {"error": "States.QueryEvaluationError", "cause": "…", "state": "Group Failed"}
    log.add("EvaluationFailed", at, details)
    (failure,) = History(log.events()).failures()
    assert (failure.state, failure.group, failure.chunk) == ("Group Failed", 3, None)


def test_numbers_are_compared_as_numbers() -> None:
    log = a_run_with_failures()
    history = History(reversed(log.events()))
    assert [event.id for event in history.events] == list(range(1, len(log.lines) + 1))


def test_what_followed_from_a_failure_is_left_out_when_the_failure_is_there() -> None:
    log = ExpressLog()
    called = log.attempt(log.entered("Task", "Call API", log.iteration("For Each Group", 4, 0)))
    at = log.failed(called)
    consequences = [
        log.add("MapIterationFailed", at, {"index": 4, "name": "For Each Group"}),
        log.add("MapStateFailed", at),
    ]
    history = History(log.events())
    assert [failure.error for failure in history.failures()] == ["ApiError"]
    without = History(event for event in log.events() if event.id in consequences)
    assert [failure.error for failure in without.failures()] == [
        "MapIterationFailed",
        "MapStateFailed",
    ]


@given(st.data())
def test_late_repeated_and_missing_events_place_nothing_wrongly(data: st.DataObject) -> None:
    events = a_run_with_failures().events()
    right = {(f.at_ms, f.error): f for f in History(events).failures()}
    left = data.draw(st.lists(st.sampled_from(events), min_size=1, max_size=2 * len(events)))
    history = History(data.draw(st.permutations(left)))
    assert len(history.events) == len(set(left_ids(left)))
    for found in history.failures():
        whole = right[found.at_ms, found.error]
        assert found.state in ("", whole.state)
        assert found.group in (None, whole.group)
        assert found.chunk in (None, whole.chunk)
        assert found.function in ("", whole.function)


def left_ids(events: list[Event]) -> list[int]:
    return [event.id for event in events]


def test_a_log_of_errors_only_is_known_as_one() -> None:
    events = [event for event in a_run_with_failures().events() if "Failed" in event.type]
    history = History(events)
    assert not history.complete
    assert {failure.state for failure in history.failures()} == {""}
    assert History(a_run_with_failures().events()).complete


def test_events_that_did_not_arrive_are_counted() -> None:
    events = a_run_with_failures().events()
    assert History(events).missing == 0
    assert History(events[:5] + events[8:]).missing == 3


def test_a_history_without_the_way_back_still_tells_when_states_were_left() -> None:
    # The local cloud tells of no previous events.
    told = [
        ("TaskStateEntered", {"stateEnteredEventDetails": {"name": "List Users"}}),
        ("TaskScheduled", {"taskScheduledEventDetails": {"resource": "invoke"}}),
        ("TaskStateExited", {"stateExitedEventDetails": {"name": "List Users"}}),
    ]
    events = [
        Event.from_history(
            {"id": n, "type": type_, "timestamp": datetime.fromtimestamp(n, UTC), **details}
        )
        for n, (type_, details) in enumerate(told, start=1)
    ]
    (visit,) = History(events).visits()
    assert (visit.state, visit.began_ms, visit.ended_ms) == ("List Users", 1_000, 3_000)


def test_a_line_that_is_no_event_is_passed_over() -> None:
    assert [Event.from_log(text) for text in ("", "{", "[]", '{"id": "x"}', "null")] == [None] * 5
