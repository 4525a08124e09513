"""What an object that was put aside means: from its key and its body to records for the stream."""

from __future__ import annotations

from base64 import b64decode
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from batch_core.codec import parse_exact, parse_json
from batch_core.records import Record, decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

QUARANTINE: Final = "quarantine/"
# Lambda chooses it for batches that an event source mapping gave up.
# https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
GIVEN_UP: Final = "aws/lambda/"

_ERROR_CHARS: Final = 50


class Kind(StrEnum):
    """Who put it aside, and what."""

    RECORD = "record"  # the writer: a record that it cannot read or that is not for it
    ROWS = "rows"  # the writer: the rows of a record that the database refused
    BATCH = "batch"  # Lambda: a batch that failed until its retries or its time were used up


@dataclass(frozen=True, slots=True)
class PutAside:
    """One object, understood.

    Parameters
    ----------
    runs
        The runs its records belong to, as far as the records can be read.
    rows
        How many rows those records hold.
    errors
        How often which class of error.
    records
        What goes back on the stream: (partition key, data) pairs.
    """

    kind: Kind
    runs: frozenset[str]
    rows: int
    errors: Mapping[str, int]
    records: tuple[tuple[str, bytes], ...]


def understand(key: str, body: bytes) -> PutAside:
    """Read an object that was put aside under this key.

    Raises
    ------
    ValueError
        When it is none of those that this project puts aside, or damaged.
    """
    read = {Kind.RECORD: _record, Kind.ROWS: _rows, Kind.BATCH: _batch}[_kind(key)]
    try:
        return read(key.rpartition("/")[2], parse_exact(body))
    except KeyError as error:
        raise ValueError(f"the field {error.args[0]} is missing") from error
    except (AttributeError, TypeError) as error:
        raise ValueError(f"a field is of the wrong type: {error}") from error


def _kind(key: str) -> Kind:
    if key.startswith(f"{QUARANTINE}records/"):
        return Kind.RECORD
    return Kind.BATCH if key.startswith(GIVEN_UP) else Kind.ROWS


def _record(name: str, fields: Mapping[str, Any]) -> PutAside:
    # Its partition key was not kept. The order of records does not matter, since versions decide.
    sequence_number = name.removesuffix(".json")
    data = b64decode(fields["data"], validate=True)
    return _as_it_was(Kind.RECORD, [(sequence_number, data)], [fields["error"]])


def _rows(_: str, fields: Mapping[str, Any]) -> PutAside:
    rejected = fields["rejected"]
    data = encode(
        Record(
            tenant=fields["tenant"],
            run_id=fields["run"],
            chunk=fields["chunk"],
            group=fields["group"],
            version=fields["version"],
            trace_id="",
            segment_id="",
            part=fields["part"],
            columns=tuple(fields["columns"]),
            rows=tuple(tuple(each["row"]) for each in rejected),
            replayed=True,
        )
    )
    record = decode(data)  # what the writer would not read must not leave the bucket
    return PutAside(
        kind=Kind.ROWS,
        runs=frozenset({record.run_id}),
        rows=len(record.rows),
        errors=_classes(each["error"] for each in rejected),
        records=((record.partition_key, data),),
    )


def _batch(name: str, fields: Mapping[str, Any]) -> PutAside:
    # The documentation shows the event as an object, and as JSON text within the JSON.
    payload = fields["payload"]
    event = parse_json(payload) if isinstance(payload, str) else payload
    deliveries = [each["kinesis"] for each in event["Records"]]
    records = [
        (str(each.get("partitionKey") or name), b64decode(each["data"], validate=True))
        for each in deliveries
    ]
    if not records:
        raise ValueError("it holds no records")
    return _as_it_was(Kind.BATCH, records, [fields["requestContext"]["condition"]])


def _as_it_was(kind: Kind, records: list[tuple[str, bytes]], errors: Iterable[str]) -> PutAside:
    readable = [record for _, data in records if (record := _readable(data)) is not None]
    return PutAside(
        kind=kind,
        runs=frozenset(record.run_id for record in readable),
        rows=sum(len(record.rows) for record in readable),
        errors=_classes(errors),
        records=tuple(records),
    )


def _readable(data: bytes) -> Record | None:
    try:
        return decode(data)
    except ValueError:
        return None


def _classes(errors: Iterable[str]) -> Counter[str]:
    """Count errors by what stands before the colon: behind it come the users' own values."""
    return Counter(error.partition(":")[0][:_ERROR_CHARS] for error in errors)
