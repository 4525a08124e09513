"""How long an invocation seen here would take on Lambda. Pure; everything here is modelled.

Lambda gives CPU in proportion to memory and a whole core at 1,769 MB; an emulator gives what the
machine has. The model: the CPU part of an invocation is stretched by the share of a core, waiting
is not, and the time in which other processes had the processor does not exist there. It takes this
machine's core for Lambda's, and errs on the slow side: with many calls in flight, one user's CPU
runs while the others wait.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

VCPU_MB: Final = 1769


@dataclass(frozen=True, slots=True)
class Time:
    """Where the milliseconds of an invocation, or of many, went.

    Parameters
    ----------
    wall
        From start to end.
    cpu
        On the processor.
    queued
        Ready for it, while others had it.
    """

    wall: float
    cpu: float = 0.0
    queued: float = 0.0

    def __add__(self, other: Time) -> Time:
        return Time(self.wall + other.wall, self.cpu + other.cpu, self.queued + other.queued)

    def at(self, memory_mb: int) -> float:
        """Milliseconds with so much memory.

        More than a whole core does not help: a handler runs one thread of Python.
        """
        share = min(memory_mb / VCPU_MB, 1)
        waiting = max(self.wall - self.cpu - self.queued, 0)
        return waiting + self.cpu / share

    def gb_s_at(self, memory_mb: int) -> float:
        """Gigabyte-seconds billed for it, up to the millisecond."""
        return ceil(self.at(memory_mb)) / 1000 * memory_mb / 1024
