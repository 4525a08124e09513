"""Whose fault the errors of MySQL and MariaDB are."""

from __future__ import annotations

import pymysql
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core import meter
from batch_core.adapters.mysql_errors import classify, number_of
from batch_core.errors import (
    AccessError,
    DatabaseError,
    DataError,
    GoneError,
    SchemaError,
    TransientDatabaseError,
    UnknownDatabaseError,
)

SAID = "what the server says"


def error(number: int, sqlstate: str | None, text: str = SAID) -> pymysql.MySQLError:
    return pymysql.err.OperationalError(number, text, sqlstate=sqlstate)


# As the servers answer; both where they differ.
EXPECTED: dict[type[DatabaseError], list[tuple[int, str | None]]] = {
    TransientDatabaseError: [
        (1020, "HY000"),
        (1040, None),
        (1053, "08S01"),
        (1114, "HY000"),
        (1153, "08S01"),
        (1203, "42000"),
        (1205, "HY000"),
        (1213, "40001"),
        (1226, "42000"),
        (1290, "HY000"),
        (1317, "70100"),
        (1792, "25006"),
        (1836, "HY000"),
        (1927, "70100"),
        (1969, "70100"),
        (2003, None),
        (2006, None),
        (2013, None),
        (2055, None),
        (3024, "HY000"),
        (3101, "40000"),
        (4031, "HY000"),
        (9501, "HY000"),
    ],
    AccessError: [
        (1044, "42000"),
        (1045, "28000"),
        (1130, None),
        (1142, "42000"),
        (1370, "42000"),
        (1698, "28000"),
    ],
    SchemaError: [
        (1049, "42000"),
        (1052, "23000"),
        (1054, "42S22"),
        (1055, "42000"),
        (1060, "42S21"),
        (1064, "42000"),
        (1110, "42000"),
        (1136, "21S01"),
        (1146, "42S02"),
        (1241, "21000"),
        (1267, "HY000"),
        (1305, "42000"),
        (1326, "24000"),
        (1356, "HY000"),
        (1364, "HY000"),
        (1449, "HY000"),
        (1906, "HY000"),
        (3105, "HY000"),
    ],
    DataError: [
        (167, "22003"),
        (1048, "23000"),
        (1062, "23000"),
        (1118, "42000"),
        (1172, "42000"),
        (1242, "21000"),
        (1264, "22003"),
        (1265, "01000"),
        (1292, "22007"),
        (1329, "02000"),
        (1339, "20000"),
        (1365, "22012"),
        (1366, "HY000"),
        (1366, "22007"),
        (1406, "22001"),
        (1416, "22003"),
        (1441, "22008"),
        (1526, "HY000"),
        (1644, "45000"),
        (1690, "22003"),
        (3157, "22032"),
        (3819, "HY000"),
        (4025, "23000"),
        (4078, "HY000"),
        (6527, "22008"),
    ],
    GoneError: [(1216, "23000"), (1452, "23000")],
    UnknownDatabaseError: [(1105, "HY000"), (7777, "HY000"), (7777, None), (7777, "U0001")],
}


@pytest.mark.parametrize(
    ("kind", "number", "sqlstate"),
    [(kind, *told) for kind, all_ in EXPECTED.items() for told in all_],
)
def test_each_error_has_its_class(
    kind: type[DatabaseError], number: int, sqlstate: str | None
) -> None:
    known = classify(error(number, sqlstate))

    assert type(known) is kind
    assert str(known) == known.told == f"{number}: {SAID}"


@pytest.mark.parametrize("number", [1205, 1213, 1290, 1146, 2013, 65_535])
def test_what_a_trigger_refuses_is_the_rows_fault_whatever_number_it_chooses(number: int) -> None:
    assert type(classify(error(number, "45000"))) is DataError


@pytest.mark.parametrize("sqlstate", ["02000", "08S01", "40001", "42S02", "HY000", "99999"])
def test_a_trigger_that_chooses_only_the_class_refuses_the_row(sqlstate: str) -> None:
    number = 1643 if sqlstate == "02000" else 1644

    assert type(classify(error(number, sqlstate))) is DataError


def test_a_number_that_the_driver_reads_as_negative_is_what_the_server_sent() -> None:
    assert number_of(error(50_000 - 65_536, "45000")) == 50_000


@pytest.mark.parametrize(
    "broken",
    [
        TypeError("object of type 'NoneType' has no len()"),
        OSError("reset"),
        pymysql.err.InterfaceError(0, ""),
        pymysql.err.InternalError("Packet sequence number wrong"),
        pymysql.err.OperationalError(),
    ],
)
def test_what_is_no_error_of_the_server_means_a_poisoned_connection(broken: Exception) -> None:
    meter.reset()

    assert type(classify(broken)) is TransientDatabaseError
    assert number_of(broken) is None
    assert meter.reading() == {}


def test_an_unknown_error_is_counted() -> None:
    meter.reset()
    classify(error(7777, "HY000"))

    assert meter.reading() == {"db_unknown_errors": 1}


# As the servers quote them; a value may hold a quote itself.
TEXTS = [
    (1062, "23000", "Duplicate entry '{}' for key 'note.PRIMARY'"),
    (1366, "HY000", "Incorrect integer value: '{}' for column 'score' at row 1"),
    (1292, "22007", "Incorrect datetime value: '{}' for column `a`.`note`.`at` at row 1"),
    (1367, "22007", "Illegal double '{}' value found during parsing"),
    (3854, "HY000", "Cannot convert string '{}' from utf8mb4 to latin1"),
    (7777, "HY000", "Something of '{}' is wrong"),
]


@given(st.sampled_from(TEXTS), st.text(st.characters(codec="utf-8"), max_size=20))
def test_the_text_of_an_error_holds_nothing_of_the_row(
    told: tuple[int, str, str], value: str
) -> None:
    number, sqlstate, template = told
    text = template.format(f"alice{value}")
    known = classify(error(number, sqlstate, text))

    assert "alice" not in str(known)
    assert str(known).startswith(f"{number}: ")
    assert known.told == f"{number}: {text}"


def test_a_value_that_is_only_digits_is_not_told_either() -> None:
    known = classify(error(1526, "HY000", "Table has no partition for value 4711"))

    assert str(known) == "1526: Table has no partition for value #"


def test_a_statement_of_rows_is_not_quoted_and_a_query_is() -> None:
    text = "You have an error in your SQL syntax near 'alice' at line 1"

    assert "alice" not in str(classify(error(1064, "42000", text), of_rows=True))
    assert "alice" in str(classify(error(1064, "42000", text)))


def test_an_error_that_was_classified_stays_what_it_is() -> None:
    gone = GoneError("1452: gone")

    assert classify(gone) is gone
