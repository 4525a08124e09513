"""A database that is away or slow: batches wait, and what waits too long is kept, not lost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

import pytest

from batch_core.errors import AccessError, DatabaseError, SchemaError, TransientDatabaseError
from batch_core.job import Table
from batch_core.ports import RowStore
from batch_core.records import Record, RejectedRow
from tests.faults.conftest import Lab
from tests.support.event_source_mapping import (
    Clock,
    Settings,
    UnableToInvoke,
)
from tests.support.stream_lab import (
    FIRST_VERSION,
    StreamLab,
    row_store,
    write_rows_function,
    writing_to,
)

# Longer than everything that the mapping is told to bear.
FOR_EVER = 1e9
UNREACHABLE = TransientDatabaseError("2003: cannot connect")


class AwayUntil(RowStore):
    """A database that fails until a moment, and then takes everything."""

    def __init__(self, rows: RowStore, clock: Clock, until: float, error: DatabaseError) -> None:
        self.failures = 0
        self._rows = rows
        self._clock = clock
        self._until = until
        self._error = error

    def write(
        self, table: Table, records: Sequence[Record], *, search: bool = False
    ) -> list[RejectedRow]:
        if self._clock.now < self._until:
            self.failures += 1
            raise self._error
        return self._rows.write(table, records, search=search)


class Slow(RowStore):
    """A database that needs some seconds for each transaction."""

    def __init__(self, rows: RowStore, clock: Clock, seconds: float) -> None:
        self.seconds = seconds
        self._rows = rows
        self._clock = clock

    def write(
        self, table: Table, records: Sequence[Record], *, search: bool = False
    ) -> list[RejectedRow]:
        self._clock.advance(self.seconds)
        return self._rows.write(table, records, search=search)


def away(lab: StreamLab, seconds: float, error: DatabaseError = UNREACHABLE) -> AwayUntil:
    """The tenant's database, away for some seconds."""
    return AwayUntil(row_store(), lab.clock, lab.clock.now + seconds, error)


OUTAGES: dict[str, DatabaseError] = {
    "the database cannot be connected to": UNREACHABLE,
    "the tables are not what the code expects": SchemaError("1054: no such column"),
    "the credentials are refused": AccessError("1045: access denied"),
}


@pytest.mark.fault(35)
@pytest.mark.parametrize("injected", OUTAGES)
def test_a_batch_waits_for_the_database_and_nothing_of_it_is_put_aside(
    lab: Lab, stream_lab: StreamLab, injected: str
) -> None:
    stream_lab.put_many(16)
    database = away(stream_lab, 30, OUTAGES[injected])
    mapping = stream_lab.mapping(writing_to(database))
    mapping.drain()

    assert mapping.given_up == []
    assert stream_lab.quarantine == {}
    lab.report(
        f"{injected}, for 30 seconds",
        times=database.failures,
        users=stream_lab.rows_put,
        accounted=stream_lab.tally.settled,
        lost=stream_lab.lost,
    )


@pytest.mark.fault(35)
def test_a_function_that_is_throttled_uses_up_no_retries(lab: Lab, stream_lab: StreamLab) -> None:
    stream_lab.put_many(4)
    throttles = 0

    def throttled(event: dict[str, object]) -> object:
        nonlocal throttles
        if throttles < 500:
            throttles += 1
            raise UnableToInvoke
        return write_rows_function(event)

    mapping = stream_lab.mapping(throttled)
    mapping.drain()

    assert mapping.given_up == []
    lab.report(
        "Write Rows throttled",
        times=throttles,
        users=stream_lab.rows_put,
        accounted=stream_lab.tally.settled,
        lost=stream_lab.lost,
    )


