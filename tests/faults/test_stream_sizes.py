"""Rows, records and batches near their limits."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from batch_core.job import Row
from batch_core.limits import PUT_UNIT_BYTES, ROW_BYTES
from batch_core.outcomes import Tally
from tests.faults.conftest import Lab
from tests.support.event_source_mapping import PAYLOAD_BYTES_QUOTA, Settings
from tests.support.stream_lab import FIRST_VERSION, Group, StreamLab, row, write_rows_function
from tests.template.translation import translated


def wide_row(user: int, size: int) -> Row:
    """A row that compresses badly."""
    noise = Random(user).randbytes(size)
    return row(f"wide {user}", devices=[{"noise": b64encode(noise).decode()}])


@pytest.mark.fault(39)
def test_the_largest_batch_that_the_template_allows_is_cut_below_the_payload_quota(
    lab: Lab, stream_lab: StreamLab
) -> None:
    largest = translated()["Parameters"]["WriteBatchSize"]["MaxValue"]
    # One lane: the most that can come together.
    settings = replace(Settings.of_write_rows(WriteBatchSize=largest), parallelization_factor=1)
    for number in range(5):
        users = range(number * 100 + 1, number * 100 + 101)
        rows = {user: wide_row(user, 10_500) for user in users}
        stream_lab.put(Group(FIRST_VERSION, number, rows))
    payloads: list[int] = []

    def measuring(event: dict[str, Any]) -> Any:
        payloads.append(len(json.dumps(event)))
        return write_rows_function(event)

    stream_lab.mapping(measuring, settings=settings).drain()

    (shard,) = stream_lab.stream.shards
    assert len(shard.records) < largest
    assert all(len(r.partition_key) + len(r.data) <= PUT_UNIT_BYTES for r in shard.records)
    # They do not fit into one invocation, and the mapping does not try.
    assert sum(payloads) > PAYLOAD_BYTES_QUOTA
    assert max(payloads) <= PAYLOAD_BYTES_QUOTA
    lab.report(
        f"{len(shard.records)} records of up to 25 KB waiting at once",
        times=len(shard.records),
        users=stream_lab.rows_put,
        accounted=stream_lab.tally.settled,
        lost=stream_lab.lost,
    )


@pytest.mark.fault(39)
def test_a_row_beyond_the_limit_is_rejected_before_the_stream_and_the_others_are_stored(
    lab: Lab, stream_lab: StreamLab
) -> None:
    rows = {user: row(f"fine {user}") for user in range(1, 10)}
    group = Group(FIRST_VERSION, 0, rows | {10: wide_row(10, ROW_BYTES)})

    tally = group.put(stream_lab.stream)
    stream_lab.mapping().drain()

    assert tally == Tally(queued=9, rejected=1)
    stored = stream_lab.stored
    lab.report(
        "a row larger than 15,000 bytes",
        times=1,
        users=10,
        accounted=len(stored) + tally.rejected,
        lost=sum(stored.get(user) != (FIRST_VERSION, f"fine {user}") for user in rows),
    )
