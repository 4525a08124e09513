"""What is published of a finished run: few metrics, since each is paid for, and a line of figures.

The alarms and the graphs read the metrics, the dashboard's table of the last runs the line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batch_core.limits import FINISH_SECONDS, RUN_SECONDS
from batch_core.outcomes import Outcome
from batch_core.run import Run


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """A run in figures.

    Parameters
    ----------
    counts, percents
        The metrics, by name and unit; each is paid for by the month.
    account
        What the log line says beside them, at no further price: the run's whole account.
    """

    counts: Mapping[str, int]
    percents: Mapping[str, float]
    account: Mapping[str, Any]

    @classmethod
    def of(cls, event: Mapping[str, Any], answer: Mapping[str, Any], *, now: float) -> RunMetrics:
        """Work them out from what Finish Run was given and what it answers.

        Parameters
        ----------
        now
            Seconds since 1970.
        """
        outcomes: Mapping[str, int] = answer["outcomes"]
        held_back: Mapping[str, int] = event.get("held_back") or {}
        quarantined = held_back.get("quarantined", 0)
        coverage = coverage_of(answer["listed"], outcomes, quarantined=quarantined)
        # Those that the states had rejected got no row; the writer put the others aside.
        put_aside = outcomes[Outcome.REJECTED] - int(event["tally"].get("rejected", 0))
        started_at = Run.from_json(event["run"]).ends_at - (RUN_SECONDS - FINISH_SECONDS)
        return cls(
            counts={
                "RunCompleted": int(answer["status"] == "completed"),
                "UsersListed": answer["listed"],
                "UsersQuarantined": quarantined,
                "UsersStopped": int(event.get("stopped") or 0),
                # Too many is as wrong as too few.
                "UsersUnaccounted": abs(answer["unaccounted"]),
                "RowsPutAside": max(put_aside, 0),
            },
            percents={"Coverage": coverage},
            account={
                "message": "run account",
                "run_id": answer["run_id"],
                "status": answer["status"],
                "seconds": round(now - started_at, 1),
                "coverage": coverage,
                "listed": answer["listed"],
                **outcomes,
                "kept": answer["kept"],
                "unaccounted": answer["unaccounted"],
                **held_back,
                "failed_groups": int(event.get("failed_groups") or 0),
            },
        )


def coverage_of(listed: int, outcomes: Mapping[str, int], *, quarantined: int) -> float:
    """How many percent of the users are up to date behind the run.

    Those in quarantine are known to fail and have a metric of their own; everybody else counts,
    whatever the run did not ask for them for.
    """
    due = listed - quarantined
    if due <= 0:
        return 100.0
    current = sum(outcomes[name] for name in (Outcome.STORED, Outcome.UNCHANGED, Outcome.GONE))
    return round(100 * current / due, 3)
