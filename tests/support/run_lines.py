"""Log lines as the functions write them, and a reader that serves them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from batchctl.log_events import LogEvent

RUN = "demo-20261124T035543.809Z"


def invocation(
    state: str,
    group: int | None = None,
    chunk: int = 0,
    fields: Mapping[str, Any] | None = None,
    **meter: Any,
) -> str:
    """An `invocation` line."""
    line: dict[str, Any] = {"level": "INFO", "message": "invocation", "state": state}
    line |= fields or {}
    if state == "Write Rows":
        line["runs"] = [RUN]
    else:
        line["run_id"] = RUN
    if group is not None:
        line |= {"chunk": chunk, "group": group}
    figures = {"env_id": "e", "memory_mb": 512, "duration_ms": 10.0, "response_bytes": 50}
    figures |= {"cpu_ms": 4.0, "queued_ms": 1.0, "init_cpu_ms": 4.0, "init_queued_ms": 1.0}
    return json.dumps({**line, "meter": figures | meter})


def listed(
    users: int, admitted: int | None = None, execution: str = "", group_size: int = 100
) -> str:
    """What List Users logs."""
    line = {"message": "listed", "run_id": RUN, "execution": execution, "listed": users}
    asked = users if admitted is None else admitted
    return json.dumps(line | {"admitted": asked, "group_size": group_size})


def not_listed(decision: str, execution: str) -> str:
    """What List Users logs when it leaves the run to another execution."""
    line = {"message": "not listed", "run_id": RUN, "execution": execution}
    return json.dumps(line | {"decision": decision})


def received(rows: int, *groups: tuple[int, int]) -> str:
    """What Write Rows logs of a run's records."""
    line = {"message": "records received", "run_id": RUN, "records": 1, "rows": rows}
    return json.dumps(line | {"groups": [f"{chunk}-{group}-0" for chunk, group in groups]})


def without_a_row(**errors: int) -> str:
    """What Call API and Process Users log of users that got no row."""
    failures = [
        {"outcome": "rejected", "error": e, "users": n, "examples": [f"{e}-{i}" for i in range(3)]}
        for e, n in errors.items()
    ]
    line = {"level": "WARNING", "message": "users without a row", "run_id": RUN}
    return json.dumps(line | {"state": "Call API", "chunk": 0, "group": 2, "failures": failures})


def groups_failed(*groups: tuple[int, int, str, str]) -> str:
    """What Finish Run logs of groups: chunk, group, state, error."""
    names = ("chunk", "group", "state", "error")
    line = {"level": "ERROR", "message": "groups failed", "run_id": RUN, "count": len(groups)}
    told = [dict(zip(names, each, strict=True)) for each in groups]
    return json.dumps(line | {"state": "Finish Run", "groups": told})


def warned(message: str, **fields: Any) -> str:
    """What a function found worth a warning."""
    return json.dumps({"level": "WARNING", "message": message, "run_id": RUN, **fields})


class FakeLogs:
    """Log groups in memory; a line becomes readable when it is written."""

    def __init__(self) -> None:
        self.lines: dict[str, list[LogEvent]] = {}
        self.reads: list[tuple[str, int]] = []

    def write(self, state: str, text: str, at_ms: int = 0) -> None:
        events = self.lines.setdefault(state, [])
        events.append(LogEvent(f"{state}{len(events)}", at_ms, text))

    def events(self, state: str, *, since_ms: int, containing: str) -> Iterator[LogEvent]:
        self.reads.append((state, since_ms))
        for event in list(self.lines.get(state, [])):
            if event.timestamp_ms >= since_ms and containing in event.text:
                yield event


def write_a_complete_run(logs: FakeLogs, groups: int = 3, users_per_group: int = 100) -> None:
    """The lines of a run in which nothing went wrong."""
    logs.write("List Users", listed(groups * users_per_group))
    logs.write("List Users", invocation("List Users"))
    for group in range(groups):
        logs.write("Call API", invocation("Call API", group))
        logs.write(
            "Process Users", invocation("Process Users", group, records=1, rows=users_per_group)
        )
        logs.write("Write Rows", received(users_per_group))
        logs.write("Write Rows", invocation("Write Rows", records=1))
    logs.write("Finish Run", invocation("Finish Run"))
