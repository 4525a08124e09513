"""A clock that only sleeping moves."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Clock:
    """Stands in for `time.monotonic`, when it is called, and for `time.sleep`."""

    now: float = 0.0
    pauses: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
