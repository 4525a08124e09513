"""What cannot be read or stored is put aside, and the shard moves on; what Write Rows answers."""

from __future__ import annotations

import re
from typing import Any

import pytest

from batch_core.codec import compress, decompress, dump_json, parse_json
from batch_core.job import Row
from functions.write_rows import app as write_rows
from tests.faults.conftest import Lab
from tests.support.event_source_mapping import (
    BatchFailed,
    Settings,
    first_undone,
)
from tests.support.fakes_api import FakeStream
from tests.support.stream_lab import (
    FIRST_VERSION,
    Group,
    StreamLab,
    row,
    write_rows_function,
)


def a_record(**changes: Any) -> bytes:
    """A record of Process Users with other fields."""
    produced = FakeStream()
    Group(FIRST_VERSION, 99, {99: row("from the future")}).put(produced)
    ((_, data),) = produced.records
    return compress(dump_json(parse_json(decompress(data, limit=10_000)) | changes))


BAD_BASE64 = b"delivered as text that is not base64"

POISON: dict[str, bytes] = {
    "a record that is not base64": BAD_BASE64,
    "a record that is not compressed": b"\x00\x01plain",
    "a record that is not JSON": compress(b'{"v": 1,'),
    "a record of an unknown version": a_record(v=99),
    "a record of another tenant": a_record(tenant="other"),
    "a record without rows": a_record(rows=None),
}


def spoiling_base64(event: dict[str, Any]) -> Any:
    """Write Rows, behind something that garbles one record on the way."""
    for record in event["Records"]:
        if record["kinesis"]["partitionKey"] == "poison":
            record["kinesis"]["data"] = "%%%"
    return write_rows_function(event)


@pytest.mark.fault(34)
@pytest.mark.parametrize("injected", POISON)
def test_a_poison_record_is_put_aside_and_the_records_around_it_are_stored(
    lab: Lab, stream_lab: StreamLab, injected: str
) -> None:
    stream_lab.put_many(3)
    stream_lab.stream.put([("poison", POISON[injected])])
    stream_lab.put(Group(FIRST_VERSION, 3, {900: row("behind the poison")}))
    spoils = POISON[injected] is BAD_BASE64
    mapping = stream_lab.mapping(
        spoiling_base64 if spoils else write_rows_function,
        settings=Settings(report_batch_item_failures=True, maximum_retry_attempts=0),
    )
    mapping.drain()

    assert len(mapping.invocations) == 1
    ((key, kept),) = stream_lab.quarantine.items()
    assert key == "quarantine/records/99.json"
    assert kept["error"]
    assert mapping.given_up == []
    lab.report(
        injected,
        times=1,
        users=stream_lab.rows_put,
        accounted=stream_lab.tally.settled,
        lost=stream_lab.lost,
    )


CONSTRAINTS: dict[str, tuple[Row, str]] = {
    "text too long (1406)": (row("x" * 501), "1406"),
    "NULL in a NOT NULL column (1048)": (row("n", action=None), "1048"),
    "a number out of range (1264)": (row("n", score=1e9), "1264"),
    "not a date (1292)": (row("n", occurred_at="yesterday"), "1292"),
    "not JSON (4025 or 3140)": (row("n", devices="{"), "4025|3140"),
    "a row that escaping makes too large": (row("'" * 9_000), "bytes of SQL"),
}


@pytest.mark.fault(34)
@pytest.mark.parametrize("injected", CONSTRAINTS)
def test_a_row_that_the_database_refuses_is_put_aside_and_its_group_is_stored(
    lab: Lab, stream_lab: StreamLab, injected: str
) -> None:
    bad, error = CONSTRAINTS[injected]
    rows = {user: row(f"good {user}") for user in range(1, 21)}
    stream_lab.put(Group(FIRST_VERSION, 0, rows | {7: bad, 13: bad}))
    for user in (7, 13):
        del stream_lab.newest[user]
    mapping = stream_lab.mapping()
    mapping.drain()

    assert len(mapping.invocations) == 1
    (kept,) = stream_lab.quarantine.values()
    assert [put_aside["row"][0] for put_aside in kept["rejected"]] == [7, 13]
    assert all(re.search(error, put_aside["error"]) for put_aside in kept["rejected"])
    assert (stream_lab.tally.stored, stream_lab.tally.rejected) == (18, 2)
    lab.report(
        f"rows refused: {injected}",
        times=2,
        users=stream_lab.rows_put,
        accounted=stream_lab.tally.settled,
        lost=stream_lab.lost,
    )


