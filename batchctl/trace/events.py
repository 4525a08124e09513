"""Events of the workflow, as an Express log or an execution's history tells them. Pure.

An Express log has one JSON object per event, in which nearly everything is text:
https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
Its `details` are those of the same event in a history:
https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Event:
    """One event of one execution.

    Parameters
    ----------
    id
        Its number; they grow, but not every one need arrive.
    previous
        The event that led to it; None where nobody says, as on the local cloud.
    """

    id: int
    type: str
    at_ms: int
    previous: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_log(cls, text: str) -> Self | None:
        """Read one line of an Express log; None for one that is none."""
        try:
            told = json.loads(text)
            return cls(
                id=int(told["id"]),
                type=str(told["type"]),
                at_ms=int(told["event_timestamp"]),
                previous=int(told.get("previous_event_id", 0)) or None,
                details=told.get("details") or {},
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    @classmethod
    def from_history(cls, told: Mapping[str, Any]) -> Self:
        """Read one event as boto3 returns it."""
        details: Mapping[str, Any] = next(
            (told[key] for key in told if key.endswith("EventDetails")), {}
        )
        return cls(
            id=int(told["id"]),
            type=str(told["type"]),
            at_ms=round(told["timestamp"].timestamp() * 1000),
            previous=told.get("previousEventId") or None,
            details=details,
        )
