"""What a driver's error means for us: the one place that knows MySQL's and MariaDB's numbers.

https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html
"""

from __future__ import annotations

from typing import Final

import pymysql

from batch_core import meter
from batch_core.errors import (
    AccessError,
    DatabaseError,
    DataError,
    GoneError,
    SchemaError,
    TransientDatabaseError,
)

LOCK_WAIT_TIMEOUT: Final = 1205
DEADLOCK: Final = 1213

_CLASSES: Final[dict[type[DatabaseError], set[int]]] = {
    TransientDatabaseError: {
        1021,  # disk full
        1040,  # too many connections
        1053,  # server shutdown in progress
        1153,  # packet too big: the server's setting, not the row, whose size is bounded here
        1203,  # too many connections of this user
        LOCK_WAIT_TIMEOUT,  # only the statement is rolled back
        DEADLOCK,  # all of the transaction is rolled back
        1226,  # this user's quota of connections or queries
        1290,  # read-only: this is the old writer of a failover
        1317,  # the statement was killed
        1412,  # the table was altered since the transaction began
        1792,  # read-only transaction
        1836,  # read-only mode
        1927,  # connection was killed (MariaDB)
        2003,  # cannot connect
        2006,  # server has gone away
        2013,  # lost connection during query
        2014,  # commands out of sync
        2055,  # lost connection, with the system's error
        3101,  # rolled back by the replication group
        4031,  # closed by the server for having rested too long (MySQL)
        9501,  # RDS Proxy: no connection within the borrow timeout
    },
    AccessError: {
        1044,  # no right to the schema
        1045,  # wrong user, password or expired token
        1142,  # no right to the table
        1143,  # no right to the column
        1227,  # no such privilege
        1698,  # wrong user, no password tried
        3118,  # account locked
    },
    SchemaError: {
        1049,  # no such schema
        1054,  # no such column
        1060,  # two columns of one name
        1064,  # syntax
        1136,  # number of columns and of values differ
        1146,  # no such table
        1364,  # a column without a default was left out
        1724,  # more than one unique key (MariaDB, unsafe for replication)
    },
    DataError: {
        1048,  # NULL in a NOT NULL column
        1062,  # duplicate of another unique key
        1264,  # number out of range
        1265,  # truncated, such as a word not in an ENUM
        1292,  # not a date or a number
        1366,  # not a value of the column's type or character set
        1406,  # too long
        1411,  # not a value for a function
        1526,  # no partition for it
        1644,  # a trigger refused it
        1690,  # number out of range in an expression
        3140,  # not JSON (MySQL)
        3819,  # CHECK (MySQL)
        4025,  # CHECK (MariaDB), also "not JSON" there
    },
    GoneError: {
        1216,  # foreign key, told to a user without rights on the parent
        1452,  # foreign key: the user was deleted since it was listed
    },
}

_BY_NUMBER: Final = {number: kind for kind, numbers in _CLASSES.items() for number in numbers}


def classify(error: Exception) -> DatabaseError:
    """Say what an error that came out of the driver means.

    An error that is none of MySQL's, such as a TypeError from within the driver, means that the
    connection is poisoned, which passes. An unknown number is taken for transient too: the retries
    are bounded, and good data is not put aside for an error nobody has seen; it is counted.
    """
    if isinstance(error, DatabaseError):
        return error
    number = number_of(error)
    if number is None:
        return TransientDatabaseError(f"the driver failed with {type(error).__name__}: {error}")
    kind = _BY_NUMBER.get(number)
    if kind is None:
        meter.count("db_unknown_errors")
        kind = TransientDatabaseError
    text = error.args[1] if len(error.args) > 1 else type(error).__name__
    return kind(f"{number}: {text}")


def number_of(error: BaseException | None) -> int | None:
    """MySQL's number of an error, if it has one."""
    if isinstance(error, pymysql.MySQLError) and error.args and isinstance(error.args[0], int):
        return error.args[0] or None
    return None
