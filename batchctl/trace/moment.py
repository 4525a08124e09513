"""The moment that a run's name tells, and where to look for what it left."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from batch_core.run import Slot
from batchctl.errors import UsageError

_NAME: Final = re.compile(r"(?P<tenant>[a-z0-9-]+)-(?P<time>\d{8}T\d{6})(?:\.(?P<ms>\d{3}))?Z")
# Clocks differ, and a person may name a moment that is just ahead.
_BEFORE: Final = timedelta(minutes=2)
# A start may be delivered late, and the stream tries again for an hour.
_AFTER: Final = timedelta(hours=2)


def slot_of_run(run_id: str) -> Slot:
    """The slot that a run was named after.

    Raises UsageError when it is no name of a run.
    """
    found = _NAME.fullmatch(run_id)
    if found is None:
        raise UsageError(
            f"{run_id!r} is not the name of a run; one looks like acme-20260131T102000Z."
            " `batchctl run` prints it, and every log line carries it as run_id."
        )
    at = datetime.strptime(found["time"], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return Slot(found["tenant"], at + timedelta(milliseconds=int(found["ms"] or 0)))


def window(slot: Slot) -> tuple[int, int]:
    """From when until when a run may have logged, in milliseconds since 1970."""
    ends = (slot.at - _BEFORE, slot.at + _AFTER)
    return int(ends[0].timestamp() * 1000), int(ends[1].timestamp() * 1000)
