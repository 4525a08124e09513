"""The stream between the workflow and the writer."""

from __future__ import annotations

import random
import time
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from batch_core import meter, tracing
from batch_core.errors import StreamError
from batch_core.limits import PUT_RECORDS_BYTES_QUOTA, PUT_RECORDS_QUOTA, PUT_UNIT_BYTES
from batch_core.retry import full_jitter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mypy_boto3_kinesis import KinesisClient

CONFIG: Final = Config(
    connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 4}
)
TRIES: Final = 5
BACKOFF_SECONDS: Final = 0.2


class KinesisRecordStream:
    """A data stream; unless a client is given, it is made on first use and kept.

    botocore repeats a call that failed, but a call that succeeded for some records only is a
    success to it: those are sent again here. An answer that got lost makes duplicates, which the
    writer is made for.

    Parameters
    ----------
    name
        The stream.
    client
        Reaches Kinesis.
    sleep
        Waits for some seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        client: KinesisClient | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._name = name
        self._given_client = client
        self._sleep = sleep

    def put(self, records: Sequence[tuple[str, bytes]]) -> None:
        """Put (partition key, data) pairs on the stream, each at least once.

        Raises
        ------
        StreamError
            When some are still refused after the retries; says how many.
        """
        refused: list[tuple[str, bytes]] = []
        reason = ""
        for batch in _batches(records):
            left, why = self._put(batch)
            refused += left
            reason = why or reason
        if refused:
            raise StreamError(
                f"the stream {self._name} refused {len(refused)} of {len(records)} records "
                f"after {TRIES} tries: {reason}"
            )

    def _put(self, batch: list[tuple[str, bytes]]) -> tuple[list[tuple[str, bytes]], str]:
        """Put one batch; what is left of it in the end, and why."""
        reason = ""
        for tries in range(1, TRIES + 1):
            if tries > 1:
                meter.count("kinesis_retries")
                self._sleep(full_jitter(tries - 1, base=BACKOFF_SECONDS, random=random.random))
            with tracing.aws_call("Kinesis", "PutRecords") as call:
                batch, why = self._send(batch)
                if not batch:
                    break
                call.failed(why)
            reason = why
        return batch, reason

    def _send(self, batch: list[tuple[str, bytes]]) -> tuple[list[tuple[str, bytes]], str]:
        """Make one call; what was refused, and why."""
        try:
            answer = self._client.put_records(
                StreamName=self._name,
                Records=[{"PartitionKey": key, "Data": data} for key, data in batch],
            )
        except (ClientError, BotoCoreError) as error:
            raise StreamError(
                f"the stream {self._name} did not take {len(batch)} records: {error}"
            ) from error
        refused = []
        reason = ""
        for record, result in zip(batch, answer["Records"], strict=True):
            if result.get("ErrorCode"):
                refused.append(record)
                reason = result["ErrorCode"]
            else:
                meter.count("records")
                meter.count("put_units", _units(record))
        return refused, reason

    @cached_property
    def _client(self) -> KinesisClient:
        return self._given_client or boto3.client("kinesis", config=CONFIG)


def _units(record: tuple[str, bytes]) -> int:
    return ceil(_size(record) / PUT_UNIT_BYTES)


def _size(record: tuple[str, bytes]) -> int:
    key, data = record
    return len(key.encode()) + len(data)


def _batches(records: Sequence[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    """Cut records into calls that keep both quotas of PutRecords."""
    batch: list[tuple[str, bytes]] = []
    size = 0
    for record in records:
        if batch and (
            len(batch) == PUT_RECORDS_QUOTA or size + _size(record) > PUT_RECORDS_BYTES_QUOTA
        ):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += _size(record)
    if batch:
        yield batch
