"""CPU seconds of the local cloud's processes, read from /proc."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from batchctl.local import processes
from batchctl.local.databases import DatabaseKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchctl.local.processes import ProcessId

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
# utime, stime, cutime and cstime, counted from the state, the first field after the name.
# https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
_TIMES: Final = slice(11, 15)


@dataclass(frozen=True, slots=True)
class CpuSeconds:
    """CPU seconds since the processes began, or between two readings.

    Parameters
    ----------
    database, api, emulator
        Of the three servers, the emulator without the functions' workers.
    functions
        Of each function's workers, by its name.
    """

    database: float = 0.0
    api: float = 0.0
    emulator: float = 0.0
    functions: Mapping[str, float] = field(default_factory=dict)

    def since(self, earlier: CpuSeconds) -> CpuSeconds:
        """What was used between an earlier reading and this one."""
        return CpuSeconds(
            database=self.database - earlier.database,
            api=self.api - earlier.api,
            emulator=self.emulator - earlier.emulator,
            functions={
                name: seconds - earlier.functions.get(name, 0.0)
                for name, seconds in self.functions.items()
            },
        )

    @property
    def all_functions(self) -> float:
        """Of all workers together."""
        return sum(self.functions.values())


def read(home: Path) -> CpuSeconds:
    """Read the CPU seconds of the cloud at `home`, children that have ended included."""
    functions: defaultdict[str, float] = defaultdict(float)
    emulator = 0.0
    for process in processes.find(home, "ministack"):
        seconds = seconds_of(process.pid)
        name = _function(process)
        if name:
            functions[name] += seconds
        else:
            emulator += seconds
    return CpuSeconds(
        database=sum(seconds for kind in DatabaseKind for seconds in _of_role(home, kind)),
        api=sum(_of_role(home, "sampleapi")),
        emulator=emulator,
        functions=dict(functions),
    )


def seconds_of(pid: int) -> float:
    """CPU seconds of a process and of its children that have ended; 0 when it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    fields = stat[stat.rindex(")") + 2 :].split()  # the name before it may contain anything
    return sum(map(int, fields[_TIMES])) / _TICKS_PER_S


def _of_role(home: Path, role: str) -> Iterator[float]:
    return (seconds_of(process.pid) for process in processes.find(home, role))


def _function(process: ProcessId) -> str:
    """The function that a worker of the emulator runs; empty for the emulator itself."""
    wanted = b"AWS_LAMBDA_FUNCTION_NAME="
    try:
        environ = Path(f"/proc/{process.pid}/environ").read_bytes()
    except OSError:
        return ""
    for variable in environ.split(b"\0"):
        if variable.startswith(wanted):
            return variable.removeprefix(wanted).decode()
    return ""
