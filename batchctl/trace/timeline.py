"""One run's timeline: the workflow's events and the functions' lines, joined. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from batchctl.run.collect import Collector
from batchctl.run.lines import (
    FUNCTIONS,
    LISTED,
    WRITE_ROWS,
    Example,
    FailedGroup,
    Invocation,
    Notice,
    Received,
    Start,
)
from batchctl.trace.history import Failure, History, Visit

# A failing event comes so long after the last line of its invocation, at most.
_AFTER_MS: Final = 2_000

type Slice = tuple[str, int | None, int | None]


@dataclass(frozen=True, slots=True)
class Step:
    """One visit of a state, or of the writer: all its invocations, from the first to the last.

    Parameters
    ----------
    chunk, group
        The slice of the run; None where there is none.
    attempts
        Invocations, those included that the workflow tells of and that logged nothing.
    cold
        How many of them began in a new environment.
    init_ms
        How long the first of these took to start.
    failed
        Whether every attempt failed.
    """

    state: str
    chunk: int | None
    group: int | None
    began_ms: float
    ended_ms: float
    attempts: int
    cold: int
    init_ms: float
    failed: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """What happened within one chunk."""

    n: int
    steps: Sequence[Step]

    @property
    def began_ms(self) -> float:
        """When its first step began."""
        return min(step.began_ms for step in self.steps)

    @property
    def ended_ms(self) -> float:
        """When its last step ended."""
        return max(step.ended_ms for step in self.steps)

    @property
    def groups(self) -> int:
        """How many groups were begun."""
        return len({step.group for step in self.steps})

    @property
    def troubles(self) -> int:
        """Steps that failed or were tried again."""
        return sum(step.failed or step.attempts > 1 for step in self.steps)


@dataclass(frozen=True, slots=True)
class Trace:
    """What is known about one run.

    Parameters
    ----------
    starts
        The executions that were started for it; one of them did the work.
    ending
        The type of the event that ended it; empty when nobody tells.
    log
        How much of the workflow's log there is: ``every event``, ``errors only``, ``nothing``.
    events, missing_events
        How many events arrived, and how many numbers were left out.
    steps
        In the order they began.
    writes
        What the writer received of this run, joined by its name.
    """

    run_id: str
    starts: Sequence[Start]
    ending: str
    log: str
    events: int
    missing_events: int
    began_ms: float
    ended_ms: float
    listed: int | None
    steps: Sequence[Step]
    visits: Sequence[Visit]
    failures: Sequence[Failure]
    writes: Sequence[Received]
    without_row: dict[tuple[str, str], int] = field(default_factory=dict)
    examples: dict[tuple[str, str], list[Example]] = field(default_factory=dict)
    notices: dict[Notice, int] = field(default_factory=dict)

    @property
    def chunks(self) -> list[Chunk]:
        """The run by chunk."""
        own: dict[int, list[Step]] = defaultdict(list)
        for step in self.steps:
            if step.chunk is not None:
                own[step.chunk].append(step)
        return [Chunk(n, steps) for n, steps in sorted(own.items())]

    @property
    def execution(self) -> str:
        """The execution that did the work; empty when no line names it."""
        return main_execution(self.starts)


def main_execution(starts: Sequence[Start]) -> str:
    """The execution that listed the users, else one that failed to, else the first."""
    tried = [start for start in starts if not start.left_alone]
    listing = [start for start in tried if start.decision == LISTED]
    return next((start.execution for start in [*listing, *tried, *starts]), "")


def trace_of(run_id: str, lines: Collector, history: History) -> Trace:
    """Join the functions' lines of a run with the events of its execution."""
    visits = history.visits()
    steps = sorted(_steps(lines.invocations, visits), key=lambda step: step.began_ms)
    moments = [event.at_ms for event in history.events] + [each.at_ms for each in lines.received]
    return Trace(
        run_id=run_id,
        starts=lines.starts,
        ending=history.ending.type if history.ending else "",
        log=_coverage(history),
        events=len(history.events),
        # Of errors only, nearly every number is left out on purpose.
        missing_events=history.missing if history.complete else 0,
        began_ms=min([*moments, *(step.began_ms for step in steps)], default=0),
        ended_ms=max([*moments, *(step.ended_ms for step in steps)], default=0),
        listed=lines.counts.listed,
        steps=steps,
        visits=visits,
        failures=_failures(history.failures(), lines.invocations, lines.failed_groups),
        writes=lines.received,
        without_row=dict(lines.failures),
        examples=lines.examples,
        notices=dict(lines.notices),
    )


def _coverage(history: History) -> str:
    if not history.events:
        return "nothing"
    return "every event" if history.complete else "errors only"