@pytest.mark.fault(37)
def test_what_was_retried_for_too_long_is_kept_whole_and_a_replay_stores_it(
    lab: Lab, stream_lab: StreamLab
) -> None:
    stream_lab.put_many(6, version=FIRST_VERSION)
    database = away(stream_lab, FOR_EVER)
    stream_lab.mapping(writing_to(database)).drain()

    kept = [json.loads(body) for body in stream_lab.bucket.objects.values()]
    attempts = Settings.of_write_rows().maximum_retry_attempts + 1
    for told in kept:
        assert told["requestContext"]["condition"] == "RetryAttemptsExhausted"
        assert told["requestContext"]["approximateInvokeCount"] == attempts
        # It was bisected down to single records before its retries were counted.
        assert told["KinesisBatchInfo"]["batchSize"] == 1
    assert stream_lab.tally.settled == 0

    # The next run stores newer rows of some users before the old ones are put again.
    stream_lab.put_many(3, version=FIRST_VERSION + 1)
    stream_lab.mapping(settings=Settings()).drain()
    assert stream_lab.replay() == 6
    stream_lab.mapping().drain()
    lab.report(
        "the database away for longer than all retries, then a replay",
        times=database.failures,
        users=stream_lab.rows_put,
        accounted=stream_lab.tally.settled,
        lost=stream_lab.lost,
    )


@pytest.mark.fault(37)
def test_what_grew_too_old_is_kept_whole_and_a_replay_stores_it(
    lab: Lab, stream_lab: StreamLab
) -> None:
    stream_lab.put_many(6)
    attempts = 0

    def throttled(_event: dict[str, object]) -> object:
        nonlocal attempts
        attempts += 1
        stream_lab.clock.advance(60)
        raise UnableToInvoke

    mapping = stream_lab.mapping(throttled)
    mapping.drain()

    kept = [json.loads(body) for body in stream_lab.bucket.objects.values()]
    assert {told["requestContext"]["condition"] for told in kept} == {"RecordAgeExceeded"}
    assert sum(told["KinesisBatchInfo"]["batchSize"] for told in kept) == 6
    assert all(
        told["KinesisBatchInfo"]["batchSize"] == len(json.loads(told["payload"])["Records"])
        for told in kept
    )
    assert stream_lab.tally.settled == 0

    assert stream_lab.replay() == 6
    stream_lab.mapping().drain()
    lab.report(
        "Write Rows throttled until the records are too old, then a replay",
        times=attempts,
        users=stream_lab.rows_put,
        accounted=stream_lab.tally.settled,
        lost=stream_lab.lost,
    )


@pytest.mark.fault(43)
def test_while_the_database_is_slow_batches_grow_and_afterwards_the_backlog_melts(
    lab: Lab, stream_lab: StreamLab
) -> None:
    slow = Slow(row_store(), stream_lab.clock, seconds=20)
    # One lane, so that batches follow one another.
    mapping = stream_lab.mapping(
        writing_to(slow),
        settings=Settings(batch_size=100, report_batch_item_failures=True),
    )
    started = stream_lab.clock.now
    groups = 0
    for _ in range(8):
        # One group a second, whether the writer keeps up or not.
        while groups < 1 + stream_lab.clock.now - started:
            stream_lab.put_many(1, users=1, version=FIRST_VERSION + groups)
            groups += 1
        mapping.poll()
    sizes = [len(call) for call in mapping.invocations]
    # The first batch is what came in the first moment, the others what came during the one before.
    assert sizes == [1, *[20] * 7]
    assert all(age >= 20 for age in mapping.iterator_ages)

    slow.seconds = 0
    mapping.drain()
    lab.report(
        "20 seconds for each transaction, a record a second",
        times=8,
        users=stream_lab.rows_put,
        accounted=stream_lab.tally.settled,
        lost=stream_lab.lost,
    )


@pytest.mark.fault(43)
def test_a_writer_that_cannot_keep_up_shows_it_in_the_iterator_age_and_loses_nothing(
    lab: Lab, stream_lab: StreamLab
) -> None:
    stream_lab.put_many(40, users=1)
    slow = Slow(row_store(), stream_lab.clock, seconds=1_000)
    one_lane = Settings(batch_size=10, maximum_record_age_in_seconds=2_500)
    mapping = stream_lab.mapping(writing_to(slow), settings=one_lane)
    mapping.drain()

    assert [len(call) for call in mapping.invocations] == [10, 10, 10]
    assert all(later > earlier for earlier, later in pairwise(mapping.iterator_ages))
    assert stream_lab.tally.settled == 30
    # What waited for more than its age is kept like anything else that is given up.
    assert stream_lab.replay() == 10
    stream_lab.mapping().drain()
    lab.report(
        "1,000 seconds for each batch until records are too old, then a replay",
        times=3,
        users=stream_lab.rows_put,
        accounted=stream_lab.tally.settled,
        lost=stream_lab.lost,
    )
