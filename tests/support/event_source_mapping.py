"""Delivers a stream to a function as Lambda's event source mapping for Kinesis does.

Why not the local cloud: it takes a batch for done whose records the function reported as failed,
and it neither bisects nor counts retries, knows no age and writes to no destination. Here all of
that is as AWS documents it, and as its answers were recorded where the documentation is silent:
https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html
https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html

Time is the caller's, choices are drawn from a seed, and one thing happens after the other.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import md5
from random import Random
from typing import Any, Final, Self
from uuid import UUID

from batch_core.ports import PayloadStore, RecordStream
from tests.template.translation import properties, translated

# What one invocation may be given: base64 and the fields around each record count.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
PAYLOAD_BYTES_QUOTA: Final = 6 * 1024 * 1024
# "Lambda polls each shard once per second".
POLL_SECONDS: Final = 1.0
HASH_KEYS: Final = range(2**128)
STREAM_ARN: Final = "arn:aws:kinesis:eu-west-1:123456789012:stream/rows"
FUNCTION_ARN: Final = "arn:aws:lambda:eu-west-1:123456789012:function:write_rows"

type Function = Callable[[dict[str, Any]], Any]
"""Takes an event and answers, or raises."""


class UnableToInvoke(Exception):  # noqa: N818  it is no error of the function
    """The function was throttled or could not be started."""


class BatchFailed(Exception):  # noqa: N818
    """The function raised, or its answer means that nothing of the batch was done."""


class Clock:
    """Seconds since 1970, which pass only when somebody lets them."""

    def __init__(self, now: float = 1_769_854_800.0) -> None:
        self.now = now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass(frozen=True, slots=True)
class Settings:
    """What the mapping is told, in the words of the template; -1 is no limit."""

    batch_size: int = 100
    parallelization_factor: int = 1
    maximum_retry_attempts: int = -1
    maximum_record_age_in_seconds: int = -1
    bisect_batch_on_function_error: bool = False
    report_batch_item_failures: bool = False

    @classmethod
    def of_write_rows(cls, **parameters: int) -> Self:
        """Read the template's mapping; its parameters have their defaults unless given here."""
        template = translated()
        told = {"ParallelizationFactor": 1, **properties(template, "WriteRowsFunctionRows")}
        values = {name: p.get("Default") for name, p in template["Parameters"].items()}
        values |= parameters

        def number(name: str) -> int:
            match told.get(name, -1):
                case {"Ref": str(parameter)}:
                    return int(values[parameter])
                case value:
                    return int(value)

        return cls(
            batch_size=number("BatchSize"),
            parallelization_factor=number("ParallelizationFactor"),
            maximum_retry_attempts=number("MaximumRetryAttempts"),
            maximum_record_age_in_seconds=number("MaximumRecordAgeInSeconds"),
            bisect_batch_on_function_error=bool(told.get("BisectBatchOnFunctionError")),
            report_batch_item_failures=(
                "ReportBatchItemFailures" in told.get("FunctionResponseTypes", [])
            ),
        )


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """A record as it lies in its shard."""

    sequence: int
    partition_key: str
    data: bytes
    arrived: float

    def event(self, shard: str) -> dict[str, Any]:
        """The record as a function gets it."""
        return {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": self.partition_key,
                "sequenceNumber": str(self.sequence),
                "data": b64encode(self.data).decode(),
                "approximateArrivalTimestamp": self.arrived,
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{shard}:{self.sequence}",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": "arn:aws:iam::123456789012:role/write_rows",
            "awsRegion": "eu-west-1",
            "eventSourceARN": STREAM_ARN,
        }


@dataclass
class Shard:
    """A part of the stream; closed once it was split."""

    id: str
    hash_keys: range
    parent: str | None = None
    open: bool = True
    records: list[StreamRecord] = field(default_factory=list)


