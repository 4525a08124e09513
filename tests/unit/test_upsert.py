"""SQL text for bulk upserts."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core.errors import ConfigurationError, DataError, GoneError, SchemaError
from batch_core.job import Table
from batch_core.limits import ROW_BYTES, STATEMENT_BYTES
from batch_core.upsert import Upsert, identifier, isolate, literal

TABLE = Table("t", columns=("a", "b"))
UPSERT = Upsert.guarded(TABLE, ("user_id", "a", "b"))


def test_the_statement_guards_each_column_and_assigns_the_version_last() -> None:
    sql = UPSERT.statement([UPSERT.row((1, "x", None, 7)), UPSERT.row((2, "y", True, 7))])

    assert sql.decode() == (
        "INSERT INTO `t` (`user_id`,`a`,`b`,`version`) VALUES (1,'x',NULL,7),(2,'y',1,7)"
        " ON DUPLICATE KEY UPDATE"
        " `a`=IF(VALUES(`version`)>`version`,VALUES(`a`),`a`),"
        "`b`=IF(VALUES(`version`)>`version`,VALUES(`b`),`b`),"
        "`version`=IF(VALUES(`version`)>`version`,VALUES(`version`),`version`)"
    )


@pytest.mark.parametrize(
    ("value", "sql"),
    [
        (None, "NULL"),
        (True, "1"),
        (False, "0"),
        (-5, "-5"),
        (2**64 - 1, "18446744073709551615"),
        (0.1, "0.1"),
        (-1e300, "-1e+300"),
        (Decimal("1.10"), "1.10"),
        (Decimal("-1E+3"), "-1000"),
        (Decimal("9" * 35 + "." + "9" * 30), "9" * 35 + "." + "9" * 30),
        (Decimal("9" * 65), "9" * 65),
        ("it's", "'it''s'"),
        ('"\\', "'\"\\\\'"),
        ("\0", "'\\0'"),
        ("😀\n", "'😀\n'"),
        (["a'b"], "'[\"a''b\"]'"),
        ({"k": ["\\"]}, '\'{"k":["\\\\\\\\"]}\''),
        ([], "'[]'"),
    ],
)
def test_a_json_value_is_written_as_sql(value: object, sql: str) -> None:
    assert literal(value) == sql


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, b"x", object(), {1}])
def test_a_value_without_a_sql_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="cannot be stored"):
        literal(value)


@pytest.mark.parametrize("text", ["1E-31", "9" * 66, "9" * 36 + "." + "9" * 30, "1E+65"])
def test_a_number_with_more_digits_than_a_decimal_holds_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be stored: 65 in all are, 30 behind the point"):
        literal(Decimal(text))


def test_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        UPSERT.row((1, "\ud800", None, 7))


@given(st.text())
def test_text_never_leaves_its_quotes(text: str) -> None:
    sql = literal(text)
    inner = sql[1:-1].replace("\\\\", "").replace("''", "").replace("\\0", "")

    assert sql[0] == sql[-1] == "'"
    assert "'" not in inner
    assert "\\" not in inner


@pytest.mark.parametrize(
    "name", ["", "a b", "a`b", "a;b", "1a", "a" * 65, "a.b", "ä", "a\n", "a-b"]
)
def test_a_name_that_is_not_plain_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="not a name"):
        identifier(name)
    with pytest.raises(ConfigurationError):
        Upsert.guarded(Table("t", columns=(name,)), ("user_id", name))


@given(st.lists(st.text(max_size=4_000), max_size=40))
def test_every_statement_stays_below_the_limit_and_no_row_is_lost(texts: list[str]) -> None:
    rows = []
    for n, text in enumerate(texts):
        try:
            rows.append(UPSERT.row((n, text, None, 7)))
        except ValueError:
            continue
    parts = [rows[part] for part in UPSERT.split(rows)]

    assert [row for part in parts for row in part] == rows
    assert all(len(UPSERT.statement(part)) < STATEMENT_BYTES for part in parts)
    # No two neighbours would have fitted into one.
    for one, two in pairwise(parts):
        assert len(UPSERT.statement([*one, two[0]])) >= STATEMENT_BYTES


def test_no_rows_are_no_statement() -> None:
    assert list(UPSERT.split([])) == []


def test_the_largest_row_that_is_taken_fits_into_a_statement_of_its_own() -> None:
    largest = UPSERT.row((1, "x" * (UPSERT.room - len("(1,'',NULL,7)")), None, 7))

    assert len(largest) == UPSERT.room == ROW_BYTES
    assert len(UPSERT.statement([largest])) < STATEMENT_BYTES
    with pytest.raises(ValueError, match=f"{ROW_BYTES} are allowed"):
        UPSERT.row((1, "x" * UPSERT.room, None, 7))


def test_a_table_of_many_columns_leaves_less_room_for_a_row() -> None:
    names = tuple(f"column_{n}" for n in range(40))
    wide = Upsert.guarded(Table("t", columns=names), ("user_id", *names))
    padding = wide.room - len("(1,'',7)")
    largest = Upsert.guarded(Table("t", columns=names), ("user_id", *names)).row(
        (1, "x" * padding, 7)
    )

    assert len(wide.statement([largest])) == STATEMENT_BYTES - 1


class Acts:
    """Takes everything but the items at fault, and counts how often it is asked."""

    def __init__(self, bad: set[int], error: Exception) -> None:
        self.bad = bad
        self.error = error
        self.taken: list[int] = []
        self.calls = 0

    def __call__(self, items: Sequence[int]) -> None:
        self.calls += 1
        if self.bad & set(items):
            raise self.error
        self.taken.extend(items)


@pytest.mark.parametrize(
    ("items", "bad", "calls"),
    [(0, set(), 0), (10, set(), 1), (1, {0}, 1), (10, {3}, 9), (8, {0}, 7), (4, {0, 1, 2, 3}, 7)],
)
def test_items_at_fault_are_found_by_halving(items: int, bad: set[int], calls: int) -> None:
    act = Acts(bad, DataError("1406: too long"))

    found = isolate(range(items), act)

    assert {item for item, _ in found} == bad
    assert act.taken == [n for n in range(items) if n not in bad]
    assert act.calls == calls


def test_each_item_at_fault_has_its_own_error() -> None:
    def act(items: Sequence[str]) -> None:
        if "gone" in items:
            raise GoneError("1452")
        if "long" in items:
            raise DataError("1406")

    found = isolate(["fine", "long", "gone", "fine"], act)

    assert [(item, type(error)) for item, error in found] == [
        ("long", DataError),
        ("gone", GoneError),
    ]


def test_an_error_that_is_no_items_fault_is_not_searched_for() -> None:
    act = Acts({3}, SchemaError("1054: unknown column"))

    with pytest.raises(SchemaError):
        isolate(range(10), act)
    assert act.calls == 1


@given(st.integers(0, 60), st.sets(st.integers(0, 59)))
def test_whatever_is_at_fault_everything_else_is_taken_once_in_order(n: int, bad: set[int]) -> None:
    act = Acts(bad, DataError("1366"))

    found = isolate(range(n), act)

    assert [item for item, _ in found] == [item for item in range(n) if item in bad]
    assert act.taken == [item for item in range(n) if item not in bad]


def test_json_text_is_what_was_sent() -> None:
    value = {"quote": "'", "backslash": "\\", "both": "\\'"}
    sql = literal(value)[1:-1].replace("''", "'").replace("\\\\", "\\")

    assert json.loads(sql) == value
