"""How long an invocation would take with another memory size. Pure; everything here is modelled.

Lambda gives CPU in proportion to memory and a whole one at 1,769 MB; an emulator gives a whole one
at any size. The model: the CPU part of an invocation is stretched by the share of a core, waiting
is not. It takes this machine's core for Lambda's, waiting for a busy core for waiting, and errs on
the slow side: with many calls in flight, one user's CPU runs while the others wait.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

VCPU_MB: Final = 1769


@dataclass(frozen=True, slots=True)
class Invocations:
    """The invocations of one function in a run.

    Parameters
    ----------
    count
        How many.
    wall_s, cpu_s
        Seconds of one, on average, with a core to itself: in the handler, and of CPU.
    """

    count: int
    wall_s: float
    cpu_s: float

    def seconds_at(self, memory_mb: int) -> float:
        """Seconds that one takes with so much memory.

        More than a whole core does not help: a handler runs one thread of Python.
        """
        share = min(memory_mb / VCPU_MB, 1)
        waiting = max(self.wall_s - self.cpu_s, 0)
        return waiting + self.cpu_s / share

    def gb_s_at(self, memory_mb: int) -> float:
        """Gigabyte-seconds that all of them are billed, each up to the millisecond."""
        milliseconds = ceil(self.seconds_at(memory_mb) * 1000)
        return self.count * milliseconds / 1000 * memory_mb / 1024
