"""The gate behind a deployment: a run of its own, and no alarm."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from batchctl.alarms import Alarms
from batchctl.commands.target import Target
from batchctl.commands.verify import first_run
from batchctl.errors import BatchctlError
from batchctl.migrations import migrate
from batchctl.run.report import RunReport
from batchctl.stacks import Stack

TARGET = cast("Target", None)
STACK = Stack("batch-acme", "CREATE_COMPLETE", {"MigrateFunctionName": "migrate"}, {})


def reports(*statuses: str) -> Iterator[RunReport]:
    for status in statuses:
        yield cast("RunReport", SimpleNamespace(verdict=SimpleNamespace(status=status)))


class Cloud:
    """CloudFormation and CloudWatch of an account with some alarms, and a clock."""

    def __init__(self, names: list[str], ringing: list[list[str]]) -> None:
        self.names = names
        self.states = ringing
        self.asked = 0
        self.now = 0.0

    def __call__(self, service: str, **config: Any) -> Any:
        return self

    def get_paginator(self, operation: str) -> Any:
        kinds = ["AWS::S3::Bucket", *["AWS::CloudWatch::Alarm"] * len(self.names)]
        listed = [
            {"ResourceType": kind, "PhysicalResourceId": name}
            for kind, name in zip(kinds, ["bucket", *self.names], strict=True)
        ]
        pages = [{"StackResourceSummaries": listed[:2]}, {"StackResourceSummaries": listed[2:]}]
        return SimpleNamespace(paginate=lambda **_: pages)

    def describe_alarms(self, **wanted: Any) -> Any:
        names = wanted["AlarmNames"]
        assert len(names) <= 100
        assert wanted["StateValue"] == "ALARM"
        state = self.states[min(self.asked // -(-len(self.names) // 100), len(self.states) - 1)]
        self.asked += 1
        return {"MetricAlarms": [{"AlarmName": n} for n in names if n in state]}

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def watched(cloud: Cloud, seconds: float) -> list[str]:
    return Alarms(cloud, "batch-acme").watch(seconds, clock=cloud.clock, sleep=cloud.sleep)


def test_a_quiet_stack_is_watched_to_the_end() -> None:
    cloud = Cloud(["failed", "late"], [[]])

    assert watched(cloud, 60) == []
    assert cloud.now == 60


def test_an_alarm_that_rings_late_is_still_heard_and_ends_the_wait() -> None:
    cloud = Cloud(["failed", "late"], [[], [], ["late"]])

    assert watched(cloud, 60) == ["late"]
    assert cloud.now == 30


def test_an_alarm_that_rang_before_has_until_the_end_to_stop() -> None:
    cloud = Cloud(["dead-man", "late"], [["dead-man"], ["dead-man"], []])

    assert watched(cloud, 60) == []
    assert cloud.now == 60


def test_an_alarm_that_rang_before_and_does_not_stop_is_named_with_the_new_one() -> None:
    assert watched(Cloud(["dead-man", "late"], [["dead-man"]]), 60) == ["dead-man"]

    cloud = Cloud(["dead-man", "late"], [["dead-man"], ["dead-man", "late"]])
    assert watched(cloud, 60) == ["dead-man", "late"]
    assert cloud.now == 15


def test_a_stack_without_alarms_is_not_waited_for() -> None:
    cloud = Cloud([], [[]])

    assert watched(cloud, 60) == []
    assert (cloud.now, cloud.asked) == (0, 0)


def test_every_page_of_many_alarms_is_asked_for() -> None:
    names = [f"alarm-{number:03}" for number in range(150)]

    assert Alarms(Cloud(names, [["alarm-149"]]), "batch-acme").ringing() == ["alarm-149"]


def test_alarms_that_may_not_be_looked_up_are_an_error_that_names_the_stack() -> None:
    class Denied(Cloud):
        def get_paginator(self, operation: str) -> Any:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, operation)

    with pytest.raises(BatchctlError, match="alarms of stack batch-acme"):
        Alarms(Denied([], []), "batch-acme")


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

    report = first_run(TARGET, run=lambda _target, _wish: next(coming), sleep=slept.append)

    assert (report.verdict.status, len(slept)) == (ended, pauses)


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
