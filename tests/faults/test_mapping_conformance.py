"""The harness delivers as Lambda documents it, since what the fault tests say rests on that."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest

from tests.support.event_source_mapping import (
    HASH_KEYS,
    PAYLOAD_BYTES_QUOTA,
    Clock,
    EventSourceMapping,
    MemoryStream,
    Settings,
    UnableToInvoke,
)
from tests.support.fakes import FakePayloadStore
from tests.template.translation import translated

REPORTING = Settings(report_batch_item_failures=True, maximum_retry_attempts=0)


class Stage:
    """A stream, and a function that notes what it is given."""

    def __init__(self, settings: Settings, *, records: int = 0, shards: int = 1) -> None:
        self.clock = Clock()
        self.stream = MemoryStream(self.clock, shards=shards)
        self.store = FakePayloadStore()
        self.answer: Callable[[list[str]], Any] = lambda _: None
        self.calls: list[list[str]] = []
        self.mapping = EventSourceMapping(
            self.stream,
            self._function,
            settings=settings,
            clock=self.clock,
            destination=self.store,
        )
        self.put(*(f"r{n}" for n in range(1, records + 1)))

    def put(self, *names: str, key: str | None = None) -> None:
        self.stream.put([(key or name, name.encode()) for name in names])

    def _function(self, event: dict[str, Any]) -> Any:
        names = [b64decode(r["kinesis"]["data"]).decode() for r in event["Records"]]
        self.calls.append(names)
        return self.answer(names)

    def sequence(self, name: str) -> str:
        (found,) = (
            r.sequence for s in self.stream.shards for r in s.records if r.data == name.encode()
        )
        return str(found)

    def reports(self, *names: str) -> Callable[[list[str]], Any]:
        """Report these records where they are in the batch."""
        return lambda batch: {
            "batchItemFailures": [
                {"itemIdentifier": self.sequence(name)} for name in names if name in batch
            ]
        }

    @property
    def sizes(self) -> list[int]:
        return [len(call) for call in self.calls]

    @property
    def given_up(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.store.objects.values()]


def failing_with(*names: str) -> Callable[[list[str]], Any]:
    """Raise while one of these records is in the batch."""

    def answer(batch: list[str]) -> None:
        if set(names) & set(batch):
            raise ValueError("poison")

    return answer


# --- batches ----------------------------------------------------------------------------------


def test_a_batch_holds_the_records_of_one_shard_in_their_order() -> None:
    stage = Stage(Settings(batch_size=4), records=10, shards=3)
    stage.mapping.drain()

    shards = [[r.data.decode() for r in shard.records] for shard in stage.stream.shards]
    assert sorted(name for call in stage.calls for name in call) == sorted(chain(*shards))
    for call in stage.calls:
        (shard,) = (names for names in shards if call[0] in names)
        assert call == shard[shard.index(call[0]) :][: len(call)]
        assert len(call) <= 4


def test_an_invocation_gets_less_than_six_megabytes_whatever_the_batch_size() -> None:
    stage = Stage(Settings(batch_size=1_000))
    stage.stream.put([(f"k{n}", b"x" * 1_000_000) for n in range(10)])
    payloads: list[int] = []
    stage.mapping.function = lambda event: payloads.append(len(json.dumps(event)))
    stage.mapping.drain()

    assert [len(call) for call in stage.mapping.invocations] == [4, 4, 2]
    assert max(payloads) <= PAYLOAD_BYTES_QUOTA


def test_a_record_arrives_with_what_lambda_tells_about_it() -> None:
    stage = Stage(Settings(), records=1)
    events: list[dict[str, Any]] = []
    stage.mapping.function = events.append
    stage.mapping.drain()

    (record,) = events[0]["Records"]
    assert record["eventID"] == f"shardId-000000000000:{record['kinesis']['sequenceNumber']}"
    assert (record["kinesis"]["partitionKey"], record["eventSource"]) == ("r1", "aws:kinesis")


# --- answers ----------------------------------------------------------------------------------

SUCCESS: list[Any] = [None, "", {}, [], {"batchItemFailures": []}, {"batchItemFailures": None}]


@pytest.mark.parametrize("answer", SUCCESS)
def test_these_answers_mean_that_all_is_done(answer: Any) -> None:
    stage = Stage(REPORTING, records=3)
    stage.answer = lambda _: answer
    stage.mapping.drain()

    assert stage.sizes == [3]
    assert stage.given_up == []


FAILURE: list[Any] = [
    {"batchItemFailures": [{"itemIdentifier": ""}]},
    {"batchItemFailures": [{"itemIdentifier": None}]},
    {"batchItemFailures": [{"itemIdentifier": "12345"}]},
    {"batchItemFailures": [{"foo": "96"}]},
    {"batchItemFailures": [{}]},
    {"batchItemFailures": [{"itemIdentifier": "97"}, {"itemIdentifier": ""}]},
    {"foo": []},
    "done",
]


@pytest.mark.parametrize("answer", FAILURE)
def test_these_answers_fail_the_whole_batch(answer: Any) -> None:
    stage = Stage(REPORTING, records=3)
    stage.answer = lambda _: answer
    stage.mapping.drain()

    assert [each["KinesisBatchInfo"]["batchSize"] for each in stage.given_up] == [3]


def test_an_exception_fails_the_whole_batch() -> None:
    stage = Stage(REPORTING, records=3)
    stage.answer = failing_with("r2")
    stage.mapping.drain()

    assert [each["KinesisBatchInfo"]["batchSize"] for each in stage.given_up] == [3]


def test_everything_from_the_lowest_number_reported_is_delivered_again() -> None:
    # Sequence numbers here are 96 to 103: as text, 100 would come before 97.
    stage = Stage(Settings(report_batch_item_failures=True), records=8)
    reports = iter([("r5", "r3"), ("r8",), ()])

    def answer(batch: list[str]) -> Any:
        return stage.reports(*next(reports))(batch)

    stage.answer = answer
    stage.mapping.drain()

    assert stage.sequence("r5") < stage.sequence("r3")
    assert stage.calls[1:] == [["r3", "r4", "r5", "r6", "r7", "r8"], ["r8"]]


def test_without_report_batch_item_failures_what_is_reported_is_lost() -> None:
    stage = Stage(Settings(), records=3)
    stage.answer = stage.reports("r2")
    stage.mapping.drain()

    assert stage.sizes == [3]
    assert stage.given_up == []


# --- bisecting, retries, age ------------------------------------------------------------------


def test_a_failed_batch_is_bisected_without_using_up_retries() -> None:
    stage = Stage(
        Settings(bisect_batch_on_function_error=True, maximum_retry_attempts=0), records=4
    )
    stage.answer = failing_with("r2")
    stage.mapping.drain()

    assert stage.sizes == [4, 2, 1, 1, 2]
    assert [record.data for record in stage.mapping.given_up] == [b"r2"]


def test_a_partial_failure_is_cut_at_the_number_reported_and_not_in_halves() -> None:
    settings = Settings(bisect_batch_on_function_error=True, report_batch_item_failures=True)
    stage = Stage(settings, records=4)
    answers = iter([["r4"]])
    stage.answer = lambda _: stage.reports(*next(answers, []))(stage.calls[-1])
    stage.mapping.drain()

    assert stage.calls[1:] == [["r4"]]


def test_the_retries_come_on_top_of_the_first_attempt() -> None:
    stage = Stage(Settings(maximum_retry_attempts=3), records=2)
    stage.answer = failing_with("r1")
    stage.mapping.drain()

    assert stage.sizes == [2, 2, 2, 2]
    assert stage.given_up[0]["requestContext"]["approximateInvokeCount"] == 4


def test_after_a_partial_failure_only_the_rest_is_given_up() -> None:
    settings = Settings(batch_size=3, report_batch_item_failures=True, maximum_retry_attempts=3)
    stage = Stage(settings, records=6)
    stage.answer = stage.reports("r6")
    stage.mapping.drain()

    assert stage.sizes == [3, 3, 1, 1, 1]
    (given_up,) = stage.given_up
    assert given_up["KinesisBatchInfo"]["batchSize"] == 1
    assert given_up["requestContext"]["approximateInvokeCount"] == 4


def test_a_batch_that_was_given_up_does_not_hold_up_the_next() -> None:
    stage = Stage(Settings(batch_size=2, maximum_retry_attempts=1), records=6)
    stage.answer = failing_with("r2")
    stage.mapping.drain()

    assert stage.calls[2:] == [["r3", "r4"], ["r5", "r6"]]


def test_without_limits_a_batch_is_tried_until_it_is_taken() -> None:
    stage = Stage(Settings(), records=1)
    failures = iter(range(500))

    def answer(_: list[str]) -> None:
        if next(failures, None) is not None:
            raise ValueError("not yet")

    stage.answer = answer
    stage.mapping.drain()

    assert len(stage.calls) == 501
    assert stage.given_up == []


def test_records_that_are_too_old_are_given_up_even_before_the_first_invocation() -> None:
    stage = Stage(Settings(maximum_record_age_in_seconds=60), records=2)
    stage.clock.advance(61)
    stage.put("young")
    stage.mapping.drain()

    assert stage.calls == [["young"]]
    (given_up,) = stage.given_up
    assert given_up["requestContext"]["condition"] == "RecordAgeExceeded"
    assert given_up["requestContext"]["approximateInvokeCount"] == 0
    assert given_up["KinesisBatchInfo"]["batchSize"] == 2


def test_records_grow_too_old_while_they_are_retried() -> None:
    stage = Stage(Settings(maximum_record_age_in_seconds=10), records=1)
    stage.answer = failing_with("r1")
    stage.mapping.drain()

    assert len(stage.calls) == 11
    assert stage.given_up[0]["requestContext"]["condition"] == "RecordAgeExceeded"


def test_an_invocation_that_did_not_begin_uses_up_no_retry() -> None:
    stage = Stage(Settings(maximum_retry_attempts=0), records=2)
    refusals = iter(range(20))

    def answer(_: list[str]) -> None:
        if next(refusals, None) is not None:
            raise UnableToInvoke

    stage.answer = answer
    stage.mapping.drain()

    assert len(stage.mapping.invocations) == 1
    assert stage.given_up == []


def test_an_invocation_that_cannot_begin_is_tried_until_the_records_are_too_old() -> None:
    stage = Stage(Settings(maximum_retry_attempts=0, maximum_record_age_in_seconds=30), records=2)

    def answer(_: list[str]) -> None:
        raise UnableToInvoke

    stage.answer = answer
    stage.mapping.drain()

    assert stage.given_up[0]["requestContext"]["condition"] == "RecordAgeExceeded"


# --- lanes and shards -------------------------------------------------------------------------


def test_lanes_keep_the_order_of_each_partition_key() -> None:
    stage = Stage(Settings(batch_size=2, parallelization_factor=4))
    for n in range(5):
        for key in "abcdefgh":
            stage.put(f"{key}{n}", key=key)
    stage.mapping.drain()

    for key in "abcdefgh":
        arrived = [name for call in stage.calls for name in call if name[0] == key]
        assert arrived == [f"{key}{n}" for n in range(5)]


def test_a_lane_that_fails_does_not_hold_up_the_others() -> None:
    stage = Stage(Settings(batch_size=1, parallelization_factor=2))
    stage.put(*(f"r{n}" for n in range(20)))
    stage.answer = failing_with("r0")
    for _ in range(20):
        stage.mapping.poll()

    done = {name for call in stage.calls for name in call} - {"r0"}
    assert done
    assert all("r0" not in call or call == ["r0"] for call in stage.calls)


def test_a_parent_is_drained_before_its_children_are_read() -> None:
    stage = Stage(Settings(batch_size=2), records=6)
    stage.stream.split(stage.stream.shards[0])
    stage.put("late-1", "late-2", "late-3")
    failures = iter(range(3))
    stage.answer = lambda batch: failing_with(*batch)(batch) if next(failures, 3) < 3 else None
    stage.mapping.drain()

    order = [name for call in stage.calls for name in call]
    assert max(order.index(f"r{n}") for n in range(1, 7)) < order.index("late-1")
    assert [shard.open for shard in stage.stream.shards] == [False, True, True]
    assert sum(len(s.hash_keys[:: 2**100]) for s in stage.stream.shards[1:]) == len(
        HASH_KEYS[:: 2**100]
    )


# --- the destination --------------------------------------------------------------------------


def test_the_destination_gets_an_object_with_the_whole_event() -> None:
    stage = Stage(Settings(maximum_retry_attempts=0), records=2)
    stage.answer = failing_with("r1")
    stage.mapping.drain()

    ((key, body),) = stage.store.objects.items()
    uuid = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    assert re.fullmatch(
        f"aws/lambda/{uuid}/shardId-000000000000/2026/01/31/2026-01-31T10\\.20\\.00-{uuid}", key
    )
    told = json.loads(body)
    first, last = (stage.sequence(name) for name in ("r1", "r2"))
    assert told["KinesisBatchInfo"] == {
        "shardId": "shardId-000000000000",
        "startSequenceNumber": first,
        "endSequenceNumber": last,
        "approximateArrivalOfFirstRecord": "2026-01-31T10:20:00.000Z",
        "approximateArrivalOfLastRecord": "2026-01-31T10:20:00.000Z",
        "batchSize": 2,
        "streamArn": "arn:aws:kinesis:eu-west-1:123456789012:stream/rows",
    }
    records = json.loads(told["payload"])["Records"]
    assert [b64decode(r["kinesis"]["data"]) for r in records] == [b"r1", b"r2"]


def test_without_a_destination_what_is_given_up_is_gone() -> None:
    stage = Stage(Settings())
    stage.put("r1")
    mapping = EventSourceMapping(
        stage.stream,
        lambda _: 1 / 0,
        settings=Settings(maximum_retry_attempts=0),
        clock=stage.clock,
    )
    mapping.drain()

    assert len(mapping.given_up) == 1


# --- what is deployed -------------------------------------------------------------------------


def test_the_settings_are_the_templates() -> None:
    settings = Settings.of_write_rows(WriteBatchSize=7)

    assert settings.batch_size == 7
    assert settings.report_batch_item_failures
    assert Settings.of_write_rows().batch_size == 100


def test_records_are_given_up_long_before_the_stream_forgets_them() -> None:
    hours = translated()["Parameters"]["StreamRetentionHours"]["MinValue"]
    assert 0 < Settings.of_write_rows().maximum_record_age_in_seconds <= hours * 3600 / 4
