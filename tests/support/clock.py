"""A clock that only sleeping moves."""

from __future__ import annotations

from collections.abc import Callable


class Clock:
    """Stands in for `time.monotonic`, when it is called, and for `time.sleep`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        self._events: list[tuple[float, Callable[[], object]]] = []

    def __call__(self) -> float:
        return self.now

    def at(self, moment: float, action: Callable[[], object]) -> None:
        """Act once, in the sleep that passes the moment."""
        self._events.append((moment, action))

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.pauses.append(seconds)
        self.now += seconds
        for event in [event for event in self._events if event[0] <= self.now]:
            self._events.remove(event)
            event[1]()
