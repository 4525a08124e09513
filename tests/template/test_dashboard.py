"""The dashboard is one that CloudWatch takes, shows metrics that there are and lines as written.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from tests.template.alarms import EVERYTHING, NAMES
from tests.template.deployed import Deployed
from tests.template.metrics import is_published
from tests.template.runs import line_of
from tests.template.translation import Json

COLUMNS = 24
# Of each type of widget: the properties it must have, and those it may have.
PROPERTIES = {
    "text": ({"markdown"}, {"background"}),
    "alarm": ({"alarms"}, {"sortBy", "states", "title"}),
    "log": ({"query", "region"}, {"title", "view", "queryLanguage", "accountId"}),
    "metric": (
        {"metrics", "region"},
        {"title", "view", "stat", "period", "annotations", "yAxis", "stacked", "legend"},
    ),
}
# Of a metric in a graph.
RENDERING = {"stat", "label", "period", "color", "id", "yAxis", "visible", "expression"}


@cache
def widgets(stack: Deployed = EVERYTHING) -> tuple[Json, ...]:
    (dashboard,) = stack.of_type("CloudWatch::Dashboard").values()
    body = json.loads(dashboard["DashboardBody"])
    assert set(body) <= {"start", "end", "periodOverride", "widgets"}
    assert re.fullmatch(r"-P(T\d+H|\d+D)", body["start"])
    return tuple(body["widgets"])


def of_type(kind: str) -> list[Json]:
    return [each["properties"] for each in widgets() if each["type"] == kind]


@pytest.mark.parametrize("proxy", ["true", "false"])
@pytest.mark.parametrize("schedule", ["ENABLED", "DISABLED"])
def test_every_widget_is_as_documented_and_has_its_place(proxy: str, schedule: str) -> None:
    there = widgets(Deployed(CreateDatabaseProxy=proxy, ScheduleState=schedule))

    assert len(there) <= 500
    for each in there:
        must, may = PROPERTIES[each["type"]]
        assert set(each) == {"type", "x", "y", "width", "height", "properties"}
        assert must <= set(each["properties"]) <= must | may
        assert each["x"] >= 0
        assert 1 <= each["width"] <= COLUMNS - each["x"]
        assert 1 <= each["height"] <= 1_000
    cells = list(itertools.chain.from_iterable(map(covered, there)))
    assert len(cells) == len(set(cells))


def covered(widget: Json) -> Iterator[tuple[int, int]]:
    """The cells of the grid that a widget takes."""
    return itertools.product(
        range(widget["x"], widget["x"] + widget["width"]),
        range(widget["y"], widget["y"] + widget["height"]),
    )


def test_what_the_runs_do_stands_above_what_the_resources_do() -> None:
    headings = {
        each["properties"]["markdown"].split("\n")[0]: each["y"]
        for each in widgets()
        if each["type"] == "text"
    }
    namespaces = [
        (each["y"], metric[0])
        for each in widgets()
        if each["type"] == "metric"
        for metric in each["properties"]["metrics"]
    ]

    assert list(headings) == ["# Run health", "# Resources"]
    assert headings["# Run health"] == 0
    below = headings["# Resources"]
    assert {name for y, name in namespaces if y > below}.isdisjoint({"ExpressBatch", "AWS/States"})
    assert {"ExpressBatch", "AWS/States"} <= {name for y, name in namespaces if y < below}


def test_every_graph_shows_metrics_that_there_are() -> None:
    graphs = of_type("metric")
    for namespace, name, dimension, value, rendering in itertools.chain.from_iterable(
        graph["metrics"] for graph in graphs
    ):
        named = {
            "Namespace": namespace,
            "MetricName": name,
            "Dimensions": [{"Name": dimension, "Value": value}],
        }
        assert is_published(named), named
        assert set(rendering) <= RENDERING
    for graph in graphs:
        assert graph["period"] % 60 == 0
        assert graph["view"] == "timeSeries"


def test_every_line_across_a_graph_is_a_threshold_of_an_alarm_or_the_workflows_limit() -> None:
    thresholds = {float(each["Threshold"]) for name, each in NAMES.items() if name != "page"}
    drawn = {
        float(line["value"])
        for graph in of_type("metric")
        for line in graph.get("annotations", {}).get("horizontal", [])
    }

    assert drawn - thresholds == {285_000.0}


def test_the_alarms_shown_are_those_of_the_stack() -> None:
    (shown,) = of_type("alarm")
    names = [arn.rpartition(":batch-acme-")[2] for arn in shown["alarms"]]

    assert 1 <= len(names) <= 100
    assert len(names) == len(set(names))
    assert set(NAMES) - set(names) == {"proxy-pinned", "proxy-busy"}
    assert {arn.rpartition(":alarm:")[0] for arn in shown["alarms"]} == {
        "arn:aws:cloudwatch:ap-northeast-1:111122223333"
    }


def test_queries_ask_log_groups_of_the_stack() -> None:
    groups = {f"<{name}>" for name in EVERYTHING.of_type("Logs::LogGroup")}
    asked = [re.findall(r"SOURCE '([^']+)'", log["query"]) for log in of_type("log")]

    assert all(asked)
    assert set(itertools.chain.from_iterable(asked)) <= groups
    assert {log["view"] for log in of_type("log")} == {"table"}


def test_the_table_of_the_last_runs_names_fields_of_the_line_that_finish_run_writes() -> None:
    (query,) = (log["query"] for log in of_type("log") if log["title"] == "The last runs")
    source, fields, wanted, order, limit = query.split(" | ")
    shown = set(fields.removeprefix("fields ").split(", ")) - {"@timestamp"}
    nobody = {"backing_off": 0, "quarantined": 0, "carried_over": 0}
    line: dict[str, Any] = line_of(10, tally={"unchanged": 10}, held_back=nobody)

    assert source == "SOURCE '<FinishRunLogGroup>'"
    # All that can be shown is: no column stays empty, and nothing is left out.
    readable = {name for name, value in line.items() if isinstance(value, str | int | float)}
    assert shown == readable - {"message", "Tenant"}
    assert wanted == f"filter message = '{line['message']}'"
    assert (order, limit) == ("sort @timestamp desc", "limit 20")
