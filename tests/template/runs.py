"""Runs as CloudWatch hears of them: what Finish Run really writes, and AWS's own figures."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from functools import cache
from typing import Any

from batch_core.observability import publish
from batch_core.run_metrics import RunMetrics
from tests.support.finishing import STARTED_AT, Stage
from tests.template.cloudwatch import Metric, Point, embedded, filtered
from tests.template.deployed import Deployed

type Event = dict[str, Any]


def line_of(listed: int, *, written: Event | None = None, **event: Any) -> Event:
    """What Finish Run writes of a run: it is really finished, on fakes, and really published.

    Parameters
    ----------
    listed
        How many users it listed.
    written
        What the writer entered in the ledger.
    event
        The workflow's counts, as for `Stage`.
    """
    stage = Stage()
    if written:
        stage.arrive(0, 0, **written)
    answer = stage(listed, **event)
    run = RunMetrics.of(Stage.event(listed, **event), answer, now=STARTED_AT + 30)
    out = io.StringIO()
    with redirect_stdout(out):
        publish("acme", counts=run.counts, percents=run.percents, beside=run.account)
    line: Event = json.loads(out.getvalue())
    return line


@cache
def published(stack: Deployed) -> frozenset[Metric]:
    """Every metric that the project publishes itself."""
    points = embedded(line_of(10, tally={"unchanged": 10}), minute=0)
    for each in stack.of_type("Logs::MetricFilter").values():
        field = each["MetricTransformations"][0]["MetricValue"].removeprefix("$.meter.")
        points += filtered(each, {"tenant": "acme", "meter": {field: 1}}, minute=0)
    return frozenset(point.metric for point in points)


def of_aws(namespace: str, name: str, dimension: str, value: str) -> Metric:
    """A metric of AWS."""
    return namespace, name, frozenset([(dimension, value)])


def states(minute: float, name: str, value: float = 1) -> Point:
    """What Step Functions says of a run."""
    metric = of_aws("AWS/States", name, "StateMachineArn", "<BatchMachine>")
    return Point(minute, metric, value)


def run(minute: float, listed: int = 1_000, **event: Any) -> list[Point]:
    """All that CloudWatch hears of a run that was finished: of its account and of its execution."""
    line = line_of(listed, **event)
    ended = "ExecutionsSucceeded" if line["status"] == "completed" else "ExecutionsFailed"
    execution = [states(minute, ended), states(minute, "ExecutionTime", 30_000)]
    return [*embedded(line, minute=minute), *execution]


def good_run(minute: float) -> list[Point]:
    """A run in which everybody was served."""
    return run(minute, tally={"queued": 400, "unchanged": 600}, written={"stored": 400})
