"""What CloudWatch makes of points and log lines, by its documentation: alarms, as pure functions.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
"""

from __future__ import annotations

import ast
import operator
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from tests.template.translation import Json

type Metric = tuple[str, str, frozenset[tuple[str, str]]]  # namespace, name, dimensions
type Series = Sequence[float | None]  # oldest first

_BREACHES: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
}
_STATISTICS: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "Sum": sum,
    "Maximum": max,
    "Minimum": min,
    "p99": max,  # of fewer than a hundred points
}
_SIGNS: Final[Mapping[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a metric, at a minute."""

    minute: float
    metric: Metric
    value: float


@dataclass(frozen=True, slots=True)
class Watched:
    """A metric as an alarm reads it."""

    metric: Metric
    statistic: str
    period: int  # seconds


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm on one metric or on an expression of several, as the template has it."""

    name: str
    expression: str
    watched: Mapping[str, Watched]
    breaches: Callable[[float, float], bool]
    threshold: float
    points: int  # M
    periods: int  # of N
    missing_breaches: bool
    warm_up: int  # minutes

    @classmethod
    def of(cls, properties: Json) -> Alarm:
        """Read the properties of an alarm, intrinsic functions worked out."""
        if "Metrics" in properties:
            (expression,) = (
                each["Expression"] for each in properties["Metrics"] if "Expression" in each
            )
            watched = {
                each["Id"]: Watched(
                    metric_of(each["MetricStat"]["Metric"]),
                    each["MetricStat"]["Stat"],
                    int(each["MetricStat"]["Period"]),
                )
                for each in properties["Metrics"]
                if "MetricStat" in each
            }
        else:
            expression = "m"
            one = Watched(metric_of(properties), properties["Statistic"], int(properties["Period"]))
            watched = {"m": one}
        return cls(
            name=properties["AlarmName"],
            expression=expression,
            watched=watched,
            breaches=_BREACHES[properties["ComparisonOperator"]],
            threshold=float(properties["Threshold"]),
            points=int(properties["DatapointsToAlarm"]),
            periods=int(properties["EvaluationPeriods"]),
            missing_breaches={"breaching": True, "notBreaching": False}[
                properties["TreatMissingData"]
            ],
            warm_up=int(
                properties.get("WarmUpConfiguration", {}).get("WarmUpPeriodDurationInMinutes", 0)
            ),
        )

    def rings(self, points: Iterable[Point], *, at: int, beyond: int = 2) -> bool:
        """Say whether it rings at a minute, having been made at minute 0.

        Parameters
        ----------
        beyond
            How many periods further back than told CloudWatch looks for points that are missing;
            that there are some is documented, how many is not.
        """
        if at < self.warm_up:
            return False
        known = list(points)
        series = {
            name: aggregated(each, known, at=at, periods=self.periods + beyond)
            for name, each in self.watched.items()
        }
        values = calculated(self.expression, series)
        return is_alarm(
            [None if value is None else self.breaches(value, self.threshold) for value in values],
            points=self.points,
            periods=self.periods,
            missing_breaches=self.missing_breaches,
        )


def is_alarm(
    breaching: Sequence[bool | None], *, points: int, periods: int, missing_breaches: bool
) -> bool:
    """Apply "M out of N": missing points are filled in only where the others are too few."""
    real = [each for each in breaching if each is not None][-periods:]
    filled = (periods - len(real)) * missing_breaches
    return sum(real) + filled >= points


def aggregated(watched: Watched, points: Iterable[Point], *, at: int, periods: int) -> Series:
    """Put a metric's points into the periods that end at a minute."""
    gathered: dict[int, list[float]] = defaultdict(list)
    for point in points:
        age = (at - point.minute) * 60 / watched.period
        if point.metric == watched.metric and 0 < age <= periods:
            gathered[periods - ceil(age)].append(point.value)
    statistic = _STATISTICS[watched.statistic]
    return [statistic(gathered[n]) if n in gathered else None for n in range(periods)]


def calculated(expression: str, series: Mapping[str, Series]) -> Series:
    """Work out a metric-math expression of FILL, numbers and + * /, point by point."""
    (length,) = {len(each) for each in series.values()}
    tree = ast.parse(expression, mode="eval").body
    return [_value(tree, {name: each[n] for name, each in series.items()}) for n in range(length)]


def _value(node: ast.expr, names: Mapping[str, float | None]) -> float | None:
    match node:
        case ast.Constant(int() | float() as number):
            return number
        case ast.Name(name):
            return names[name]
        case ast.Call(ast.Name("FILL"), [ast.Name(name), ast.Constant(int() as instead)], []):
            value = names[name]
            return instead if value is None else value
        case ast.BinOp(left, sign, right):
            one, other = _value(left, names), _value(right, names)
            return None if one is None or other is None else _SIGNS[type(sign)](one, other)
    raise ValueError(f"no such metric math here: {ast.unparse(node)}")


def metric_of(named: Mapping[str, Any]) -> Metric:
    """Read what identifies a metric."""
    dimensions = frozenset((each["Name"], each["Value"]) for each in named["Dimensions"])
    return named["Namespace"], named["MetricName"], dimensions


def embedded(line: Mapping[str, Any], *, minute: float) -> list[Point]:
    """Take the metrics out of a line in the embedded format.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    return [
        Point(
            minute,
            (
                directive["Namespace"],
                metric["Name"],
                frozenset((name, line[name]) for name in names),
            ),
            value,
        )
        for directive in line["_aws"]["CloudWatchMetrics"]
        for names in directive["Dimensions"]
        for metric in directive["Metrics"]
        for value in line[metric["Name"]]
    ]


def filtered(properties: Json, line: Mapping[str, Any], *, minute: float) -> list[Point]:
    """Let a metric filter take its metric out of a log line, if the line has the field.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntaxForMetricFilters.html
    """
    found = re.fullmatch(r"\{ (\$[\w.]+) = \* \}", properties["FilterPattern"])
    assert found is not None
    (made,) = properties["MetricTransformations"]
    if _field(line, found[1]) is None:
        return []
    dimensions = frozenset(
        (each["Key"], _field(line, each["Value"])) for each in made["Dimensions"]
    )
    metric = (made["MetricNamespace"], made["MetricName"], dimensions)
    return [Point(minute, metric, float(_field(line, made["MetricValue"])))]


def _field(line: Any, path: str) -> Any:
    for name in path.removeprefix("$.").split("."):
        line = line.get(name) if isinstance(line, Mapping) else None
    return line
