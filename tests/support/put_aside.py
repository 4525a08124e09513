"""Objects as the writer and the event source mapping put them aside."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from batch_core.records import Record
from batchctl.replay.bucket import Bucket, Entry, MissingError

RUN = "demo-20260131T100000Z"
ROWS_KEY = f"quarantine/{RUN}/3-7-0.json"
RECORD_KEY = "quarantine/records/4001.json"
BATCH_KEY = (
    "aws/lambda/2a4b1c6d-0000-4000-8000-9e8f7a6b5c4d/shardId-000000000000/2026/01/31/"
    "2026-01-31T11.00.00-0b2c"
)
PUT_ASIDE_AT = datetime(2026, 1, 31, 11, tzinfo=UTC)


def record(*rows: tuple[Any, ...], **changes: Any) -> Record:
    values: dict[str, Any] = {
        "tenant": "demo",
        "run_id": RUN,
        "chunk": 3,
        "group": 7,
        "version": 1_769_853_600_000,
        "trace_id": "1-697dd3e0",
        "segment_id": "53995c3f",
        "part": 0,
        "columns": ("user_id", "text"),
        "rows": rows,
    }
    return Record(**values | changes)


def rows_object(*rows: Sequence[Any], error: str = "1406: Data too long", **changes: Any) -> bytes:
    """What the writer leaves of a record whose rows the database refused."""
    fields = {
        "tenant": "demo",
        "run": RUN,
        "chunk": 3,
        "group": 7,
        "part": 0,
        "version": 1_769_853_600_000,
        "columns": ["user_id", "text"],
        "rejected": [{"row": row, "error": error} for row in rows],
    }
    return json.dumps(fields | changes).encode()


def record_object(data: bytes, error: str = "damaged: Error -3") -> bytes:
    """What the writer leaves of a record that it cannot read."""
    return json.dumps({"error": error, "data": b64encode(data).decode()}).encode()


def batch_object(*records: tuple[str, bytes], as_text: bool) -> bytes:
    """What Lambda leaves of a batch; its documentation shows the payload in both ways.

    https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
    """
    event = {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": key,
                    "sequenceNumber": str(4_000 + n),
                    "data": b64encode(data).decode(),
                },
                "eventSource": "aws:kinesis",
            }
            for n, (key, data) in enumerate(records)
        ]
    }
    document = {
        "requestContext": {"condition": "RetryAttemptsExhausted", "approximateInvokeCount": 51},
        "version": "1.0",
        "timestamp": "2026-01-31T11:00:00.000Z",
        "payload": json.dumps(event) if as_text else event,
    }
    return json.dumps(document).encode()


class FakeBucket(Bucket):
    """A bucket in memory; `before` is called before everything that changes it."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects

    def before(self) -> None:
        """Nothing, unless a test has other plans."""

    def entries(self, prefix: str) -> Iterator[Entry]:
        for key in sorted(self.objects):
            if key.startswith(prefix):
                yield Entry(key, PUT_ASIDE_AT)

    def read(self, key: str) -> bytes:
        if key not in self.objects:
            raise MissingError(f"The object {key} is not there.")
        return self.objects[key]

    def move(self, key: str, to: str) -> None:
        body = self.read(key)
        self.before()
        self.objects[to] = body
        self.before()
        self.objects.pop(key, None)
