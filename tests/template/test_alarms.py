"""Every alarm watches something that is published, tells somebody, and can be looked up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from batch_core.api_rules import judge
from batch_core.retry import THROTTLED, Setback
from batchctl.run.costs import ALARM_METRICS, ALARM_METRICS_OF_A_PROXY, CUSTOM_METRICS
from tests.template.alarms import ALARMS, EVERYTHING, NAMES, PAGE, PAGING
from tests.template.cloudwatch import Alarm, filtered, is_alarm, metric_of
from tests.template.deployed import Deployed
from tests.template.metrics import is_published
from tests.template.runs import published
from tests.template.translation import Json


def metrics_in(alarm: Json) -> Iterator[Json]:
    """What identifies each metric that an alarm watches."""
    if "MetricName" in alarm:
        yield alarm
    for each in alarm.get("Metrics", []):
        if "MetricStat" in each:
            yield each["MetricStat"]["Metric"]


@pytest.mark.parametrize("name", NAMES)
def test_an_alarm_watches_what_is_published(name: str) -> None:
    watched = list(metrics_in(NAMES[name]))

    assert watched or name == "page"
    assert [each for each in watched if not is_published(each)] == []


@pytest.mark.parametrize(
    "named",
    [
        {"Namespace": "ExpressBatch", "MetricName": "Coverige", "Dimensions": [["Tenant", "acme"]]},
        {"Namespace": "ExpressBatch", "MetricName": "Coverage", "Dimensions": [["tenant", "acme"]]},
        {"Namespace": "ExpressBatch", "MetricName": "Coverage", "Dimensions": [["Tenant", "a"]]},
        {
            "Namespace": "AWS/Lambda",
            "MetricName": "DroppedEventCount",
            "Dimensions": [["FunctionName", "<WriteRowsFunction>"]],
        },
        {
            "Namespace": "AWS/SQS",
            "MetricName": "ApproximateNumberOfMessagesVisible",
            "Dimensions": [["QueueName", "<ScheduleDeadLetterQueue>"]],
        },
    ],
)
def test_a_metric_that_nobody_publishes_is_found(named: Any) -> None:
    dimensions = [{"Name": name, "Value": value} for name, value in named["Dimensions"]]

    assert not is_published(named | {"Dimensions": dimensions})


def test_every_metric_that_is_paid_for_is_watched_by_an_alarm() -> None:
    watched = {metric_of(each) for alarm in ALARMS.values() for each in metrics_in(alarm)}

    assert published(EVERYTHING) <= watched


def test_the_filters_take_what_call_api_counts() -> None:
    refusal = judge(None, 429, {}, b"", now=None)  # type: ignore[arg-type]
    assert isinstance(refusal, Setback)
    assert refusal.error in THROTTLED  # of which the client counts `api_throttled`
    line = {"tenant": "acme", "meter": {"api_requests": 20, "api_throttled": 3}}
    filters = EVERYTHING.of_type("Logs::MetricFilter")

    taken = {name: filtered(each, line, minute=1) for name, each in filters.items()}

    assert {name: [point.value for point in points] for name, points in taken.items()} == {
        "ApiRequestsMetric": [20.0],
        "ApiThrottledMetric": [3.0],
    }
    assert {each["LogGroupName"] for each in filters.values()} == {"<CallApiLogGroup>"}


def test_the_price_of_a_run_counts_what_the_template_makes() -> None:
    plain = Deployed(ScheduleState="ENABLED").of_type("CloudWatch::Alarm").values()
    watched = [
        sum(1 for each in alarms for _ in metrics_in(each)) for alarms in (plain, ALARMS.values())
    ]

    assert len(published(EVERYTHING)) == CUSTOM_METRICS
    assert watched == [ALARM_METRICS, ALARM_METRICS + ALARM_METRICS_OF_A_PROXY]
    assert len(EVERYTHING.of_type("CloudWatch::Dashboard")) == 1


# --- who is told ----------------------------------------------------------------------------------


def test_the_page_is_exactly_what_has_to_wake_somebody() -> None:
    rung = re.findall(r"ALARM\(<(\w+)>\)", PAGE["AlarmRule"])

    assert {ALARMS[name]["AlarmName"] for name in rung} == {f"batch-acme-{n}" for n in PAGING}
    assert PAGE["AlarmRule"].count(" OR ") == len(PAGING) - 1


def test_an_alarm_says_whether_it_pages() -> None:
    said = {name for name, each in NAMES.items() if each["AlarmDescription"].startswith("Pages. ")}

    assert said == PAGING


def test_every_alarm_mails_and_the_page_says_when_it_is_over() -> None:
    assert {str(each["AlarmActions"]) for each in NAMES.values()} == {"['<AlarmTopic>']"}
    assert PAGE["OKActions"] == ["<AlarmTopic>"]


def test_topics_that_are_there_are_told_in_the_place_of_a_new_one() -> None:
    stack = Deployed(AlarmTopicArn="arn:mail", PageTopicArn="arn:page")
    (page,) = stack.of_type("CloudWatch::CompositeAlarm").values()

    assert stack.of_type("SNS::Topic") == {}
    assert page["AlarmActions"] == page["OKActions"] == ["arn:page"]
    assert {str(each["AlarmActions"]) for each in stack.of_type("CloudWatch::Alarm").values()} == {
        "['arn:mail']"
    }


def test_one_topic_may_be_both() -> None:
    (page,) = Deployed(AlarmTopicArn="arn:mail").of_type("CloudWatch::CompositeAlarm").values()

    assert page["AlarmActions"] == ["arn:mail"]


def test_a_tenant_that_is_switched_off_misses_no_runs_and_one_without_a_proxy_no_proxy() -> None:
    plain = Deployed()
    (page,) = plain.of_type("CloudWatch::CompositeAlarm").values()

    assert set(ALARMS) - set(plain.of_type("CloudWatch::Alarm")) == {
        "DeadManAlarm",
        "ProxyPinnedAlarm",
        "ProxyBusyAlarm",
    }
    assert page["AlarmRule"].startswith("FALSE OR ALARM(<CoverageAlarm>)")


# --- what CloudWatch takes ------------------------------------------------------------------------


@pytest.mark.parametrize("minutes", ["5", "60"])
def test_an_alarm_keeps_cloudwatchs_limits_at_every_schedule(minutes: str) -> None:
    stack = Deployed(ScheduleState="ENABLED", CreateDatabaseProxy="true", ScheduleMinutes=minutes)
    for properties in stack.of_type("CloudWatch::Alarm").values():
        alarm = Alarm.of(properties)
        (period,) = {each.period for each in alarm.watched.values()}

        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
        assert period % 60 == 0
        assert period * alarm.periods <= 86_400
        assert 1 <= alarm.points <= alarm.periods
        assert len(properties["AlarmDescription"]) <= 1024
        assert all(re.fullmatch(r"[a-z]\w*", name) for name in alarm.watched)
        # Two runs must never fall into one period.
        assert period < int(minutes) * 60


@pytest.mark.parametrize(
    ("points", "missing", "notbreaching", "breaching"),
    [
        # The two tables of the page, "-" is missing: 3 of 3, then 2 of 3.
        ("0-X-X", 3, False, False),
        ("----0", 3, False, False),
        ("-----", 3, False, True),
        ("0XX-X", 3, True, True),
        ("--X--", 3, False, True),
        ("0-X-X", 2, True, True),
        ("00X0X", 2, True, True),
        ("0-X--", 2, False, True),
        ("----0", 2, False, True),
        ("---X-", 2, False, True),
    ],
)
def test_missing_points_are_treated_as_aws_documents_it(
    points: str, missing: int, notbreaching: bool, breaching: bool
) -> None:
    series = [{"0": False, "X": True, "-": None}[each] for each in points]

    assert [
        is_alarm(series, points=missing, periods=3, missing_breaches=treated)
        for treated in (False, True)
    ] == [notbreaching, breaching]
