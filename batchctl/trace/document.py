"""A run's timeline for a program."""

from __future__ import annotations

from typing import Any

from batchctl.trace.timeline import Trace
from batchctl.trace.users import Journey


def document(trace: Trace, where: str, journey: Journey | None) -> dict[str, Any]:
    """The trace for a program: everything, times in milliseconds from the start of the run."""

    def at(moment: float | None) -> float | None:
        return None if moment is None else round(moment - trace.began_ms, 1)

    said: dict[str, Any] = {
        "run_id": trace.run_id,
        "where": where,
        "execution": trace.execution,
        "began_ms": round(trace.began_ms),
        "took_ms": at(trace.ended_ms),
        "ending": trace.ending,
        "listed": trace.listed,
        "workflow_log": {
            "coverage": trace.log, "events": trace.events, "missing": trace.missing_events,
        },
        "starts": [
            {"at_ms": at(each.at_ms), "execution": each.execution, "decision": each.decision}
            for each in trace.starts
        ],
        "failures": [
            {
                "at_ms": at(each.at_ms), "state": each.state, "function": each.function,
                "chunk": each.chunk, "group": each.group, "error": each.error,
                "cause": each.cause, "request_id": each.request_id, "then": each.then,
            }
            for each in trace.failures
        ],
        "users_without_row": [
            {
                "outcome": outcome, "error": error, "users": users,
                "examples": [
                    {"user": each.user, "chunk": each.chunk, "group": each.group}
                    for each in trace.examples.get((outcome, error), [])
                ],
            }
            for (outcome, error), users in trace.without_row.items()
        ],
        "states": [
            {
                "state": each.state, "chunk": each.chunk, "group": each.group,
                "began_ms": at(each.began_ms), "ended_ms": at(each.ended_ms),
                "attempts": each.attempts,
            }
            for each in trace.visits
        ],
        "steps": [
            {
                "state": each.state, "chunk": each.chunk, "group": each.group,
                "began_ms": at(each.began_ms), "ended_ms": at(each.ended_ms),
                "attempts": each.attempts, "cold": each.cold, "init_ms": each.init_ms,
                "failed": each.failed,
            }
            for each in trace.steps
        ],
        "writes": [
            {
                "at_ms": at(each.at_ms), "records": each.records, "rows": each.rows,
                "groups": each.groups,
            }
            for each in trace.writes
        ],
    }  # fmt: skip
    if journey is not None:
        said["user"] = {
            "user": journey.user,
            "pseudonym": journey.pseudonym,
            "chunk": journey.chunk,
            "group": journey.group,
            "outcome": journey.outcome,
            "certain": journey.certain,
            "stops": [
                {"at_ms": at(stop.at_ms), "where": stop.where, "what": stop.what}
                for stop in journey.stops
            ],
        }
    return said
