"""The gate behind a deployment: a run of its own, and no alarm."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from batch_core.outcomes import Outcome
from batchctl.alarms import FRESH, Alarms, Heard, judged_from
from batchctl.commands.run import Wish
from batchctl.commands.target import Target
from batchctl.commands.verify import fault_of, first_run, look_first
from batchctl.doctor.checks import Finding, Status
from batchctl.errors import BatchctlError
from batchctl.migrations import migrate
from batchctl.run.report import RunReport
from batchctl.run.verdict import Verdict
from batchctl.stacks import Stack

TARGET = cast("Target", None)
STACK = Stack("batch-acme", "CREATE_COMPLETE", {"MigrateFunctionName": "migrate"}, {})


DEPLOYED = datetime(2026, 1, 31, 10, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)


def verdict(status: str, *, reason: str = "", unaccounted: int = 0, **outcomes: int) -> Verdict:
    counts = {outcome.value: outcomes.get(outcome.value, 0) for outcome in Outcome}
    listed = sum(counts.values()) + unaccounted
    return Verdict(status, listed, counts, unaccounted, reason, judged=True)


def report(of: Verdict) -> RunReport:
    return cast("RunReport", SimpleNamespace(verdict=of))


def reports(*statuses: str) -> Iterator[RunReport]:
    for status in statuses:
        yield report(verdict(status, stored=1))


class Cloud:
    """CloudFormation and CloudWatch of an account with some alarms, and a clock.

    `ringing` has, for each time the alarms are asked about, those that ring, with the moment at
    which each began.
    """

    def __init__(self, names: list[str], ringing: list[dict[str, datetime]]) -> None:
        self.names = names
        self.states = ringing
        self.asked = 0
        self.now = 0.0

    def __call__(self, service: str, **config: Any) -> Any:
        return self

    def get_paginator(self, operation: str) -> Any:
        kinds = ["AWS::StepFunctions::StateMachine", *["AWS::CloudWatch::Alarm"] * len(self.names)]
        listed = [
            {"ResourceType": kind, "PhysicalResourceId": name, "LastUpdatedTimestamp": DEPLOYED}
            for kind, name in zip(kinds, ["machine", *self.names], strict=True)
        ]
        pages = [{"StackResourceSummaries": listed[:2]}, {"StackResourceSummaries": listed[2:]}]
        return SimpleNamespace(paginate=lambda **_: pages)

    def describe_alarms(self, **wanted: Any) -> Any:
        names = wanted["AlarmNames"]
        assert len(names) <= 100
        assert wanted["StateValue"] == "ALARM"
        state = self.states[min(self.asked // -(-len(self.names) // 100), len(self.states) - 1)]
        self.asked += 1
        return {
            "MetricAlarms": [
                {
                    "AlarmName": name,
                    "StateTransitionedTimestamp": state[name],
                    # Also set when an alarm is evaluated otherwise, which begins nothing.
                    "StateUpdatedTimestamp": DEPLOYED + HOUR,
                }
                for name in names
                if name in state
            ]
        }

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def alarms(cloud: Cloud, now: datetime = DEPLOYED + HOUR / 60) -> Alarms:
    return Alarms(cloud, "batch-acme", now=lambda: now)


def watched(cloud: Cloud, seconds: float, *, to_the_end: bool = False) -> Heard:
    return alarms(cloud).watch(seconds, to_the_end=to_the_end, clock=cloud.clock, sleep=cloud.sleep)


QUIET = Heard([], [])
LATE = {"late": DEPLOYED + HOUR / 30}
BEFORE = {"dead-man": DEPLOYED - HOUR / 60}


def test_a_quiet_stack_is_watched_to_the_end() -> None:
    cloud = Cloud(["failed", "late"], [{}])

    assert watched(cloud, 60) == QUIET
    assert cloud.now == 60


def test_an_alarm_that_begins_late_is_still_heard_and_ends_the_wait() -> None:
    cloud = Cloud(["failed", "late"], [{}, {}, LATE])

    assert watched(cloud, 60) == Heard(["late"], [])
    assert cloud.now == 30


def test_an_alarm_that_rang_before_the_deployment_is_told_apart_from_one_that_began_since() -> None:
    cloud = Cloud(["dead-man", "late"], [BEFORE])
    assert watched(cloud, 60) == Heard([], ["dead-man"])
    assert cloud.now == 60

    cloud = Cloud(["dead-man", "late"], [BEFORE, BEFORE | LATE])
    assert watched(cloud, 60) == Heard(["late"], ["dead-man"])
    assert cloud.now == 15


def test_an_alarm_that_stopped_and_began_again_is_about_the_deployment() -> None:
    assert watched(Cloud(["late"], [{"late": DEPLOYED - HOUR}, {}, LATE]), 60).begun == ["late"]


def test_behind_a_run_that_failed_alarms_are_waited_for_to_the_end() -> None:
    cloud = Cloud(["failed", "late"], [LATE])

    assert watched(cloud, 60, to_the_end=True) == Heard(["late"], [])
    assert cloud.now == 60


@given(
    began=st.timedeltas(min_value=-2 * FRESH, max_value=2 * FRESH),
    verified=st.timedeltas(min_value=timedelta(0), max_value=2 * FRESH),
)
def test_an_alarm_speaks_against_a_deployment_if_it_began_since_and_the_deployment_is_fresh(
    began: timedelta, verified: timedelta
) -> None:
    start = judged_from(DEPLOYED, DEPLOYED + verified)

    against = DEPLOYED + began >= start
    assert against == (began >= timedelta(0) and (verified <= FRESH or began >= verified))


def test_where_nothing_was_deployed_lately_only_what_begins_from_now_on_counts() -> None:
    yesterday = {"late": DEPLOYED + HOUR}

    assert alarms(Cloud(["late"], [yesterday]), DEPLOYED + 24 * HOUR).ringing().before == ["late"]
    assert alarms(Cloud(["late"], [yesterday]), DEPLOYED + HOUR).ringing().begun == ["late"]


def test_a_stack_without_alarms_is_not_waited_for() -> None:
    cloud = Cloud([], [{}])

    assert watched(cloud, 60) == QUIET
    assert (cloud.now, cloud.asked) == (0, 0)


def test_every_page_of_many_alarms_is_asked_for() -> None:
    names = [f"alarm-{number:03}" for number in range(150)]

    last = {"alarm-149": DEPLOYED}
    assert alarms(Cloud(names, [last])).ringing() == Heard(["alarm-149"], [])


def test_alarms_that_may_not_be_looked_up_are_an_error_that_names_the_stack() -> None:
    class Denied(Cloud):
        def get_paginator(self, operation: str) -> Any:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, operation)

    with pytest.raises(BatchctlError, match="alarms of stack batch-acme"):
        Alarms(Denied([], []), "batch-acme")


# --- what speaks for a deployment -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "heard", "fault"),
    [
        (verdict("SUCCEEDED", stored=1, skipped=9), QUIET, None),
        (verdict("SUCCEEDED", unchanged=1), Heard([], ["dead-man"]), None),
        (verdict("SUCCEEDED"), QUIET, None),  # no users yet
        (verdict("SUCCEEDED", stored=1), Heard(["late"], ["dead-man"]), "late began to ring"),
        (verdict("FAILED", reason="all rejected", rejected=9), Heard(["late"], []), "all rejected"),
        (verdict("FAILED", rejected=9), QUIET, "ended as FAILED"),
        (verdict("SKIPPED"), QUIET, "ended as SKIPPED"),
        (verdict("SUCCEEDED", stored=1, unaccounted=1), QUIET, "ended as"),
        (verdict("SUCCEEDED", skipped=9), QUIET, "of 9 users listed nobody's .*9 skipped"),
        (verdict("SUCCEEDED", rejected=5, retry_later=4), QUIET, "5 rejected, 4 retry_later"),
    ],
)
def test_a_deployment_is_verified_by_a_good_run_that_served_somebody_and_no_new_alarm(
    of: Verdict, heard: Heard, fault: str | None
) -> None:
    said = fault_of(report(of), heard)

    assert (said is None) if fault is None else re.search(fault, str(said))


def test_a_run_in_which_nobody_was_asked_speaks_for_nothing() -> None:
    assert fault_of(report(verdict("SUCCEEDED", skipped=9)), QUIET) is not None


def test_a_job_that_lists_nobody_any_more_is_not_taken_for_a_tenant_without_users() -> None:
    nobody = report(verdict("SUCCEEDED"))

    assert fault_of(nobody, QUIET, listed_before=0) is None
    assert "last runs listed 50 users" in str(fault_of(nobody, QUIET, listed_before=50))
    somebody = report(verdict("SUCCEEDED", stored=1))
    assert fault_of(somebody, QUIET, listed_before=50) is None


def test_everybody_is_asked_also_who_failed_before() -> None:
    wishes: list[Wish] = []

    def run(_target: Target, wish: Wish) -> RunReport:
        wishes.append(wish)
        return next(reports("SUCCEEDED"))

    first_run(TARGET, run=run)

    assert [wish.everyone for wish in wishes] == [True]


@pytest.mark.parametrize(
    ("statuses", "ended", "pauses"),
    [
        (["SUCCEEDED"], "SUCCEEDED", 0),
        (["FAILED", "SUCCEEDED"], "FAILED", 0),
        (["SKIPPED", "DUPLICATE", "SUCCEEDED"], "SUCCEEDED", 2),
        (["SKIPPED"] * 9, "SKIPPED", 6),
    ],
)
def test_a_run_that_was_left_to_another_one_is_tried_again(
    statuses: list[str], ended: str, pauses: int
) -> None:
    coming = reports(*statuses)
    slept: list[float] = []

    last = first_run(TARGET, run=lambda _target, _wish: next(coming), sleep=slept.append)

    assert (last.verdict.status, len(slept)) == (ended, pauses)


def answering(payload: bytes, **more: str) -> Any:
    body = SimpleNamespace(read=lambda: payload)
    functions = SimpleNamespace(invoke=lambda **_: {"Payload": body, **more})
    return lambda service, **config: functions


def test_migrating_says_what_was_applied() -> None:
    said: list[str] = []

    migrate(answering(b'{"applied": ["0001.sql"], "already": 0}'), STACK, said.append)

    assert said == ["migrated the schema: applied 0001.sql, already 0"]


def test_a_migration_that_fails_is_quoted() -> None:
    failing = answering(b'{"errorMessage": "0002.sql, line 3"}', FunctionError="Unhandled")

    with pytest.raises(BatchctlError, match=r"batch-acme failed: 0002\.sql, line 3"):
        migrate(failing, STACK, print)


# --- what it looks at first -----------------------------------------------------------------------


def finding(about: str, status: Status) -> Finding:
    return Finding(about, status, "version 5.7", "MySQL 8.0", "aws rds modify-db-cluster")


def test_nothing_is_done_with_a_database_that_cannot_be_used() -> None:
    with pytest.raises(
        BatchctlError, match=r"version 5\.7\. Needed: MySQL 8\.0\.[^$]*modify-db-cl"
    ):
        look_first([finding("api", Status.OK), finding("database", Status.BAD)])


def test_what_aws_says_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    look_first([Finding("api", Status.UNKNOWN, "[/v1] said [red]no", "an answer")])

    assert "api: [/v1] said [red]no; needed: an answer" in capsys.readouterr().err


def test_all_else_is_told_and_left_to_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    look_first(
        [
            finding("lambda concurrency", Status.BAD),
            finding("database", Status.UNKNOWN),
            finding("api", Status.OK),
        ]
    )

    said = capsys.readouterr().err
    assert "lambda concurrency: version 5.7; needed: MySQL 8.0" in said
    assert "database" in said
    assert "api" not in said
