"""A run's timeline for a person: failures first, then who worked when, on one screen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from batchctl.run.figures import percentile
from batchctl.run.lines import CALL_API, FINISH_RUN, LIST_USERS, PROCESS_USERS, WRITE_ROWS
from batchctl.trace.history import Failure
from batchctl.trace.timeline import Chunk, Step, Trace
from batchctl.trace.users import Journey

# One screen; --json has everything, --chunk the groups of one.
_FAILURES: Final = 6
_CHUNKS: Final = 6
_CLASSES: Final = 4
_PLACES: Final = 3
_GROUPS: Final = 60
_BAR: Final = 28
_CAUSE_CHARS: Final = 160

_ENDINGS: Final = {
    "ExecutionSucceeded": ("✔ SUCCEEDED", "bold green"),
    "ExecutionFailed": ("✘ FAILED", "bold red"),
    "ExecutionTimedOut": ("✘ TIMED OUT", "bold red"),
    "ExecutionAborted": ("✘ ABORTED", "bold red"),
}


def shown(trace: Trace, where: str, chunk: int | None = None) -> RenderableType:
    """Lay out a trace; with `chunk`, the groups of that one."""
    parts: list[RenderableType] = [_headline(trace, where)]
    if trace.failures or trace.without_row or trace.notices:
        parts += ["", Text("Failures", style="bold"), Padding(_failures(trace), (0, 0, 0, 2))]
    parts += ["", Padding(_timeline(trace, chunk), (0, 0, 0, 0))]
    return Group(*parts)


def shown_journey(journey: Journey, began_ms: float) -> RenderableType:
    """Lay out what became of one user."""
    head = Text.assemble(
        (f"User {journey.user}", "bold"), ("  in logs ", "bright_black"), journey.pseudonym
    )
    lines = Table.grid(padding=(0, 2))
    lines.add_column(justify="right", no_wrap=True, style="bright_black")
    lines.add_column(no_wrap=True)
    lines.add_column(overflow="fold")
    for stop in journey.stops:
        at = "" if stop.at_ms is None else _seconds(stop.at_ms - began_ms)
        lines.add_row(at, stop.where, Text(stop.what))
    said = "Outcome  " if journey.certain else "Probably  "
    outcome = Text.assemble((said, "bold"), journey.outcome)
    return Group(head, Padding(lines, (0, 2)), outcome)


def _headline(trace: Trace, where: str) -> RenderableType:
    mark, style = _ENDINGS.get(trace.ending, ("? END NOT LOGGED", "bold yellow"))
    users = "" if trace.listed is None else f"  {trace.listed:,} users"
    took = f" in {(trace.ended_ms - trace.began_ms) / 1000:.2f} s"
    lines = Table.grid(expand=True)
    lines.add_column(ratio=1)
    lines.add_column(justify="right", no_wrap=True, style="bright_black")
    lines.add_row(Text.assemble((mark, style), (users + took, "bold")), trace.run_id)
    lines.add_row(Text(_coverage(trace), style="bright_black"), where)
    for start in trace.starts:
        if start.left_alone:
            lines.add_row(
                Text(f"{start.decision}: another start left the run alone", style="yellow"), ""
            )
    return lines


def _coverage(trace: Trace) -> str:
    said = f"the workflow logged {trace.log}"
    if trace.missing_events:
        said += f"; {trace.missing_events:,} of its events are missing"
    return said


def _failures(trace: Trace) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", no_wrap=True, style="bright_black")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    alike = _alike(trace.failures)
    for own in alike[:_FAILURES]:
        table.add_row(
            _seconds(own[0].at_ms - trace.began_ms),
            Text(_places(own), style="red"),
            _failure(own[0]),
        )
    if len(alike) > _FAILURES:
        left = sum(map(len, alike[_FAILURES:]))
        table.add_row("", "", Text(f"and {left:,} more", style="bright_black"))
    by_users = sorted(trace.without_row.items(), key=lambda item: -item[1])
    for (outcome, error), users in by_users[:_CLASSES]:
        examples = [
            f"{each.user} {_slice(each.chunk, each.group)}".rstrip()
            for each in trace.examples.get((outcome, error), [])[:2]
        ]
        told = f"{users:,} users: {error}"
        table.add_row(
            "",
            Text(outcome.replace("_", " "), style="yellow"),
            Text.assemble(
                told, (f", such as {', '.join(examples)}" if examples else "", "bright_black")
            ),
        )
    for notice, lines in sorted(trace.notices.items(), key=lambda item: item[0].level)[:_CLASSES]:
        detail = f": {notice.detail}" if notice.detail else ""
        table.add_row(
            "",
            Text(notice.state, style="yellow"),
            f"{notice.message}{detail}" + (f" ({lines:,} times)" if lines > 1 else ""),
        )
    return table


def _alike(failures: Iterable[Failure]) -> list[list[Failure]]:
    """Failures that differ in nothing but when and in which group, the gravest first."""
    found: dict[tuple[str, ...], list[Failure]] = defaultdict(list)
    for failure in failures:
        found[failure.state, failure.error, failure.cause, failure.then].append(failure)
    return sorted(found.values(), key=_gravity)


def _gravity(alike: Sequence[Failure]) -> tuple[bool, bool, float]:
    """What ended the run first, then what was not mended by trying again."""
    first = alike[0]
    return first.then != "ended the run", first.then == "retried", first.at_ms


def _places(alike: Sequence[Failure]) -> str:
    """Where failures were: the state, and some of the groups in it."""
    groups = sorted({(f.chunk or 0, f.group or 0, _slice(f.chunk, f.group)) for f in alike})
    named = ", ".join(told for *_, told in groups[:_PLACES] if told)
    more = f" +{len(groups) - _PLACES:,}" if len(groups) > _PLACES else ""
    return f"{alike[0].state or 'the run'} {named}{more}".rstrip()


def _failure(failure: Failure) -> Text:
    cause = (
        failure.cause if len(failure.cause) <= _CAUSE_CHARS else failure.cause[:_CAUSE_CHARS] + "…"
    )
    said = Text(failure.error)
    if failure.function:
        said.append(f" in {failure.function}")
    if failure.then:
        said.append(f" → {failure.then}", style="bold")
    if cause:
        said.append(f"\n{cause}", style="bright_black")
    return said


def _timeline(trace: Trace, chunk: int | None) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    table.add_column("Timeline", no_wrap=True)
    end = _seconds(trace.ended_ms - trace.began_ms)
    table.add_column(f"0{end:>{_BAR - 1}}", no_wrap=True, style="cyan")
    for heading in ("Steps", "Again", "Cold", "p50", "Longest"):
        table.add_column(heading, justify="right", no_wrap=True)
    draw = Scale(trace)
    _row(table, draw, LIST_USERS, _of(trace.steps, LIST_USERS))
    chunks = trace.chunks
    if chunk is None:
        for each in _worst(chunks):
            label = f"Chunk {each.n}  {each.groups:,} group(s)"
            _row(table, draw, label, each.steps, style="bold")
            for state in (CALL_API, PROCESS_USERS):
                _row(table, draw, f"  {state}", _of(each.steps, state))
        if len(chunks) > _CHUNKS:
            table.add_row(Text(f"and {len(chunks) - _CHUNKS} more chunks", style="bright_black"))
    else:
        _groups(table, draw, next((each for each in chunks if each.n == chunk), None))
    _row(table, draw, WRITE_ROWS, _of(trace.steps, WRITE_ROWS))
    _row(table, draw, FINISH_RUN, _of(trace.steps, FINISH_RUN))
    return table


def _worst(chunks: Sequence[Chunk]) -> list[Chunk]:
    """The chunks with the most trouble and then the longest, in the order of their numbers."""
    ranked = sorted(chunks, key=lambda each: (-each.troubles, each.began_ms - each.ended_ms))
    return sorted(ranked[:_CHUNKS], key=lambda each: each.n)


def _groups(table: Table, draw: Scale, chunk: Chunk | None) -> None:
    if chunk is None:
        table.add_row(Text("no such chunk", style="yellow"))
        return
    groups = sorted({step.group for step in chunk.steps}, key=lambda group: (group is None, group))
    for group in groups[:_GROUPS]:
        for state in (CALL_API, PROCESS_USERS):
            own = [step for step in _of(chunk.steps, state) if step.group == group]
            _row(table, draw, f"{_slice(chunk.n, group):>6} {state}", own)
    if len(groups) > _GROUPS:
        table.add_row(Text(f"and {len(groups) - _GROUPS} more groups", style="bright_black"))


class Scale:
    """Draws steps as cells of one bar, from the start of the run to its end."""

    def __init__(self, trace: Trace) -> None:
        self._began = trace.began_ms
        self._span = max(trace.ended_ms - trace.began_ms, 1)

    def __call__(self, steps: Iterable[Step]) -> Text:
        """Mark each cell in which a step was at work; a step is never invisible."""
        cells = [" "] * _BAR
        for step in steps:
            first = self._cell(step.began_ms)
            started = self._cell(step.began_ms + step.init_ms)
            for at in range(first, self._cell(step.ended_ms) + 1):
                starting = at < started
                if not (starting and cells[at] != " "):
                    cells[at] = "░" if starting else "█"
        return Text("".join(cells))

    def _cell(self, at_ms: float) -> int:
        return min(int((at_ms - self._began) / self._span * _BAR), _BAR - 1)


def _row(table: Table, draw: Scale, label: str, steps: Sequence[Step], style: str = "") -> None:
    if not steps:
        return
    took = [step.ended_ms - step.began_ms for step in steps]
    again = sum(step.attempts - 1 for step in steps)
    failed = sum(step.failed for step in steps)
    name = Text(label, style=style or ("red" if failed else ""))
    if failed:
        name.append(f"  ✘ {failed:,}", style="bold red")
    table.add_row(
        name,
        draw(steps),
        f"{len(steps):,}",
        Text(f"{again:,}" if again else "", style="yellow"),
        f"{sum(step.cold for step in steps) or ''}",
        _short(percentile(took, 50)),
        _short(max(took)),
    )


def _of(steps: Iterable[Step], state: str) -> list[Step]:
    return [step for step in steps if step.state == state]


def _slice(chunk: int | None, group: int | None) -> str:
    if group is None:
        return "" if chunk is None else f"{chunk}/?"
    return f"{'?' if chunk is None else chunk}/{group}"


def _seconds(ms: float) -> str:
    return f"{ms / 1000:.2f} s"


def _short(ms: float) -> str:
    return _seconds(ms) if ms >= 1000 else f"{ms:.0f} ms"
