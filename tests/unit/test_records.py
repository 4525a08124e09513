"""Records: what the writer decodes is what was encoded, in parts that fit."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core.codec import compress, decompress, dump_json, parse_json
from batch_core.limits import RECORD_JSON_BYTES
from batch_core.records import PLAIN_BYTES, Record, decode, encode, encode_parts
from batch_core.upsert import literal
from batch_core.user_state import Mark

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
decimals = st.decimals(-(10**34), 10**34, places=30)
cells = st.none() | st.integers(-(2**63), 2**63) | text | st.lists(text, max_size=3)


def record(rows: list[tuple[Any, ...]]) -> Record:
    return Record(
        tenant="demo",
        run_id="demo-20260131T102000Z",
        chunk=4,
        group=17,
        version=1769854800000,
        trace_id="1-abc",
        segment_id="def",
        part=0,
        columns=("user_id", "name"),
        rows=tuple(rows),
    )


FIELDS = {
    "v": 1,
    "tenant": "demo",
    "run": "r",
    "chunk": 0,
    "group": 0,
    "version": 1,
    "trace": "",
    "segment": "",
    "part": 0,
    "columns": ["user_id"],
    "rows": [[1]],
}


@given(st.lists(st.tuples(st.integers(), cells), max_size=20).map(lambda rows: rows))
def test_a_record_is_decoded_as_it_was_encoded(rows: list[tuple[Any, ...]]) -> None:
    rows = [(user % 2**63, cell) for user, cell in rows]
    assert decode(encode(record(rows))) == record(rows)


@given(st.lists(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | decimals))
def test_every_number_keeps_all_its_digits_on_its_way_into_sql(numbers: list[Any]) -> None:
    rows = decode(encode(record([(1, number) for number in numbers]))).rows
    assert [Decimal(literal(number)) for _, number in rows] == [
        Decimal(repr(number)) if isinstance(number, float) else number for number in numbers
    ]


def test_a_record_that_older_code_would_round_says_so_by_its_version() -> None:
    for number, version in [(2**63, 1), (2**64, 2), (0.1, 1), (Decimal("0.1"), 2)]:
        fields = parse_json(decompress(encode(record([(1, number)])), limit=1000))
        assert fields["v"] == version


def test_a_replayed_record_is_decoded_as_replayed() -> None:
    replayed = replace(record([(1, "one")]), replayed=True)
    assert decode(encode(replayed)) == replayed


@pytest.mark.parametrize("change", [{}, {"replayed": False}, {"replayed": None}, {"replayed": 1}])
def test_a_record_that_does_not_say_it_is_replayed_is_not(change: dict[str, Any]) -> None:
    assert not decode(compress(dump_json(FIELDS | change))).replayed


@given(
    st.lists(st.tuples(st.integers(0, 2**63), st.binary(max_size=300).map(bytes.hex)), max_size=60),
    st.integers(250, 3000),
)
def test_parts_hold_every_row_once_in_order_and_fit(
    rows: list[tuple[Any, ...]], limit: int
) -> None:
    whole = record(rows)
    parts = encode_parts(whole, limit=limit)
    assert [part.part for part, _ in parts] == list(range(len(parts)))
    assert [row for part, _ in parts for row in part.rows] == rows
    assert len({part.partition_key for part, _ in parts}) == len(parts)
    for part, data in parts:
        assert decode(data) == part
        assert replace(part, part=0, rows=(), attempt=0) == replace(whole, rows=())
        assert len(part.partition_key) + len(data) <= limit or len(part.rows) == 1


def test_the_parts_of_one_attempt_carry_one_number_and_those_of_another_a_different_one() -> None:
    whole = record([(n, "x" * 100) for n in range(100)])

    def attempts(of: Record) -> set[int]:
        return {part.attempt for part, _ in encode_parts(of, limit=200)}

    (number,) = attempts(whole)
    assert attempts(whole) == {number}
    for other in (
        replace(whole, segment_id="another invocation"),
        replace(whole, rows=whole.rows[1:]),
        replace(whole, marks=(Mark(1, 1),)),
    ):
        assert len(attempts(other)) == 1
        assert attempts(other) != {number}


def test_a_record_that_fits_stays_whole() -> None:
    assert len(encode_parts(record([(n, "x" * 100) for n in range(1000)]))) == 1


def test_rows_that_pack_a_thousandfold_are_cut_by_what_the_writer_unpacks() -> None:
    rows = [(n, "x" * 14_900) for n in range(1000)]
    parts = encode_parts(record(rows))
    assert [row for part, _ in parts for row in decode(encode(part)).rows] == rows
    for _, data in parts:
        assert len(decompress(data, limit=PLAIN_BYTES)) <= RECORD_JSON_BYTES


def test_one_row_more_than_fits_makes_two_parts() -> None:
    def parts(rows: int) -> int:
        noise = [(n, f"{n * n * 7919:x}" * 20) for n in range(rows)]
        return len(encode_parts(record(noise), limit=2000))

    most = next(rows for rows in range(1000) if parts(rows + 1) > 1)
    assert (parts(most), parts(most + 1)) == (1, 2)


def test_the_partition_key_tells_groups_apart() -> None:
    assert record([]).partition_key == "demo-20260131T102000Z/4/17/0"


@pytest.mark.parametrize("field", list(FIELDS))
def test_a_record_that_lacks_a_field_is_an_error(field: str) -> None:
    fields = {name: value for name, value in FIELDS.items() if name != field}
    with pytest.raises(ValueError, match=field):
        decode(compress(dump_json(fields)))


@pytest.mark.parametrize(
    "change",
    [
        {"v": 3},
        {"v": "1"},
        {"rows": [[1, 2]]},
        {"rows": [[]]},
        {"rows": [1]},
        {"rows": None},
        {"rows": 7},
        {"columns": 7},
        {"chunk": "x"},
        {"chunk": None},
        {"part": []},
    ],
)
def test_a_record_of_another_shape_is_an_error(change: dict[str, Any]) -> None:
    decode(compress(dump_json(FIELDS)))
    with pytest.raises(ValueError):  # noqa: PT011 - the class is the contract
        decode(compress(dump_json({**FIELDS, **change})))


@pytest.mark.parametrize("value", [None, 7, "text", [], [1], {}])
def test_json_that_is_no_record_is_an_error(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the class is the contract
        decode(compress(dump_json(value)))


@given(st.binary())
def test_any_bytes_are_a_record_or_an_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the class is the contract
        decode(data)


def test_a_bomb_is_an_error() -> None:
    with pytest.raises(ValueError, match="inflates beyond"):
        decode(compress(b" " * (PLAIN_BYTES + 1)))
