"""What the numbers of MySQL and MariaDB mean for us."""

from __future__ import annotations

import pymysql
import pytest

from batch_core import meter
from batch_core.adapters.mysql_errors import classify, number_of
from batch_core.errors import (
    AccessError,
    DatabaseError,
    DataError,
    GoneError,
    SchemaError,
    TransientDatabaseError,
)

# As the design has them; the adapter may know more.
EXPECTED: dict[type[DatabaseError], set[int]] = {
    TransientDatabaseError: {
        1040,
        1153,
        1205,
        1213,
        1290,
        1792,
        1836,
        2003,
        2006,
        2013,
        2055,
        9501,
    },
    AccessError: {1045, 1142},
    SchemaError: {1054, 1146, 1364, 1136, 1064},
    DataError: {1048, 1062, 1264, 1292, 1366, 1406, 3819, 4025},
    GoneError: {1452},
}


@pytest.mark.parametrize(
    ("number", "kind"), [(number, kind) for kind, numbers in EXPECTED.items() for number in numbers]
)
def test_each_number_has_its_class(number: int, kind: type[DatabaseError]) -> None:
    error = classify(pymysql.err.OperationalError(number, "what the server says"))

    assert type(error) is kind
    assert str(error) == f"{number}: what the server says"


@pytest.mark.parametrize(
    "error",
    [
        TypeError("object of type 'NoneType' has no len()"),
        OSError("reset"),
        pymysql.err.InterfaceError(0, ""),
        pymysql.err.InternalError("Packet sequence number wrong"),
        pymysql.err.OperationalError(),
    ],
)
def test_what_is_no_error_of_the_server_means_a_poisoned_connection(error: Exception) -> None:
    meter.reset()

    assert type(classify(error)) is TransientDatabaseError
    assert number_of(error) is None
    assert meter.reading() == {}


def test_an_unknown_number_is_transient_and_counted() -> None:
    meter.reset()

    assert type(classify(pymysql.err.OperationalError(7777, "new"))) is TransientDatabaseError
    assert meter.reading() == {"db_unknown_errors": 1}


def test_an_error_that_was_classified_stays_what_it_is() -> None:
    error = GoneError("1452: gone")

    assert classify(error) is error
