"""Putting records on the stream: what Kinesis refuses, and what it answers that nobody hears."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_core.adapters.kinesis import TRIES, KinesisRecordStream
from batch_core.errors import StreamError
from batch_core.ports import RecordStream
from tests.faults.conftest import Lab
from tests.support.aws_faults import (
    AwsFaults,
    Fault,
    taking_only,
    throttled,
    unanswered,
    unreached,
)
from tests.support.fakes_api import FakeStream
from tests.support.functions import on_the_stream
from tests.support.stream_lab import FIRST_VERSION, Group, StreamLab, row


@pytest.fixture
def kinesis() -> RecordStream:
    """The real adapter; its pauses are not made."""
    return KinesisRecordStream("rows", sleep=lambda _: None)


def groups(version: int, count: int) -> list[Group]:
    return [Group(version, n, {n + 1: row(f"{version}/{n + 1}")}) for n in range(count)]


def deliver(lab: StreamLab) -> int:
    """Have the mapping deliver what is on Kinesis; gives how many records that are."""
    data = on_the_stream()
    lab.stream.put([(str(n), item) for n, item in enumerate(data)])
    lab.mapping().drain()
    return len(data)


@pytest.mark.fault(31)
def test_every_record_is_acknowledged_whichever_are_refused_before(
    lab: Lab, stream_lab: StreamLab, kinesis: RecordStream, aws_faults: AwsFaults
) -> None:
    versions = iter(range(FIRST_VERSION, FIRST_VERSION + 1_000))
    refused = 0

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), max_size=TRIES - 1))
    def put_six_records(masks: list[list[bool]]) -> None:
        nonlocal refused
        together = FakeStream()
        for group in groups(next(versions), 6):
            stream_lab.put(group, stream=together)
        # A try is made only while something is left, and is given what is left.
        left = 6
        for mask in masks:
            if left:
                aws_faults.script("PutRecords", taking_only(mask))
                refused += mask[:left].count(False)
                left = mask[:left].count(False)
        kinesis.put(together.records)

    put_six_records()

    assert deliver(stream_lab) == len(stream_lab.groups)

    lab.report(
        "some records of a PutRecords throttled, any of them, up to 4 times",
        times=refused,
        users=stream_lab.rows_put,
        accounted=stream_lab.tally.settled,
        lost=stream_lab.lost,
    )


@pytest.mark.fault(31)
def test_what_is_refused_to_the_end_is_an_error_that_counts_it(
    lab: Lab, stream_lab: StreamLab, kinesis: RecordStream, aws_faults: AwsFaults
) -> None:
    together = FakeStream()
    for group in groups(FIRST_VERSION, 6):
        stream_lab.put(group, stream=together)
    aws_faults.script("PutRecords", taking_only([True, True, True, True, False, False]))
    aws_faults.script("PutRecords", *[taking_only([False, False])] * (TRIES - 1))

    with pytest.raises(StreamError, match="refused 2 of 6 records"):
        kinesis.put(together.records)

    # The group ends as failed, and its users as retry_later, though some of its rows are stored.
    assert deliver(stream_lab) == 4
    assert stream_lab.tally.stored == 4
    # The next run asks for all of them again.
    for group in groups(FIRST_VERSION + 1, 6):
        stream_lab.put(group)
    stream_lab.mapping().drain()
    lab.report(
        "two records throttled in every try: the next run puts them",
        times=aws_faults.injected["PutRecords"],
        users=6,
        accounted=len(stream_lab.stored),
        lost=stream_lab.lost,
    )


WHOLE_CALLS: dict[str, list[Fault]] = {
    "the whole call throttled": [throttled] * 3,
    "the connection refused": [unreached, unreached],
}


@pytest.mark.fault(31)
@pytest.mark.parametrize("injected", WHOLE_CALLS)
def test_a_call_that_fails_as_a_whole_is_repeated(
    lab: Lab, stream_lab: StreamLab, kinesis: RecordStream, aws_faults: AwsFaults, injected: str
) -> None:
    aws_faults.script("PutRecords", *WHOLE_CALLS[injected])
    for group in groups(FIRST_VERSION, 3):
        stream_lab.put(group, stream=kinesis)

    assert deliver(stream_lab) == 3
    assert len(aws_faults.pauses) == len(WHOLE_CALLS[injected])
    lab.report(
        injected,
        times=aws_faults.injected["PutRecords"],
        users=3,
        accounted=stream_lab.tally.settled,
        lost=stream_lab.lost,
    )


@pytest.mark.fault(32)
def test_an_answer_that_is_lost_makes_duplicates_that_count_once(
    lab: Lab, stream_lab: StreamLab, kinesis: RecordStream, aws_faults: AwsFaults
) -> None:
    aws_faults.script("PutRecords", unanswered, unanswered)
    for group in groups(FIRST_VERSION, 4):
        stream_lab.put(group, stream=kinesis)

    assert deliver(stream_lab) == 4 + 2
    lab.report(
        "PutRecords carried out, its answer lost",
        times=aws_faults.injected["PutRecords"],
        users=4,
        accounted=stream_lab.tally.settled,
        lost=stream_lab.lost,
    )


@pytest.mark.fault(32)
def test_an_answer_that_is_lost_every_time_is_an_error_though_all_is_on_the_stream(
    lab: Lab, stream_lab: StreamLab, kinesis: RecordStream, aws_faults: AwsFaults
) -> None:
    aws_faults.script("PutRecords", *[unanswered] * 4)
    together = FakeStream()
    (group,) = groups(FIRST_VERSION, 1)
    stream_lab.put(group, stream=together)

    with pytest.raises(StreamError, match="did not take 1 records"):
        kinesis.put(together.records)

    assert deliver(stream_lab) == 4
    lab.report(
        "the answer lost in every try",
        times=aws_faults.injected["PutRecords"],
        users=1,
        accounted=stream_lab.tally.settled,
        lost=stream_lab.lost,
    )
