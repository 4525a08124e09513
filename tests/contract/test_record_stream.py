"""What every RecordStream does, and what the one on Kinesis does when Kinesis takes only some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from batch_core import meter
from batch_core.adapters.kinesis import TRIES, KinesisRecordStream
from batch_core.errors import StreamError
from batch_core.limits import PUT_RECORDS_BYTES_QUOTA, PUT_RECORDS_QUOTA, PUT_UNIT_BYTES
from batch_core.ports import RecordStream
from tests.support.fakes_api import FakeStream

type Records = Sequence[tuple[str, bytes]]


@dataclass(frozen=True)
class Stream:
    """A stream, and a look at what is on it."""

    put: Callable[[Records], None]
    read: Callable[[], list[tuple[str, bytes]]]


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


@pytest.fixture(params=["fake", "kinesis"])
def stream(request: pytest.FixtureRequest) -> Iterator[Stream]:
    if request.param == "fake":
        fake = FakeStream()
        yield Stream(fake.put, lambda: fake.records)
        return
    with mock_aws():
        kinesis = boto3.client("kinesis")
        kinesis.create_stream(StreamName="s", ShardCount=1)

        def read() -> list[tuple[str, bytes]]:
            shard = kinesis.get_shard_iterator(
                StreamName="s", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
            )
            records = kinesis.get_records(ShardIterator=shard["ShardIterator"])["Records"]
            return [(record["PartitionKey"], record["Data"]) for record in records]

        yield Stream(KinesisRecordStream("s").put, read)


@pytest.mark.parametrize("count", [0, 1, PUT_RECORDS_QUOTA, PUT_RECORDS_QUOTA + 1])
def test_every_record_arrives_as_it_was_put(stream: Stream, count: int) -> None:
    records = [(f"key-{n}", b"data-%d" % n) for n in range(count)]
    stream.put(records)
    assert stream.read() == records


def test_data_may_be_any_bytes(stream: Stream) -> None:
    stream.put([("k", bytes(range(256)))])
    assert stream.read() == [("k", bytes(range(256)))]


# --- refusals ---------------------------------------------------------------------------------


class Refusing:
    """Answers PutRecords like Kinesis, refusing each record as often as told."""

    def __init__(self, refusals: dict[str, int]) -> None:
        self.refusals = Counter(refusals)
        self.calls: list[list[str]] = []
        self.sizes: list[int] = []
        self.acknowledged: list[str] = []

    def put_records(self, **request: Any) -> dict[str, Any]:
        records = request["Records"]
        self.calls.append([record["PartitionKey"] for record in records])
        self.sizes.append(sum(len(r["Data"]) + len(r["PartitionKey"]) for r in records))
        results = [self._take(record["PartitionKey"]) for record in records]
        return {"FailedRecordCount": sum("ErrorCode" in r for r in results), "Records": results}

    def _take(self, key: str) -> dict[str, str]:
        if self.refusals[key] > 0:
            self.refusals[key] -= 1
            return {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow"}
        self.acknowledged.append(key)
        return {"SequenceNumber": "1", "ShardId": "shardId-000000000000"}


def putting(records: Records, refusing: Refusing) -> tuple[list[float], StreamError | None]:
    """Put records on a stream that refuses some; gives the pauses taken and the error."""
    pauses: list[float] = []
    client: Any = refusing
    stream = KinesisRecordStream("s", client=client, sleep=pauses.append)
    meter.reset()
    try:
        stream.put(records)
    except StreamError as error:
        return pauses, error
    return pauses, None


@given(
    refusals=st.lists(st.integers(0, TRIES + 1), min_size=1, max_size=40),
)
def test_whatever_is_refused_each_record_is_acknowledged_once_or_reported(
    refusals: list[int],
) -> None:
    keys = [f"k{n}" for n in range(len(refusals))]
    refusing = Refusing(dict(zip(keys, refusals, strict=True)))
    pauses, error = putting([(key, b"x") for key in keys], refusing)

    lost = [key for key, times in zip(keys, refusals, strict=True) if times >= TRIES]
    assert Counter(refusing.acknowledged) == Counter(set(keys) - set(lost))
    if lost:
        assert error is not None
        assert f"refused {len(lost)} of {len(keys)} records" in str(error)
        assert "ProvisionedThroughputExceededException" in str(error)
    else:
        assert error is None
    # Only what was refused is sent again.
    for n, call in enumerate(refusing.calls):
        assert call == [key for key, times in zip(keys, refusals, strict=True) if times >= n]
    assert len(refusing.calls) == min(max(refusals) + 1, TRIES)
    assert len(pauses) == len(refusing.calls) - 1
    reading = meter.reading()
    assert reading.get("kinesis_retries", 0) == len(pauses)
    assert reading.get("records", 0) == len(keys) - len(lost)


def test_the_pauses_grow_and_are_drawn_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batch_core.adapters.kinesis.random.random", lambda: 0.5)
    pauses, _ = putting([("k", b"x")], Refusing({"k": 9}))
    assert pauses == [0.1, 0.2, 0.4, 0.8]


def test_a_refused_batch_does_not_keep_the_others_off_the_stream() -> None:
    records = [(f"k{n}", b"x") for n in range(PUT_RECORDS_QUOTA + 10)]
    refusing = Refusing({"k0": 99})
    _, error = putting(records, refusing)
    assert error is not None
    assert len(refusing.acknowledged) == len(records) - 1


@given(sizes=st.lists(st.integers(0, PUT_RECORDS_BYTES_QUOTA // 3), max_size=20))
def test_no_call_passes_a_quota_and_none_is_wasted(sizes: list[int]) -> None:
    blob = memoryview(bytes(PUT_RECORDS_BYTES_QUOTA // 3))
    records: Any = [(f"k{n:02}", blob[:size]) for n, size in enumerate(sizes)]
    refusing = Refusing({})
    putting(records, refusing)
    assert all(size <= PUT_RECORDS_BYTES_QUOTA for size in refusing.sizes)
    assert [key for call in refusing.calls for key in call] == [key for key, _ in records]
    for one, (following, *_) in zip(
        refusing.sizes, refusing.calls[1:], strict=False
    ):  # the next call's first record would not have fitted
        assert one + len(dict(records)[following]) + len(following) > PUT_RECORDS_BYTES_QUOTA


@pytest.mark.parametrize(
    ("data", "units"),
    [(0, 1), (PUT_UNIT_BYTES - 3, 1), (PUT_UNIT_BYTES - 2, 2), (3 * PUT_UNIT_BYTES, 4)],
)
def test_put_units_count_the_partition_key(data: int, units: int) -> None:
    putting([("key", bytes(data))], Refusing({}))
    assert meter.reading()["put_units"] == units == ceil((data + 3) / PUT_UNIT_BYTES)


def test_a_refused_record_is_billed_once() -> None:
    putting([("key", b"x")], Refusing({"key": 2}))
    reading = meter.reading()
    assert (reading["put_units"], reading["records"], reading["kinesis_retries"]) == (1, 1, 2)


def test_a_stream_that_is_not_there_is_told() -> None:
    with mock_aws():
        stream: RecordStream = KinesisRecordStream("absent")
        with pytest.raises(StreamError, match="the stream absent did not take 1 records"):
            stream.put([("k", b"x")])


def test_a_stream_that_cannot_be_reached_is_told() -> None:
    class Unreachable(Refusing):
        def put_records(self, **request: Any) -> dict[str, Any]:
            raise EndpointConnectionError(endpoint_url="https://kinesis.invalid")

    _, error = putting([("k", b"x")], Unreachable({}))
    assert "did not take 1 records" in str(error)
