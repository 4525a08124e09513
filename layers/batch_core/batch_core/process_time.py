"""What this process has taken of its machine, as the kernel counts it.

On Lambda only the duration is billed. On a machine that many environments share, a duration also
holds the time in which others had the processor; the cost model takes that out again.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Effort:
    """Milliseconds since the process began.

    Parameters
    ----------
    cpu
        On a processor, all threads together.
    queued
        Ready to run while others had the processor: the main thread, which does the work.
    """

    cpu: float = 0.0
    queued: float = 0.0

    @classmethod
    def read(cls) -> Self:
        """Read what there is by now.

        https://docs.kernel.org/scheduler/sched-stats.html#proc-pid-schedstat
        """
        try:
            queued = int(Path("/proc/self/schedstat").read_text(encoding="ascii").split()[1]) / 1e6
        except (OSError, IndexError, ValueError):  # not Linux, or built without it
            queued = 0.0
        return cls(time.process_time() * 1000, queued)

    def since(self, earlier: Effort) -> Effort:
        """What was taken from an earlier reading to this one."""
        return Effort(self.cpu - earlier.cpu, self.queued - earlier.queued)

    def figures(self, prefix: str = "") -> dict[str, float]:
        """As the meter's line carries them."""
        return {
            f"{prefix}cpu_ms": round(self.cpu, 1),
            f"{prefix}queued_ms": round(self.queued, 1),
        }


def age_ms() -> float:
    """How long ago this process began: read while handlers are imported, that is INIT."""
    try:
        # The command's name, in parentheses, may hold spaces; fields are counted behind it.
        stat = Path("/proc/self/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        started_ticks = int(stat[19])
        uptime = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    except OSError:  # not Linux: a developer's laptop
        return 0.0
    return (uptime - started_ticks / os.sysconf("SC_CLK_TCK")) * 1000
