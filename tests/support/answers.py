"""The answers of a group as Call API hands them on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from batch_core.answers import Answered, Gathering
from batch_core.user_state import Mark


def gathered(answered: Iterable[Answered], marks: Sequence[Mark] = ()) -> dict[str, Any]:
    """Gather answers that fit into one part."""

    def too_many(number: int, _part: bytes) -> dict[str, Any]:
        raise AssertionError(f"there are more answers than part {number} takes")

    gathering = Gathering(too_many)
    for each in answered:
        gathering.add(each)
    return gathering.to_json(marks)
