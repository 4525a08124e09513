"""What the events of an execution say: which states were visited, and what failed where. Pure.

A failing event names neither its state nor its function, so both are looked up along the events
that led to it. Events may be missing, late, or delivered twice; where the way back is broken, the
place of an event is not known and nothing is guessed.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from batchctl.run.verdict import innermost
from batchctl.trace.events import Event

CHUNKS: Final = "For Each Chunk"
GROUPS: Final = "For Each Group"
# What fails because something within it has failed.
_CONSEQUENCES: Final = frozenset({"MapIterationFailed", "MapIterationAborted", "MapStateFailed"})
_FAILING: Final = ("Failed", "TimedOut", "Aborted")
_ENDED: Final = frozenset(
    {"ExecutionSucceeded", "ExecutionFailed", "ExecutionTimedOut", "ExecutionAborted"}
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the workflow an event happened, as far as the events before it tell.

    Parameters
    ----------
    state, visit
        The state that was entered last, and the number of that event.
    function
        The function that was called last in it.
    iterations
        The iterations of Maps around it, the outermost first.
    """

    state: str = ""
    visit: int | None = None
    function: str = ""
    iterations: tuple[tuple[str, int], ...] = ()

    @property
    def chunk(self) -> int | None:
        """The index of the chunk."""
        return dict(self.iterations).get(CHUNKS)

    @property
    def group(self) -> int | None:
        """The index of the group within its chunk."""
        return dict(self.iterations).get(GROUPS)

    def after(self, event: Event) -> Place:
        """The place of an event that this one led to."""
        name = str(event.details.get("name") or "")
        if event.type.endswith("StateEntered"):
            return replace(self, state=name, visit=event.id, function="")
        if event.type == "TaskScheduled":
            return replace(self, function=_function(event.details))
        if event.type == "MapIterationStarted":
            index = int(event.details.get("index") or 0)
            return Place(iterations=(*self._outside(name), (name, index)))
        if event.type == "MapStateExited":
            return Place(state=name, iterations=self._outside(name))
        return self

    def _outside(self, map_name: str) -> tuple[tuple[str, int], ...]:
        """The iterations around a Map.

        With one iteration at a time, an iteration follows from the last event of the one before,
        so what is remembered may be inside the same Map.
        """
        names = [name for name, _ in self.iterations]
        return self.iterations[: names.index(map_name)] if map_name in names else self.iterations


@dataclass(frozen=True, slots=True)
class Visit:
    """A state that was entered; `ended_ms` is None if nothing tells of its end."""

    state: str
    chunk: int | None
    group: int | None
    began_ms: int
    ended_ms: int | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that failed.

    Parameters
    ----------
    state, function, chunk, group
        Where; empty or None where the events before it are not known.
    error, cause
        The class and the message of what was raised.
    request_id
        Lambda's name for the invocation, if the cause holds it.
    then
        What the workflow did: ``retried``, ``caught``, ``ended the run``, or empty if unknown.
    """

    at_ms: int
    error: str
    cause: str
    state: str = ""
    function: str = ""
    chunk: int | None = None
    group: int | None = None
    request_id: str = ""
    then: str = ""


class History:
    """The events of one execution, each once, in the order of their numbers."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.events = sorted({event.id: event for event in events}.values(), key=_number)
        self._places: dict[int, Place] = {}
        self._followed_by: dict[int, set[str]] = defaultdict(set)
        for event in self.events:
            before = self._places.get(event.previous or 0, Place())
            self._places[event.id] = before.after(event)
            if event.previous is not None:
                self._followed_by[event.previous].add(event.type)

    @property
    def missing(self) -> int:
        """How many events did not arrive, as far as their numbers tell."""
        return self.events[-1].id - len(self.events) if self.events else 0

    @property
    def complete(self) -> bool:
        """Whether the log tells of every state, and not of errors only."""
        return any(event.type.endswith("StateEntered") for event in self.events)

    @property
    def ending(self) -> Event | None:
        """The event that ended the execution."""
        return next((event for event in self.events if event.type in _ENDED), None)

    def place_of(self, event: Event) -> Place:
        """Where an event of this history happened."""
        return self._places[event.id]

    def visits(self) -> list[Visit]:
        """The states that were entered, in that order."""
        attempts = Counter(
            self.place_of(event).visit for event in self.events if event.type == "TaskScheduled"
        )
        exits = self._exits()
        found = []
        for event in self.events:
            if event.type.endswith("StateEntered"):
                place = self.place_of(event)
                found.append(
                    Visit(
                        place.state,
                        place.chunk,
                        place.group,
                        event.at_ms,
                        exits.get(event.id),
                        attempts[event.id],
                    )
                )
        return found

    def failures(self) -> list[Failure]:
        """What failed, in the order of time; consequences only when their causes are missing."""
        failing = [event for event in self.events if event.type.endswith(_FAILING)]
        causes = [event for event in failing if event.type not in _CONSEQUENCES]
        return [self._failure(event) for event in causes or failing]

    def _exits(self) -> dict[int | None, int]:
        """When each state was left, by the event that entered it."""
        exits: dict[int | None, int] = {}
        entered: dict[tuple[str, object], int] = {}
        for event in self.events:
            place = self.place_of(event)
            if event.type.endswith("StateEntered"):
                entered[place.state, place.iterations] = event.id
            elif event.type.endswith("StateExited"):
                name = str(event.details.get("name") or "")
                # What is after a Map, or after nothing that is known, does not say which event
                # entered it: one of the same name did, within the same iterations.
                here = place.state == name and place.visit is not None
                visit = place.visit if here else entered.get((name, place.iterations))
                exits[visit] = event.at_ms
        return exits

    def _failure(self, event: Event) -> Failure:
        place = self.place_of(event)
        cause = str(event.details.get("cause") or "")
        error, message = innermost(str(event.details.get("error") or event.type), cause)
        in_state = event.type not in _ENDED
        return Failure(
            at_ms=event.at_ms,
            error=error,
            cause=message,
            state=_state_of(event, place) if in_state else "",
            function=place.function if in_state else "",
            chunk=place.chunk,
            group=place.group,
            request_id=_request_id(cause),
            then=self._then(event),
        )

    def _then(self, event: Event) -> str:
        if event.type in _ENDED:
            return "ended the run"
        followers = self._followed_by[event.id]
        if "TaskScheduled" in followers:
            return "retried"
        if any(type_.endswith("StateExited") for type_ in followers):
            return "caught"
        return "ended the run" if followers & _ENDED else ""


def _number(event: Event) -> int:
    return event.id


def _state_of(event: Event, place: Place) -> str:
    """The state; an expression that failed, and an iteration, name theirs."""
    return str(event.details.get("state") or event.details.get("name") or place.state)


def _function(details: Mapping[str, Any]) -> str:
    """The function that a task calls, where the log has its parameters."""
    try:
        return str(json.loads(details["parameters"])["FunctionName"]).rpartition(":")[2]
    except (KeyError, ValueError, TypeError):
        return ""


def _request_id(cause: str) -> str:
    try:
        return str(json.loads(cause).get("requestId") or "")
    except (ValueError, AttributeError):
        return ""
