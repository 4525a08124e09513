"""JSON and compression: strict, and bounded."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from math import isfinite
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batch_core.codec import (
    OverLimitError,
    compress,
    decompress,
    dump_exact,
    dump_json,
    has_no_number,
    parse_exact,
    parse_json,
    parse_strict_json,
)
from batch_core.limits import API_BODY_BYTES

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc\u00e9"), inner),
    max_leaves=20,
)


@given(json_values)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert parse_json(dump_json(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1.10"), b'"1.10"'),
        (timedelta(hours=1), b'"1:00:00"'),
        ({1: "a"}, b'{"1":"a"}'),
        ("caf\u00e9", '"caf\u00e9"'.encode()),
    ],
)
def test_database_types_become_text(value: Any, text: bytes) -> None:
    assert dump_json(value) == text


# --- numbers ----------------------------------------------------------------------------------

json_numbers = st.from_regex(
    r"\A-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][-+]?[0-9]{1,3})?\Z", fullmatch=True
)


def is_finite_double(text: str) -> bool:
    return isfinite(float(text))


@given(json_numbers.filter(is_finite_double))
@example("123456789012345678901234567891")
@example("12345678901234.56789")
@example("0.1234567890123456789")
@example("9007199254740993.0")
@example("1e-400")
def test_a_number_is_read_with_all_its_digits_and_written_with_them(text: str) -> None:
    (number,) = parse_strict_json(b"[%b]" % text.encode())
    assert Decimal(repr(number) if isinstance(number, float) else number) == Decimal(text)
    written, _ = dump_exact([number])
    assert parse_exact(written) == [number]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("18446744073709551616", int),
        ("0.1", float),
        ("1.10", float),
        ("1e22", float),
        ("0.30000000000000004", float),
        ("0.10000000000000001", Decimal),
        ("1e-400", Decimal),
    ],
)
def test_a_number_is_a_float_where_that_is_the_number_as_written(text: str, kind: type) -> None:
    assert type(parse_strict_json(text.encode())) is kind


@given(json_values)
def test_of_values_that_64_bits_and_doubles_hold_the_exact_text_is_the_usual_one(
    value: Any,
) -> None:
    assert dump_exact(value) == (dump_json(value), False)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1.10"), b"1.10"),
        (Decimal("1E+3"), b"1000"),
        ({"a": [2**64, -(2**80)]}, b'{"a":[18446744073709551616,-1208925819614629174706176]}'),
        ((Decimal("0.1234567890123456789"),), b"[0.1234567890123456789]"),
    ],
)
def test_a_number_that_they_do_not_hold_is_written_in_full_and_that_is_told(
    value: Any, text: bytes
) -> None:
    assert dump_exact(value) == (text, True)


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), "\ud800", Decimal("NaN")])
def test_what_has_no_exact_form_is_an_error(value: Any) -> None:
    with pytest.raises(TypeError):
        dump_exact({"x": value, "y": 2**64})


no_numbers = st.sampled_from([float("nan"), float("inf"), float("-inf")])


@given(json_values, no_numbers, st.integers(0, 3))
def test_what_is_no_number_is_found_however_deep(value: Any, hidden: float, depth: int) -> None:
    assert not has_no_number(value, dump_json(value))
    wrapped: Any = hidden
    for level in range(depth):
        wrapped = [None, wrapped] if level % 2 else {"a": None, "b": (value, wrapped)}
    assert has_no_number(wrapped, dump_json(wrapped))


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), "\ud800", 2**64])
def test_what_has_no_json_form_is_an_error(value: Any) -> None:
    with pytest.raises(TypeError):
        dump_json({"x": value})


@pytest.mark.parametrize("parse", [parse_json, parse_strict_json])
@pytest.mark.parametrize(
    "text",
    ["", "{", "NaN", "Infinity", "-Infinity", "{'a': 1}", "[1,]", '"\\ud800"', "01", "[" * 100_000],
)
def test_what_is_not_strict_json_is_an_error(parse: Callable[[bytes], Any], text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the class is the contract
        parse(text.encode())


@given(json_values)
def test_looking_for_twins_changes_no_value(value: Any) -> None:
    text = dump_json(value)
    assert parse_strict_json(text) == parse_json(text)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"a": 1, "a": 1}', "a"),
        ('{"a": 1, "b": 2, "\\u0061": 3}', "a"),
        ('[{"x": {"b": [], "c": 1, "b": 2}}]', "b"),
        ('{"": 1, "": 2}', ""),
        ('{"\\u00e9": 1, "\u00e9": 2}', "\u00e9"),
        (f'{{"{"k" * 500}": 1, "{"k" * 500}": 2}}', "k" * 40),
    ],
)
def test_a_key_given_twice_is_named_and_nothing_else_of_the_text_is(text: str, key: str) -> None:
    with pytest.raises(ValueError, match="twice") as caught:
        parse_strict_json(text.encode())
    assert str(caught.value) == f"the key {key!r} is given twice"


@pytest.mark.parametrize("text", ['{"a": {"a": 1}}', '[{"a": 1}, {"a": 1}]', '{"a": 1, "A": 1}'])
def test_the_same_key_in_another_object_is_no_twin(text: str) -> None:
    assert parse_strict_json(text.encode()) == parse_json(text)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_json_or_a_value_error(text: bytes) -> None:
    try:
        parsed = parse_strict_json(text)
    except ValueError:
        return
    assert parsed == parse_json(text)


@given(st.binary(max_size=5000))
def test_what_is_compressed_inflates_to_itself(data: bytes) -> None:
    assert decompress(compress(data), limit=5000) == data


@given(st.binary(max_size=500), st.booleans())
def test_the_limit_is_exact(data: bytes, as_gzip: bool) -> None:
    packed = gzip.compress(data) if as_gzip else compress(data)
    assert decompress(packed, limit=len(data), gzip=as_gzip) == data
    if data:
        with pytest.raises(OverLimitError, match=f"beyond {len(data) - 1} bytes"):
            decompress(packed, limit=len(data) - 1, gzip=as_gzip)


def test_a_bomb_is_not_inflated() -> None:
    with pytest.raises(OverLimitError):
        decompress(zlib.compress(bytes(50_000_000)), limit=1000)


@given(st.binary(max_size=300), st.data())
def test_a_cut_or_prolonged_stream_is_an_error(data: bytes, draw: st.DataObject) -> None:
    packed = compress(data)
    cut = packed[: draw.draw(st.integers(0, len(packed) - 1))]
    with pytest.raises(ValueError, match="incomplete"):
        decompress(cut, limit=1000)
    with pytest.raises(ValueError, match="followed by more"):
        decompress(packed + b"x", limit=1000)


@given(st.lists(st.tuples(st.binary(max_size=9000), st.integers(0, 9000)), min_size=1, max_size=4))
def test_gzip_may_have_several_members_and_zeros_behind_each(
    members: list[tuple[bytes, int]],
) -> None:
    packed = b"".join(gzip.compress(plain) + bytes(zeros) for plain, zeros in members)
    plain = b"".join(plain for plain, _ in members)
    assert decompress(packed, limit=len(plain), gzip=True) == plain
    with pytest.raises(ValueError, match=r"incomplete|damaged"):
        decompress(packed + b"\x1f", limit=len(plain), gzip=True)
    if plain:
        with pytest.raises(OverLimitError):
            decompress(packed, limit=len(plain) - 1, gzip=True)


def test_as_many_members_as_fit_into_a_body_are_read_one_by_one() -> None:
    member = gzip.compress(b"")
    assert decompress(member * (API_BODY_BYTES // len(member)), limit=0, gzip=True) == b""


@given(st.binary(max_size=300))
def test_any_bytes_inflate_or_are_an_error(data: bytes) -> None:
    try:
        plain = decompress(data, limit=100)
    except ValueError:
        return
    assert len(plain) <= 100
