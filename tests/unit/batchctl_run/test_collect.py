"""Gathering a run's log lines."""

from __future__ import annotations

import json

import pytest

from batchctl.run.collect import Collector, Counts
from tests.support.run_lines import (
    RUN,
    FakeLogs,
    groups_failed,
    invocation,
    listed,
    received,
    without_a_row,
    write_a_complete_run,
)


def collector(logs: FakeLogs, group_size: int = 100) -> Collector:
    return Collector(logs, RUN, since_ms=0, group_size=group_size)


def test_a_complete_run_lacks_nothing() -> None:
    logs = FakeLogs()
    write_a_complete_run(logs, groups=3)
    found = collector(logs)
    found.sweep()
    assert found.missing == 0
    assert found.groups == 3
    assert found.counts == Counts(listed=300, called=300, processed=300, queued=300, stored=300)
    assert len(found.invocations) == 1 + 3 + 3 + 3 + 1


def test_reading_a_line_twice_counts_it_once() -> None:
    logs = FakeLogs()
    write_a_complete_run(logs)
    found = collector(logs)
    for _ in range(3):
        found.sweep()
        found.poll()
    assert len(found.invocations) == 11
    assert found.counts.stored == 300


def test_another_runs_lines_are_left_alone() -> None:
    logs = FakeLogs()
    write_a_complete_run(logs)
    found = Collector(logs, "demo-20990101T000000Z", since_ms=0, group_size=100)
    found.sweep()
    assert found.invocations == []
    assert found.log_bytes == 0


def test_every_line_that_has_not_arrived_is_missing() -> None:
    logs = FakeLogs()
    logs.write("List Users", listed(250))
    logs.write("Call API", invocation("Call API", 0))
    found = collector(logs)
    found.sweep()
    # The invocation of List Users, two of Call API, three of Process Users, Finish Run.
    assert found.missing == 7


def test_records_the_writer_has_not_logged_are_missing() -> None:
    logs = FakeLogs()
    write_a_complete_run(logs)
    del logs.lines["Write Rows"][-1]
    found = collector(logs)
    found.sweep()
    assert found.missing == 1


def test_a_group_whose_call_failed_is_not_expected_to_be_processed() -> None:
    logs = FakeLogs()
    write_a_complete_run(logs, groups=2)
    del logs.lines["Process Users"][1]
    logs.lines["Call API"].pop()
    logs.write("Call API", invocation("Call API", 1, response_bytes=4))
    found = collector(logs)
    found.sweep()
    assert found.missing == 0


@pytest.mark.parametrize("state", ["Call API", "Process Users"])
def test_a_killed_environment_is_not_expected_to_log(state: str) -> None:
    logs = FakeLogs()
    write_a_complete_run(logs, groups=3)
    later = ("Call API", "Process Users") if state == "Call API" else ("Process Users",)
    for each in later:
        logs.lines[each].pop()
    del logs.lines["Write Rows"][-2:]
    logs.write("Finish Run", groups_failed((0, 2, state, "Runtime.ExitError")))
    found = collector(logs)
    found.sweep()
    assert found.missing == 0


def test_rows_that_are_put_aside_at_every_delivery_are_counted_once() -> None:
    logs = FakeLogs()
    failure = {"outcome": "rejected", "error": "mysql_1406", "users": 2, "examples": []}
    line = {"message": "users without a row", "run_id": RUN, "state": "Write Rows"}
    for name in ("0-0-0", "0-0-0", "0-1-0"):
        logs.write("Write Rows", json.dumps({**line, "object": name, "failures": [failure]}))
    found = collector(logs)
    found.sweep()
    assert found.failures == {("rejected", "mysql_1406"): 4}


def test_a_retried_invocation_stands_for_one_group() -> None:
    logs = FakeLogs()
    write_a_complete_run(logs, groups=2)
    del logs.lines["Call API"][0]
    logs.write("Call API", invocation("Call API", 1, response_bytes=4))
    found = collector(logs)
    found.sweep()
    assert found.missing == 1


def test_users_that_are_not_asked_make_no_group_and_are_not_waited_for() -> None:
    logs = FakeLogs()
    logs.write("List Users", listed(231, admitted=200))
    logs.write("List Users", without_a_row(too_wide=31))
    logs.write("Call API", invocation("Call API", 1))
    found = collector(logs)
    found.sweep()
    assert found.groups == 2
    assert found.counts == Counts(listed=231, called=131, processed=31, failed=31)


def test_failures_are_summed_by_class() -> None:
    logs = FakeLogs()
    logs.write("Call API", without_a_row(http_404=2, timeout=1))
    logs.write("Call API", without_a_row(http_404=3))
    found = collector(logs)
    found.sweep()
    assert found.failures == {("rejected", "http_404"): 5, ("rejected", "timeout"): 1}
    assert found.counts.failed == 6


def test_progress_never_passes_the_users_listed() -> None:
    logs = FakeLogs()
    logs.write("List Users", listed(150))
    for group in range(2):
        logs.write("Call API", invocation("Call API", group))
    for _ in range(2):  # a record delivered twice
        logs.write("Write Rows", received(150))
    found = collector(logs)
    found.sweep()
    assert found.counts == Counts(listed=150, called=150, stored=150)


def test_a_poll_does_not_read_what_is_long_known_and_a_sweep_does() -> None:
    logs = FakeLogs()
    logs.write("Call API", invocation("Call API", 0), at_ms=60_000)
    found = collector(logs)
    found.poll()
    logs.write("Call API", invocation("Call API", 1), at_ms=1_000)  # late
    found.poll()
    assert ("Call API", 58_000) in logs.reads
    assert len(found.invocations) == 1
    found.sweep()
    assert len(found.invocations) == 2


def test_log_bytes_are_those_billed() -> None:
    logs = FakeLogs()
    line = listed(1)
    logs.write("List Users", line)
    logs.write("List Users", f"REPORT of the platform about {RUN}")
    found = collector(logs)
    found.sweep()
    assert found.log_bytes == len(line) + 26


def test_groups_are_as_large_as_the_lister_made_them() -> None:
    logs = FakeLogs()
    logs.write("List Users", listed(200, group_size=40))
    found = collector(logs)
    found.sweep()
    assert found.groups == 5