class MemoryStream(RecordStream):
    """A data stream, of which every record is kept."""

    def __init__(self, clock: Clock, *, shards: int = 1) -> None:
        self.shards: list[Shard] = []
        self._clock = clock
        # About to gain a digit, so that who compares sequence numbers as text is found out.
        self._sequence = 95
        self._open(HASH_KEYS, shards)

    def put(self, records: Sequence[tuple[str, bytes]]) -> None:
        for key, data in records:
            position = int.from_bytes(md5(key.encode(), usedforsecurity=False).digest())
            shard = next(s for s in self.shards if s.open and position in s.hash_keys)
            self._sequence += 1
            shard.records.append(StreamRecord(self._sequence, key, data, self._clock.now))

    def split(self, shard: Shard) -> None:
        """Close a shard and open two in its place."""
        shard.open = False
        self._open(shard.hash_keys, 2, parent=shard.id)

    def _open(self, hash_keys: range, count: int, parent: str | None = None) -> None:
        start, size = hash_keys.start, hash_keys.stop - hash_keys.start
        for n in range(count):
            own = range(start + size * n // count, start + size * (n + 1) // count)
            self.shards.append(Shard(f"shardId-{len(self.shards):012}", own, parent))


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that are delivered together, and how often that failed and counted."""

    records: Sequence[StreamRecord]
    failures: int = 0


class Lane:
    """One of the `ParallelizationFactor` queues that a shard is read through."""

    def __init__(self, shard: Shard, number: int, lanes: int) -> None:
        self.shard = shard
        self._number = number
        self._lanes = lanes
        self._read = 0
        self._again: deque[Batch] = deque()

    def take(self, size: int) -> Batch | None:
        """The next batch: what failed before anything new, so that the order is kept."""
        if self._again:
            return self._again.popleft()
        records: list[StreamRecord] = []
        bytes_left = PAYLOAD_BYTES_QUOTA - len('{"Records": []}')
        for record in self._unread():
            bytes_left -= len(json.dumps(record.event(self.shard.id))) + len(", ")
            if len(records) == size or bytes_left < 0:
                break
            records.append(record)
        if not records:
            return None
        self._read = self.shard.records.index(records[-1]) + 1
        return Batch(records)

    def put_back(self, *batches: Batch) -> None:
        """Have these delivered next."""
        self._again.extendleft(reversed(batches))

    @property
    def drained(self) -> bool:
        return not self._again and next(self._unread(), None) is None

    def _unread(self) -> Iterator[StreamRecord]:
        for record in self.shard.records[self._read :]:
            digest = md5(record.partition_key.encode(), usedforsecurity=False).digest()
            # Not the bits that chose the shard, which its records have in common.
            if digest[-1] % self._lanes == self._number:
                yield record


class EventSourceMapping:
    """Reads a stream and calls a function with its records.

    Parameters
    ----------
    destination
        The bucket behind `OnFailure`; without one, what is given up is gone.
    """

    def __init__(
        self,
        stream: MemoryStream,
        function: Function,
        *,
        settings: Settings,
        clock: Clock,
        destination: PayloadStore | None = None,
        seed: int = 0,
    ) -> None:
        self.function = function
        self.invocations: list[list[int]] = []
        self.given_up: list[StreamRecord] = []
        # Lambda's metric: how old the last record of a batch was when the batch was done.
        self.iterator_ages: list[float] = []
        self._stream = stream
        self._settings = settings
        self._clock = clock
        self._destination = destination
        self._random = Random(seed)
        self._uuid = self._new_uuid()
        self._lanes: dict[str, list[Lane]] = {}

    def drain(self, *, polls: int = 1_000) -> None:
        """Poll until every record is done with or given up."""
        for _ in range(polls):
            if self.drained:
                return
            self.poll()
            self._clock.advance(POLL_SECONDS)
        raise AssertionError(f"records are still waiting after {polls} polls")

    def poll(self) -> None:
        """Deliver one batch of each lane that has one, in any order of the lanes."""
        lanes = [
            lane
            for shard in list(self._stream.shards)
            if self._may_read(shard)
            for lane in self._lanes_of(shard)
        ]
        self._random.shuffle(lanes)
        for lane in lanes:
            if batch := lane.take(self._settings.batch_size):
                self._deliver(lane, batch)

    @property
    def drained(self) -> bool:
        return all(self._is_drained(shard) for shard in self._stream.shards)

    def _may_read(self, shard: Shard) -> bool:
        """A child holds what came after its parent's records, and waits for those to be done."""
        parents = [each for each in self._stream.shards if each.id == shard.parent]
        return all(self._is_drained(parent) for parent in parents)

    def _is_drained(self, shard: Shard) -> bool:
        return all(lane.drained for lane in self._lanes_of(shard))

    def _lanes_of(self, shard: Shard) -> list[Lane]:
        if shard.id not in self._lanes:
            count = self._settings.parallelization_factor
            self._lanes[shard.id] = [Lane(shard, number, count) for number in range(count)]
        return self._lanes[shard.id]

    def _deliver(self, lane: Lane, batch: Batch) -> None:
        batch = self._without_the_old(lane, batch)
        if not batch.records:
            return
        try:
            undone = self._invoke(lane, batch)
        except UnableToInvoke:
            lane.put_back(batch)
        except BatchFailed:
            self._fail(lane, batch)
        else:
            done = batch.records[: len(batch.records) - len(undone)]
            self.iterator_ages += [self._clock.now - record.arrived for record in done[-1:]]
            if undone:
                self._retry(lane, Batch(undone, batch.failures + 1))

    def _without_the_old(self, lane: Lane, batch: Batch) -> Batch:
        limit = self._settings.maximum_record_age_in_seconds
        if limit < 0:
            return batch
        oldest = self._clock.now - limit
        old = [record for record in batch.records if record.arrived < oldest]
        if old:
            self._give_up(lane.shard, Batch(old, batch.failures), "RecordAgeExceeded")
        return Batch(batch.records[len(old) :], batch.failures)

    def _invoke(self, lane: Lane, batch: Batch) -> Sequence[StreamRecord]:
        """Call the function and return the records that it did not do."""
        try:
            answer = self.function(_event(lane.shard, batch))
        except (UnableToInvoke, AssertionError):
            raise
        except Exception as error:
            self.invocations.append([record.sequence for record in batch.records])
            raise BatchFailed from error
        self.invocations.append([record.sequence for record in batch.records])
        if not self._settings.report_batch_item_failures:
            return ()
        # What comes back from Lambda is JSON, not Python objects.
        first = first_undone(json.loads(json.dumps(answer)), [r.sequence for r in batch.records])
        return () if first is None else [r for r in batch.records if r.sequence >= first]

    def _fail(self, lane: Lane, batch: Batch) -> None:
        if self._settings.bisect_batch_on_function_error and len(batch.records) > 1:
            # "Splitting a batch doesn't count toward the retry quota."
            middle = len(batch.records) // 2
            halves = batch.records[:middle], batch.records[middle:]
            lane.put_back(*(Batch(half, batch.failures) for half in halves))
        else:
            self._retry(lane, Batch(batch.records, batch.failures + 1))

    def _retry(self, lane: Lane, batch: Batch) -> None:
        if 0 <= self._settings.maximum_retry_attempts < batch.failures:
            self._give_up(lane.shard, batch, "RetryAttemptsExhausted")
        else:
            lane.put_back(batch)

    def _give_up(self, shard: Shard, batch: Batch, condition: str) -> None:
        self.given_up += batch.records
        if self._destination is None:
            return
        now = datetime.fromtimestamp(self._clock.now, UTC)
        key = (
            f"aws/lambda/{self._uuid}/{shard.id}/{now:%Y/%m/%d}/"
            f"{now:%Y-%m-%dT%H.%M.%S}-{self._new_uuid()}"
        )
        first, last = batch.records[0], batch.records[-1]
        body: dict[str, Any] = {
            "requestContext": {
                "requestId": str(self._new_uuid()),
                "functionArn": FUNCTION_ARN,
                "condition": condition,
                "approximateInvokeCount": batch.failures,
            },
            "responseContext": {
                "statusCode": 200,
                "executedVersion": "$LATEST",
                "functionError": "Unhandled",
            },
            "version": "1.0",
            "timestamp": _time(self._clock.now),
            "KinesisBatchInfo": {
                "shardId": shard.id,
                "startSequenceNumber": str(first.sequence),
                "endSequenceNumber": str(last.sequence),
                "approximateArrivalOfFirstRecord": _time(first.arrived),
                "approximateArrivalOfLastRecord": _time(last.arrived),
                "batchSize": len(batch.records),
                "streamArn": STREAM_ARN,
            },
            # "The original invocation record as an escaped JSON string."
            "payload": json.dumps(_event(shard, batch)),
        }
        if not batch.failures:
            del body["responseContext"]
        self._destination.put(key, json.dumps(body).encode(), metadata={})

    def _new_uuid(self) -> UUID:
        return UUID(int=self._random.getrandbits(128), version=4)


def first_undone(answer: Any, sequences: Sequence[int]) -> int | None:
    """Read a function's answer: the lowest sequence number that it reports, None for success.

    Raises
    ------
    BatchFailed
        For an answer that makes no sense, which counts as a failure of the whole batch.
    """
    match answer:
        case None | "" | {"batchItemFailures": None}:
            return None
        case {"batchItemFailures": list(failures)}:
            reported = [_reported(failure, sequences) for failure in failures]
            return min(reported, default=None)
        case [] | dict() if not answer:
            return None
    raise BatchFailed(f"an answer that makes no sense: {answer!r}")


def _reported(failure: Any, sequences: Sequence[int]) -> int:
    match failure:
        case {"itemIdentifier": str(text)} if text in map(str, sequences):
            return int(text)
    raise BatchFailed(f"{failure!r} names no record of the batch")


def _event(shard: Shard, batch: Batch) -> dict[str, Any]:
    return {"Records": [record.event(shard.id) for record in batch.records]}


def _time(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
