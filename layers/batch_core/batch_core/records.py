"""The record on the stream: the rows of one group, compressed, with what joins them to their run.

Rows are columnar (names once, values many) since a hundred rows share their names, and a record is
cut at the 25 KB that Kinesis bills as one unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from zlib import crc32

from batch_core.codec import (
    compress,
    decompress,
    dump_exact,
    dump_json,
    embedded,
    parse_exact,
    parse_json,
)
from batch_core.limits import KIB, PUT_UNIT_BYTES, RECORD_JSON_BYTES, RUN_SECONDS
from batch_core.outcomes import Outcome
from batch_core.user_state import Mark, can_be_marked

VERSION: Final = 1
# The same with numbers that `parse_json` would round; what does not know it must not read it.
EXACT_VERSION: Final = 2
# A record that inflates beyond this was not made here.
PLAIN_BYTES: Final = 16 * KIB * KIB
ATTEMPT_BITS: Final = 32

type Place = tuple[str, int, int, int, int, int]
"""Run, fence, chunk, group, attempt and part."""


@dataclass(frozen=True, slots=True)
class Record:
    """The rows of one group, or of a part of it.

    Parameters
    ----------
    tenant, run_id, chunk, group
        Where the rows come from.
    version
        The version of every row, milliseconds since 1970.
    trace_id, segment_id
        The X-Ray trace and segment of the invocation that put it on the stream.
    part
        0 unless the group did not fit into one record.
    columns
        The names of the values in each row; the first is the table's key.
    rows
        The values.
    failures
        The failures in a row, before this run, of those users in `rows` that had any: the writer
        knows by them who has recovered.
    marks
        What became of users of the group that have no row here and failed, or have recovered.
    replayed
        Put back by a person after its run had closed: the run's account leaves it out.
    fence
        The lease under which it was made.
    attempt
        Tells one attempt at the group from another, such as a retry: a number made of everything
        that bears on how the group is cut into parts.
    """

    tenant: str
    run_id: str
    chunk: int
    group: int
    version: int
    trace_id: str
    segment_id: str
    part: int
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    failures: tuple[tuple[int | str, int], ...] = ()
    marks: tuple[Mark, ...] = ()
    replayed: bool = False
    fence: int = 0
    attempt: int = 0

    @property
    def place(self) -> Place:
        """Its line in the ledger."""
        return self.run_id, self.fence, self.chunk, self.group, self.attempt, self.part

    def is_overdue(self, now: float) -> bool:
        """Whether its run is over, so that a later one may have asked for its users.

        `now` is in seconds since 1970.
        """
        return self.replayed or now * 1000 - self.version > RUN_SECONDS * 1000

    @property
    def partition_key(self) -> str:
        """Spreads groups over shards; order does not matter, since versions decide."""
        return f"{self.run_id}/{self.chunk}/{self.group}/{self.part}"


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row the database would not take, with why."""

    record: Record
    row: Sequence[object]
    outcome: Outcome
    error: str


def encode(record: Record) -> bytes:
    """Write a record as it travels."""
    return compress(_plain(record))


def _plain(record: Record) -> bytes:
    rows, wide = dump_exact(record.rows)
    return dump_json(
        {
            "v": EXACT_VERSION if wide else VERSION,
            "tenant": record.tenant,
            "run": record.run_id,
            "chunk": record.chunk,
            "group": record.group,
            "version": record.version,
            "trace": record.trace_id,
            "segment": record.segment_id,
            "part": record.part,
            "columns": record.columns,
            "rows": embedded(rows),
            "failures": record.failures,
            "marks": [mark.to_json() for mark in record.marks],
            "replayed": record.replayed,
            "fence": record.fence,
            "attempt": record.attempt,
        }
    )


def decode(data: bytes) -> Record:
    """Read a record.

    Raises
    ------
    ValueError
        When it is damaged, of an unknown version, or lacks a field.
    """
    plain = decompress(data, limit=PLAIN_BYTES)
    fields = parse_json(plain)
    try:
        if fields["v"] == EXACT_VERSION:
            fields = parse_exact(plain)
        elif fields["v"] != VERSION:
            raise ValueError(f"record version {fields['v']!r} is unknown here")
        columns = tuple(fields["columns"])
        rows = tuple(tuple(row) for row in fields["rows"])
        if any(len(row) != len(columns) for row in rows):
            raise ValueError("a row has not as many values as there are columns")
        return Record(
            tenant=str(fields["tenant"]),
            run_id=str(fields["run"]),
            chunk=int(fields["chunk"]),
            group=int(fields["group"]),
            version=int(fields["version"]),
            trace_id=str(fields["trace"]),
            segment_id=str(fields["segment"]),
            part=int(fields["part"]),
            columns=columns,
            rows=rows,
            failures=tuple(map(_failure, fields.get("failures", ()))),
            marks=tuple(map(Mark.from_json, fields.get("marks", ()))),
            replayed=fields.get("replayed") is True,
            fence=int(fields.get("fence", 0)),
            attempt=int(fields.get("attempt", 0)),
        )
    except (KeyError, TypeError, ArithmeticError) as error:
        raise ValueError(f"not a record of this project: {error}") from error


def _failure(value: Any) -> tuple[int | str, int]:
    match value:
        case [user_id, int(count)] if can_be_marked(user_id) and count > 0:
            return user_id, count
    raise ValueError("an entry of its failures is not [user_id, count]")


def encode_parts(record: Record, *, limit: int = PUT_UNIT_BYTES) -> list[tuple[Record, bytes]]:
    """Write a record in as few parts of at most `limit` bytes as halving gives.

    The partition key counts, as it does for Kinesis. None is longer than
    `limits.RECORD_JSON_BYTES` before it is packed, either. A single row or mark that is larger
    stays whole.
    """
    parts: list[tuple[Record, bytes]] = []
    record = replace(record, attempt=crc32(_plain(record)))
    _split(record, record.rows, record.marks, limit, parts)
    return parts


def _split(
    record: Record,
    rows: Sequence[tuple[Any, ...]],
    marks: Sequence[Mark],
    limit: int,
    parts: list[tuple[Record, bytes]],
) -> None:
    users = {row[0] for row in rows} if record.failures else set()
    part = replace(
        record,
        part=len(parts),
        rows=tuple(rows),
        failures=tuple(entry for entry in record.failures if entry[0] in users),
        marks=tuple(marks),
    )
    plain = _plain(part)
    alone = len(rows) + len(marks) <= 1
    if alone or len(plain) <= RECORD_JSON_BYTES:
        data = compress(plain)
        if alone or len(data) + len(part.partition_key) <= limit:
            parts.append((part, data))
            return
    row, mark = len(rows) // 2, (len(marks) + 1) // 2
    _split(record, rows[:row], marks[:mark], limit, parts)
    _split(record, rows[row:], marks[mark:], limit, parts)