@pytest.mark.fault(34)
def test_a_poison_row_that_arrives_twice_counts_once(lab: Lab, stream_lab: StreamLab) -> None:
    rows = {user: row(f"good {user}") for user in range(1, 6)}
    group = Group(FIRST_VERSION, 0, rows | {3: row("x" * 501)})
    stream_lab.put(group)
    del stream_lab.newest[3]
    group.put(stream_lab.stream)
    mapping = stream_lab.mapping()
    mapping.drain()

    assert [len(call) for call in mapping.invocations] == [2]
    lab.report(
        "a record with a row that is refused, twice in one batch",
        times=2,
        users=stream_lab.rows_put,
        accounted=stream_lab.tally.settled,
        lost=stream_lab.lost,
    )
    assert stream_lab.tally.rejected == 1


# --- 36: what the writer answers, and what the mapping makes of it ----------------------------

ANSWERS: dict[str, tuple[Any, bool]] = {
    "an empty identifier": ({"batchItemFailures": [{"itemIdentifier": ""}]}, False),
    "a null identifier": ({"batchItemFailures": [{"itemIdentifier": None}]}, False),
    "an identifier of no record": ({"batchItemFailures": [{"itemIdentifier": "7"}]}, False),
    "a wrong inner key": ({"batchItemFailures": [{"identifier": "96"}]}, False),
    "an empty list": ([], True),
    "an empty object": ({}, True),
    "null": (None, True),
    "an empty text": ("", True),
    "null for the list": ({"batchItemFailures": None}, True),
    "what Write Rows answers": ({"batchItemFailures": []}, True),
}


@pytest.mark.fault(36)
@pytest.mark.parametrize("injected", ANSWERS)
def test_no_answer_makes_the_mapping_lose_a_row(
    lab: Lab, stream_lab: StreamLab, injected: str
) -> None:
    """An answer that means failure costs a second delivery; one that means success, nothing."""
    answer, success = ANSWERS[injected]
    stream_lab.put_many(4)
    answers = iter([answer])

    def misanswering(event: dict[str, Any]) -> Any:
        truth = write_rows_function(event)
        return next(answers, truth)

    mapping = stream_lab.mapping(misanswering, settings=Settings(report_batch_item_failures=True))
    mapping.drain()

    assert len(mapping.invocations) == (1 if success else 2)
    lab.report(
        f"the answer replaced by {injected}",
        times=1,
        users=stream_lab.rows_put,
        accounted=stream_lab.tally.settled,
        lost=stream_lab.lost,
    )


@pytest.mark.fault(36)
def test_write_rows_never_answers_what_the_mapping_takes_for_success_when_nothing_is_stored(
    lab: Lab, stream_lab: StreamLab
) -> None:
    stream_lab.put_many(2)
    stream_lab.sql("RENAME TABLE user_activity TO elsewhere")
    answers: list[Any] = []

    write = stream_lab.timed(write_rows.writer())

    def noting(event: dict[str, Any]) -> Any:
        answers.append(write(event))
        return answers[-1]

    mapping = stream_lab.mapping(noting)
    for _ in range(3):
        mapping.poll()
    assert answers == []
    assert stream_lab.tally.settled == 0

    stream_lab.sql("RENAME TABLE elsewhere TO user_activity")
    mapping.drain()

    assert answers
    assert all(first_undone(answer, []) is None for answer in answers)
    with pytest.raises(BatchFailed):
        first_undone({"batchItemFailures": [{"itemIdentifier": "1"}]}, [])
    lab.report(
        "the table renamed away during three deliveries",
        times=3,
        users=stream_lab.rows_put,
        accounted=stream_lab.tally.settled,
        lost=stream_lab.lost,
    )