def _steps(invocations: Iterable[Invocation], visits: Iterable[Visit]) -> list[Step]:
    """Steps by what they worked on; the writer's invocations are a step each."""
    logged: dict[Slice, list[Invocation]] = defaultdict(list)
    steps = []
    for line in invocations:
        if line.state == WRITE_ROWS:
            steps.append(_step(line.slice, [line], 1))
        else:
            logged[line.slice].append(line)
    tried: Counter[Slice] = Counter()
    seen: dict[Slice, list[Visit]] = defaultdict(list)
    for visit in visits:
        if visit.state in FUNCTIONS:
            place = (visit.state, visit.chunk, visit.group)
            tried[place] += visit.attempts
            seen[place].append(visit)
    steps += [_step(place, own, max(len(own), tried[place])) for place, own in logged.items()]
    # Killed before it could log, or its line has not arrived.
    steps += [_unlogged(place, own) for place, own in seen.items() if place not in logged]
    return steps


def _step(place: Slice, lines: Sequence[Invocation], attempts: int) -> Step:
    inits = [line.init_ms for line in lines if line.init]
    return Step(
        *place,
        began_ms=min(line.started_ms - line.init_ms for line in lines),
        ended_ms=max(line.ended_ms for line in lines),
        attempts=attempts,
        cold=len(inits),
        init_ms=inits[0] if inits else 0,
        failed=all(line.failed or line.error for line in lines),
    )


def _unlogged(place: Slice, visits: Sequence[Visit]) -> Step:
    began = min(visit.began_ms for visit in visits)
    return Step(
        *place,
        began_ms=began,
        ended_ms=max(visit.ended_ms or began for visit in visits),
        attempts=sum(visit.attempts for visit in visits),
        cold=0,
        init_ms=0,
        failed=True,
    )


def _failures(
    told: Sequence[Failure], invocations: Iterable[Invocation], groups: Iterable[FailedGroup]
) -> list[Failure]:
    """What the workflow tells of failures, with the places that the functions' lines know.

    They are joined by Lambda's request id. Where a cause has none, a line stands for the failure
    that came right after it. A function that was killed has no line: Finish Run names its group.
    """
    raised = {id(line): line for line in invocations if line.state != WRITE_ROWS and line.error}
    by_request = {line.request_id: line for line in raised.values() if line.request_id}
    found = []
    for failure in told:
        line = by_request.get(failure.request_id) or _nearest(failure, raised.values())
        if line is None:
            found.append(_with_function(failure))
            continue
        raised.pop(id(line), None)
        found.append(_with_function(_in_words_of(line, failure)))
    found += [
        _with_function(
            Failure(
                at_ms=line.ended_ms,
                error=line.error,
                cause="",
                state=line.state,
                chunk=line.chunk,
                group=line.group,
                request_id=line.request_id,
            )
        )
        for line in raised.values()
    ]
    found = _placed(found, groups)
    return sorted(found, key=lambda failure: failure.at_ms)


def _placed(found: Sequence[Failure], groups: Iterable[FailedGroup]) -> list[Failure]:
    """Place the failures that have no state yet, and add the groups that nothing else tells of."""
    known = {(failure.chunk, failure.group) for failure in found if failure.state}
    left = [group for group in groups if (group.chunk, group.group) not in known]
    placed = []
    for failure in found:
        own = [group for group in left if group.error == failure.error]
        if own and not failure.state and failure.then != "ended the run":
            placed.append(_of_group(own[0], failure))
            # Of several groups each gets one; to a single one belong all its attempts.
            if len(own) > 1:
                left.remove(own[0])
        else:
            placed.append(failure)
    known |= {(failure.chunk, failure.group) for failure in placed}
    return placed + [
        _of_group(group, Failure(at_ms=group.at_ms, error=group.error, cause=""))
        for group in left
        if (group.chunk, group.group) not in known
    ]


def _of_group(group: FailedGroup, failure: Failure) -> Failure:
    return _with_function(replace(failure, state=group.state, chunk=group.chunk, group=group.group))


def _nearest(failure: Failure, lines: Iterable[Invocation]) -> Invocation | None:
    """The line of the invocation that a failing event without a request id came from."""
    if failure.request_id or failure.then == "ended the run":
        return None
    near = [
        line
        for line in lines
        if 0 <= failure.at_ms - line.ended_ms <= _AFTER_MS
        and failure.state in ("", line.state)
        and failure.group in (None, line.group)
        and failure.chunk in (None, line.chunk)
    ]
    return max(near, key=lambda line: line.ended_ms, default=None)


def _in_words_of(line: Invocation, failure: Failure) -> Failure:
    """A failure with what the function's own line tells better: where it was, and which class."""
    return replace(failure, error=line.error, state=line.state, chunk=line.chunk, group=line.group)


def _with_function(failure: Failure) -> Failure:
    """Name the function: one name goes from the state to the function."""
    if failure.function or failure.state not in FUNCTIONS:
        return failure
    return replace(failure, function=failure.state.lower().replace(" ", "_"))
