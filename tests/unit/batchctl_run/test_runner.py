"""Running once: the execution in a thread, its lines gathered meanwhile and afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from threading import Event
from typing import Any

import pytest

from batchctl.errors import BatchctlError
from batchctl.run import runner
from batchctl.run.collect import Collector, Counts
from batchctl.run.runner import Ended, Patience, run_once
from batchctl.run.verdict import Execution
from tests.support.run_lines import RUN, FakeLogs, invocation, write_a_complete_run

ZEROS = dict.fromkeys(("stored", "unchanged", "rejected", "retry_later", "skipped", "gone"), 0)
OUTPUT = json.dumps(
    {
        "status": "completed",
        "listed": 300,
        "outcomes": ZEROS | {"stored": 300},
        "unaccounted": 0,
        "reason": "",
    }
)
SUCCEEDED = Execution("arn", "SUCCEEDED", 1.0, output=OUTPUT)
PATIENCE = Patience(deadline=10, grace=2, pause=1)


class FakeWorkflow(FakeLogs):
    """A stack whose execution ends as told."""

    def __init__(self, end: Callable[[], Execution]) -> None:
        super().__init__()
        self.given: Mapping[str, Any] = {}
        self._end = end

    def execute(self, given: Mapping[str, Any]) -> Execution:
        self.given = given
        return self._end()


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.while_asleep: list[Callable[[], None]] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.while_asleep:
            self.while_asleep.pop(0)()


def go(workflow: FakeWorkflow, clock: Clock, shown: list[str] | None = None) -> Ended:
    def show(_counts: Counts, phase: str) -> None:
        if shown is not None:
            shown.append(phase)

    collector = Collector(workflow, RUN, since_ms=0, group_size=100)
    given = {"scheduled_time": "2026-01-31T10:20:00.000Z"}
    return run_once(workflow, collector, given, show, PATIENCE, clock=clock, sleep=clock.sleep)


def test_a_run_whose_lines_are_there_ends_without_waiting() -> None:
    workflow, clock = FakeWorkflow(lambda: SUCCEEDED), Clock()
    write_a_complete_run(workflow)
    ended = go(workflow, clock)
    assert ended.verdict.good
    assert ended.missing_lines == 0
    assert clock.now == 0
    assert workflow.given == {"scheduled_time": "2026-01-31T10:20:00.000Z"}


def test_late_lines_are_waited_for() -> None:
    workflow, clock = FakeWorkflow(lambda: SUCCEEDED), Clock()
    write_a_complete_run(workflow)
    late = workflow.lines["Finish Run"].pop()
    clock.while_asleep = [
        lambda: None,
        lambda: workflow.write("Finish Run", late.text),
    ]
    ended = go(workflow, clock)
    assert (ended.missing_lines, clock.now) == (0, 2)


def test_lines_that_never_come_are_counted_when_patience_ends() -> None:
    workflow, clock = FakeWorkflow(lambda: SUCCEEDED), Clock()
    write_a_complete_run(workflow)
    del workflow.lines["Call API"][0]
    ended = go(workflow, clock)
    assert ended.verdict.good
    assert (ended.missing_lines, clock.now) == (1, PATIENCE.deadline)


def test_a_run_that_broke_down_is_given_a_grace_only() -> None:
    failed = Execution("arn", "FAILED", 1.0, cause=json.dumps({"error": "E", "cause": "c"}))
    clock = Clock()
    ended = go(FakeWorkflow(lambda: failed), clock)
    assert (ended.verdict.status, ended.missing_lines) == ("FAILED", 0)
    assert clock.now == PATIENCE.grace


def test_progress_is_read_while_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "POLL_S", 0.001)
    seen_calling = Event()

    def end() -> Execution:
        assert seen_calling.wait(10)
        return SUCCEEDED

    workflow = FakeWorkflow(end)
    write_a_complete_run(workflow)
    held_back = workflow.lines.pop("Process Users")

    def show(counts: Counts, phase: str) -> None:
        if phase == "calling the API" and counts.called == 300:
            workflow.lines["Process Users"] = held_back
            seen_calling.set()

    collector = Collector(workflow, RUN, since_ms=0, group_size=100)
    assert run_once(workflow, collector, {}, show, PATIENCE).verdict.good


def test_an_execution_that_cannot_be_started_is_an_error() -> None:
    def end() -> Execution:
        raise BatchctlError("no such machine")

    with pytest.raises(BatchctlError, match="no such machine"):
        go(FakeWorkflow(end), Clock())


def test_a_timeout_of_the_execution_is_not_taken_for_one_of_the_wait() -> None:
    def end() -> Execution:
        raise TimeoutError("the socket")

    with pytest.raises(TimeoutError, match="the socket"):
        go(FakeWorkflow(end), Clock())


def test_logs_that_may_not_be_read_do_not_hide_the_verdict() -> None:
    class Closed(FakeWorkflow):
        def events(self, state: str, *, since_ms: int, containing: str) -> Any:
            raise BatchctlError("access denied")

    ended = go(Closed(lambda: SUCCEEDED), Clock())
    assert ended.verdict.good
    assert ended.logs_error == "access denied"


def test_ctrl_c_leaves_the_run_to_itself() -> None:
    workflow = FakeWorkflow(lambda: SUCCEEDED)
    workflow.write("List Users", invocation("List Users"))

    def interrupt(_counts: Counts, _phase: str) -> None:
        raise KeyboardInterrupt

    collector = Collector(workflow, RUN, since_ms=0, group_size=100)
    with pytest.raises(KeyboardInterrupt):
        run_once(workflow, collector, {}, interrupt, PATIENCE)


def test_the_phase_is_named_as_the_run_proceeds() -> None:
    shown: list[str] = []
    workflow = FakeWorkflow(lambda: SUCCEEDED)
    write_a_complete_run(workflow)
    go(workflow, Clock(), shown)
    assert shown[0] == "listing users"
    assert shown[-1] == "reading the last log lines"
