"""Read CloudWatch Logs, AWS's or the local cloud's, without losing or repeating a line."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAGE: Final = 10_000


@dataclass(frozen=True)
class LogEvent:
    """One line of one log group; `key` names it, so that reading it twice counts once."""

    key: str
    timestamp_ms: int
    text: str


def read_events(
    client: Any, group: str, *, since_ms: int, until_ms: int | None = None, containing: str = ""
) -> Iterator[LogEvent]:
    """Read a group's events between the two moments, oldest first, each once.

    `containing` is a text without quotation marks. `client` is a boto3 client of `logs`.
    """
    options: dict[str, Any] = {"logGroupName": group, "limit": _PAGE}
    if containing:
        options["filterPattern"] = f'"{containing}"'
    if until_ms is not None:
        options["endTime"] = until_ms
    seen: set[str] = set()
    while True:
        events: list[dict[str, Any]] = []
        before = len(seen)
        for page in client.get_paginator("filter_log_events").paginate(
            **options, startTime=since_ms
        ):
            events = page["events"]
            repeated: Counter[str] = Counter()
            for event in events:
                key = _key(event, repeated)
                if key not in seen:
                    seen.add(key)
                    yield LogEvent(key, event["timestamp"], event["message"].rstrip("\n"))
        # MiniStack ends at a full page and gives no token for the next: go on from its last event.
        if len(events) < _PAGE or len(seen) == before:
            return
        since_ms = events[-1]["timestamp"]


def _key(event: dict[str, Any], repeated: Counter[str]) -> str:
    if "eventId" in event:
        return str(event["eventId"])
    # MiniStack names no events; equal ones of the same moment are told apart by their order.
    content = f"{event['logStreamName']} {event['timestamp']} {event['message']}"
    repeated[content] += 1
    return f"{repeated[content]} {content}"
