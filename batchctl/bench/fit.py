"""How a figure grows with the number of users. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """``y = factor * x ** exponent``."""

    factor: float
    exponent: float

    def __call__(self, x: float) -> float:
        """The fitted value at `x`."""
        return float(self.factor * x**self.exponent)


def power_law(points: Sequence[tuple[float, float]]) -> PowerLaw:
    """Fit a power law by least squares of the logarithms; all numbers must be positive.

    Raises ValueError with fewer than two different x.
    """
    xs, ys = [log(x) for x, _ in points], [log(y) for _, y in points]
    if len(set(xs)) < 2:
        raise ValueError("a curve needs two points")
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    covariance = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True))
    exponent = covariance / sum((x - x_mean) ** 2 for x in xs)
    return PowerLaw(exp(y_mean - exponent * x_mean), exponent)


def spread(values: Sequence[float]) -> float:
    """How many times the smallest the largest is: 1 is flat.

    Raises ValueError when there are none.
    """
    if not values:
        raise ValueError("no values")
    return max(values) / min(values)
