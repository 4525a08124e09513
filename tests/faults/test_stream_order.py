"""Records twice, late and in any order; shards that are split, hot, or stuck."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_core.outcomes import Tally
from tests.faults.conftest import Lab
from tests.support.event_source_mapping import Settings
from tests.support.fakes_api import FakeStream
from tests.support.stream_lab import (
    FIRST_VERSION,
    Group,
    StreamLab,
    row,
    write_rows_function,
)

RUNS = 3
GROUPS = 2


@st.composite
def runs(draw: st.DrawFn) -> list[Group]:
    """The groups of some runs; a run lists each of its users once."""
    made = []
    for version in range(FIRST_VERSION, FIRST_VERSION + RUNS):
        for number in range(GROUPS):
            users = draw(st.sets(st.integers(1 + 6 * number, 6 + 6 * number), min_size=1))
            rows = {user: row(f"{version}/{user}") for user in users}
            made.append(Group(version, number, rows))
    return made


@pytest.mark.fault(33)
def test_the_newest_row_wins_in_any_order_and_however_often_it_arrives(
    lab: Lab, stream_lab: StreamLab
) -> None:
    totals = {"times": 0, "users": 0, "accounted": 0, "lost": 0}

    @settings(max_examples=40, deadline=None)
    @given(
        groups=runs(),
        again=st.lists(st.integers(0, RUNS * GROUPS - 1), max_size=6),
        order=st.randoms(use_true_random=False),
        batch_size=st.integers(1, 5),
        lanes=st.integers(1, 3),
    )
    def deliver(
        groups: list[Group], again: list[int], order: Random, batch_size: int, lanes: int
    ) -> None:
        stream_lab.reset()
        produced = FakeStream()
        for group in groups:
            stream_lab.put(group, stream=produced)
        records = produced.records + [produced.records[n] for n in again]
        order.shuffle(records)
        stream_lab.stream.put([(f"{key}/{n}", data) for n, (key, data) in enumerate(records)])
        stream_lab.mapping(
            settings=Settings(batch_size=batch_size, parallelization_factor=lanes)
        ).drain()

        assert stream_lab.lost == 0
        tally = stream_lab.tally
        assert tally == Tally(stored=tally.stored, unchanged=stream_lab.rows_put - tally.stored)
        totals["times"] += len(records)
        totals["users"] += stream_lab.rows_put
        totals["accounted"] += stream_lab.tally.settled

    deliver()
    lab.report("records of three runs shuffled, repeated, batched anew", **totals)


@pytest.mark.fault(33)
def test_a_whole_run_replayed_after_the_next_one_changes_nothing(
    lab: Lab, stream_lab: StreamLab
) -> None:
    stream_lab.put_many(8, version=FIRST_VERSION)
    stream_lab.put_many(8, version=FIRST_VERSION + 1)
    mapping = stream_lab.mapping()
    mapping.drain()
    before = stream_lab.stored
    (shard,) = stream_lab.stream.shards
    stream_lab.stream.put([(r.partition_key, r.data) for r in shard.records[:8]])
    mapping.drain()

    assert stream_lab.stored == before
    lab.report(
        "all records of an older run delivered after the newer one",
        times=8,
        users=stream_lab.rows_put,
        accounted=stream_lab.tally.settled,
        lost=stream_lab.lost,
    )


@pytest.mark.fault(38)
def test_shards_that_are_split_under_way_lose_nothing(lab: Lab, stream_lab: StreamLab) -> None:
    mapping = stream_lab.mapping(settings=Settings.of_write_rows(WriteBatchSize=2))
    splits = 0
    for version in range(FIRST_VERSION, FIRST_VERSION + 4):
        stream_lab.put_many(12, users=2, version=version)
        mapping.poll()
        shard = next(shard for shard in stream_lab.stream.shards if shard.open)
        stream_lab.stream.split(shard)
        splits += 1
    mapping.drain()

    lab.report(
        "a shard split while its records are read",
        times=splits,
        users=stream_lab.rows_put,
        accounted=stream_lab.tally.settled,
        lost=stream_lab.lost,
    )


@pytest.mark.fault(38)
def test_a_hot_shard_is_read_in_batches_and_by_the_lanes_of_the_template(
    lab: Lab, stream_lab: StreamLab
) -> None:
    deployed = Settings.of_write_rows()
    stream_lab.put_many(240, users=1)
    mapping = stream_lab.mapping(settings=deployed)
    mapping.drain()

    assert deployed.parallelization_factor > 1
    # A group's key is its own, so the lanes share a shard about evenly.
    assert len(mapping.invocations) <= 2 * deployed.parallelization_factor
    lab.report(
        "240 records at once on one shard",
        times=240,
        users=stream_lab.rows_put,
        accounted=stream_lab.tally.settled,
        lost=stream_lab.lost,
    )


@pytest.mark.fault(38)
def test_a_slow_lane_may_store_an_older_run_last_and_the_newer_rows_stay(
    lab: Lab, stream_lab: StreamLab
) -> None:
    stream_lab.put_many(10, version=FIRST_VERSION)
    stream_lab.put_many(10, version=FIRST_VERSION + 1)
    failures = 0

    def failing_for_one_lane(event: dict[str, object]) -> object:
        nonlocal failures
        records = event["Records"]
        assert isinstance(records, list)
        if failures < 20 and any(r["kinesis"]["sequenceNumber"] == "96" for r in records):
            failures += 1
            raise RuntimeError("this lane is stuck")
        return write_rows_function(event)

    stream_lab.mapping(failing_for_one_lane).drain()

    lab.report(
        "one lane stuck for 20 deliveries while the other goes on to the next run",
        times=failures,
        users=stream_lab.rows_put,
        accounted=stream_lab.tally.settled,
        lost=stream_lab.lost,
    )
