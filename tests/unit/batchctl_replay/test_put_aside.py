"""What an object that was put aside means, and which are none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core.records import decode, encode
from batchctl.replay.put_aside import Kind, understand
from tests.support.put_aside import (
    BATCH_KEY,
    RECORD_KEY,
    ROWS_KEY,
    RUN,
    batch_object,
    record,
    record_object,
    rows_object,
)


def test_rejected_rows_become_a_replayed_record_of_the_same_place() -> None:
    read = understand(ROWS_KEY, rows_object([1, "one"], [2, None]))

    ((key, data),) = read.records
    assert decode(data) == record((1, "one"), (2, None), trace_id="", segment_id="", replayed=True)
    assert key == f"{RUN}/3/7/0"
    assert (read.kind, set(read.runs), read.rows) == (Kind.ROWS, {RUN}, 2)


def test_errors_are_counted_without_the_users_values_in_them() -> None:
    body = json.loads(rows_object([1, "a"], [2, "b"], error="1366: Incorrect value: 'canary'"))
    body["rejected"].append({"row": [3, "c"], "error": "1406: Data too long"})

    assert understand(ROWS_KEY, json.dumps(body).encode()).errors == {"1366": 2, "1406": 1}


@pytest.mark.parametrize("data", [b"not a record", encode(record((1, "one"), tenant="other"))])
def test_a_record_goes_back_byte_for_byte(data: bytes) -> None:
    read = understand(RECORD_KEY, record_object(data))

    assert read.kind is Kind.RECORD
    assert read.records == (("4001", data),)
    assert read.errors == {"damaged": 1}


def test_a_record_that_can_be_read_tells_its_run_and_its_rows() -> None:
    read = understand(RECORD_KEY, record_object(encode(record((1, "one"), (2, "two")))))
    assert (set(read.runs), read.rows) == ({RUN}, 2)

    read = understand(RECORD_KEY, record_object(b"not a record"))
    assert (set(read.runs), read.rows) == (set(), 0)


@pytest.mark.parametrize("as_text", [True, False])
def test_the_records_of_a_batch_go_back_with_their_partition_keys(as_text: bool) -> None:
    other = record((2, "two"), run_id="demo-20260131T101000Z")
    records = (("a", encode(record((1, "one")))), ("b", encode(other)), ("c", b"poison"))

    read = understand(BATCH_KEY, batch_object(*records, as_text=as_text))

    assert (read.kind, read.records) == (Kind.BATCH, records)
    assert (set(read.runs), read.rows) == ({RUN, "demo-20260131T101000Z"}, 2)
    assert read.errors == {"RetryAttemptsExhausted": 1}


@pytest.mark.parametrize(
    ("key", "body", "why"),
    [
        (ROWS_KEY, b"", "Expecting value"),
        (ROWS_KEY, b"[]", "wrong type"),
        (ROWS_KEY, b"null", "wrong type"),
        (ROWS_KEY, b"{}", "rejected is missing"),
        (ROWS_KEY, rows_object([1, "one"], version=None), "not a record"),
        (ROWS_KEY, rows_object([1, "one", "one more"]), "not as many values"),
        (ROWS_KEY, rows_object([1, "one"], rejected=[{"row": [1, "a"]}]), "error is missing"),
        (ROWS_KEY, rows_object([1, "one"], rejected=7), "wrong type"),
        (RECORD_KEY, b'{"error": "e"}', "data is missing"),
        (RECORD_KEY, b'{"error": "e", "data": "%%%"}', "base64"),
        (RECORD_KEY, b'{"error": "e", "data": 7}', "wrong type"),
        (BATCH_KEY, b'{"requestContext": {}}', "payload is missing"),
        (BATCH_KEY, b'{"payload": "{"}', "end of data|unexpected end|EOF"),
        (BATCH_KEY, b'{"payload": {"Records": [{"dynamodb": {}}]}}', "kinesis is missing"),
        (BATCH_KEY, batch_object(as_text=True), "no records"),
    ],
)
def test_what_is_no_such_object_is_an_error_that_says_why(key: str, body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        understand(key, body)


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["payload", "Records", "kinesis", "data", "error", "rejected", "row"]),
            inner,
            max_size=4,
        )
    ),
)


@given(key=st.sampled_from([ROWS_KEY, RECORD_KEY, BATCH_KEY]), body=anything)
def test_any_other_document_is_an_error(key: str, body: object) -> None:
    try:
        read = understand(key, json.dumps(body).encode())
    except ValueError:
        return
    # By chance a whole record, whose bytes are then whatever the text says.
    assert read.kind is Kind.RECORD
