"""From the bucket to the stream, so that a kill at any moment loses nothing.

An object leaves its place before its records go on the stream: the writer puts aside what it still
cannot store under the same key, perhaps at once, and that must be neither overwritten nor moved
along. While its records are on their way it lies below `replaying/`, where the next replay begins.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from batchctl.replay.bucket import MissingError
from batchctl.replay.put_aside import GIVEN_UP, QUARANTINE, Kind, understand

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from batch_core.ports import RecordStream
    from batchctl.replay.bucket import Bucket

REPLAYING: Final = "replaying/"
REPLAYED: Final = "replayed/"


@dataclass(frozen=True, slots=True)
class Found:
    """An object that can be put back; its records stay in the bucket until then."""

    key: str
    modified: datetime
    kind: Kind
    runs: frozenset[str]
    records: int
    rows: int
    errors: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Survey:
    """What lies in the bucket.

    Parameters
    ----------
    found
        What can be put back, in the order in which to do it.
    unreadable
        Why an object cannot be read, by its key.
    """

    found: list[Found] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)


def survey(bucket: Bucket, run: str | None = None) -> Survey:
    """Look at everything that was put aside, or at what holds records of one run only."""
    seen = Survey()
    for prefix in (REPLAYING, QUARANTINE, GIVEN_UP):
        for entry in bucket.entries(prefix):
            try:
                read = understand(_home(entry.key), bucket.read(entry.key))
            except MissingError:
                continue  # somebody else is putting it back
            except ValueError as error:
                seen.unreadable[entry.key] = str(error)
                continue
            if run is None or run in read.runs:
                seen.found.append(
                    Found(
                        key=entry.key,
                        modified=entry.modified,
                        kind=read.kind,
                        runs=read.runs,
                        records=len(read.records),
                        rows=read.rows,
                        errors=read.errors,
                    )
                )
    return seen


def put_back(bucket: Bucket, stream: RecordStream, key: str) -> bool:
    """Put the records of an object on the stream, and tell whether it was still there.

    Raises
    ------
    StreamError
        When the stream does not take all of them; the next replay tries the object again.
    """
    home = _home(key)
    try:
        records = understand(home, bucket.read(key)).records
        if key == home:
            bucket.move(home, REPLAYING + home)
        stream.put(records)
        bucket.move(REPLAYING + home, REPLAYED + home)
    except MissingError:
        return False
    return True


def _home(key: str) -> str:
    """The key under which it was put aside."""
    return key.removeprefix(REPLAYING)
