"""Whose fault an error of MySQL or MariaDB is: the class of its SQLSTATE says, or else its number.

The first two characters of a SQLSTATE are its class, which the standard defines and both servers
use alike. Numbers decide where a class says too little or the wrong thing: in `HY`, the class of
what has no other; where a trigger chooses the class; and at the greeting, which has none.
https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html
https://mariadb.com/kb/en/sqlstate/
"""

from __future__ import annotations

import re
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
    UnknownDatabaseError,
)

LOCK_WAIT_TIMEOUT: Final = 1205
DEADLOCK: Final = 1213

# A trigger's own condition says 45, whatever number it chooses: it judges the row.
_SIGNAL: Final = "45"
_CLASSES: Final[dict[type[DatabaseError], set[str]]] = {
    DataError: {
        "01",  # a warning, which strict mode made an error
        "02",  # a trigger found no row
        "20",  # a trigger has no case for it
        "21",  # more than one row or column where one is due
        "22",  # a value that does not fit
        "23",  # a constraint
        "44",  # a view's WITH CHECK OPTION
        _SIGNAL,
    },
    SchemaError: {
        "07",  # dynamic SQL
        "0A",  # not supported
        "0K",  # RESIGNAL outside a handler
        "24",  # a cursor that is not open, or open already
        "2B",  # privileges that hang on a descriptor
        "2F",  # a function that ended without RETURN
        "34",  # no such cursor
        "35",  # no such condition
        "3D",  # no schema chosen
        "3F",  # no such schema
        "42",  # syntax, names, rights
    },
    AccessError: {"28"},
    TransientDatabaseError: {
        "08",  # the connection
        "25",  # a transaction that is read-only: the old writer of a failover
        "40",  # rolled back
        "57",  # an operator intervenes
        "70",  # interrupted, killed, out of time
        "XA",
    },
}
_NUMBERS: Final[dict[type[DatabaseError], set[int]]] = {
    TransientDatabaseError: {
        1020,  # the record has changed since it was read (MariaDB's snapshots)
        1021,  # disk full
        1026,  # a file cannot be written
        1030,  # the engine failed, most often for lack of space
        1037,  # out of memory
        1038,  # out of memory for sorting
        1040,  # too many connections; told without a class
        1041,  # out of memory
        1114,  # the table is full, since the disk is
        1129,  # this host is blocked; another environment may have another
        1135,  # no thread for it
        1180,  # COMMIT failed
        1181,  # ROLLBACK failed
        1197,  # the transaction does not fit into the binary log's cache
        1203,  # too many connections of this user
        LOCK_WAIT_TIMEOUT,  # only the statement is rolled back
        1206,  # no room for locks
        1223,  # FLUSH TABLES WITH READ LOCK
        1226,  # this user's quota of connections or queries
        1290,  # read-only: this is the old writer of a failover
        1297,  # "temporary error"
        1412,  # the table was altered since the transaction began
        1598,  # the binary log cannot be written
        1615,  # prepare again
        1637,  # too many transactions
        1689,  # the wait for a lock was broken off
        1836,  # read-only mode
        3024,  # out of time (MySQL)
        3058,  # a deadlock of GET_LOCK
        3100,  # a hook of the replication failed
        3168,  # "server isn't available"
        3572,  # NOWAIT
        4031,  # closed by the server for having rested too long (MySQL)
        9501,  # RDS Proxy: no connection within the borrow timeout
    },
    AccessError: {
        1044,  # no right to the schema
        1130,  # this host may not connect; told without a class
        1142,  # no right to the table
        1143,  # no right to the column
        1227,  # no such privilege
        1251,  # the server asks for a way to log in that the client does not know
        1370,  # no right to the routine
        1820,  # the password must be changed
        1862,  # the password has expired
        3118,  # account locked
        3159,  # TLS is demanded
        3955,  # account blocked after wrong passwords
    },
    SchemaError: {
        1016,  # a table's file cannot be opened
        1017,  # a table's file is not there
        1034,  # a damaged index
        1035,  # a damaged index
        1036,  # the table is read-only
        1052,  # an ambiguous column
        1058,  # as many names as columns are due
        1111,  # an aggregate where none may be
        1116,  # too many tables
        1136,  # as many values as columns are due
        1191,  # no full-text index
        1193,  # no such variable
        1194,  # the table is marked as crashed
        1195,  # the table is marked as crashed
        1210,  # wrong arguments
        1221,  # clauses that do not go together
        1222,  # a UNION of different widths
        1241,  # more columns than one
        1267,  # collations that do not go together
        1270,  # as before, of three
        1271,  # as before, of more
        1273,  # no such collation
        1288,  # a view that cannot be written
        1356,  # a view that no longer works
        1364,  # a column without a default was left out
        1423,  # as before, behind a view
        1442,  # a trigger writes its own table
        1449,  # the definer does not exist
        1471,  # a view that nothing can be inserted into
        1712,  # a damaged index
        1724,  # more than one unique key (MariaDB, unsafe for replication)
        1812,  # the tablespace is missing
        1814,  # the tablespace is discarded
        1877,  # a damaged table
        1906,  # a generated column is named (MariaDB)
        3065,  # ORDER BY what DISTINCT leaves out
        3105,  # a generated column is named (MySQL)
        3593,  # a window function where none may be (MySQL)
        4015,  # a window function where none may be (MariaDB)
    },
    DataError: {
        1118,  # the row is too large for a page
        1139,  # not a regular expression
        1162,  # a text longer than a packet
        1172,  # a trigger's SELECT INTO found several rows
        1259,  # not what COMPRESS made
        1301,  # a text longer than a packet
        1366,  # not a value of the column's type or character set
        1369,  # a view's WITH CHECK OPTION
        1411,  # not a value for a function
        1467,  # no number left to count up to
        1526,  # no partition for it
        1643,  # a trigger's own "not found"
        1644,  # a trigger refused it
        1748,  # not a row of this partition
        3057,  # not a name for GET_LOCK
        3143,  # not a JSON path (MySQL)
        3149,  # a JSON path with a wildcard
        3153,  # a JSON path with a wildcard
        3643,  # not the column's spatial reference
        *range(3685, 3700),  # regular expressions (MySQL)
        3819,  # CHECK (MySQL)
        3854,  # text that the other character set lacks
        3988,  # text that the other character set lacks
        4038,  # not JSON (MariaDB)
        4042,  # not a JSON path (MariaDB)
        4078,  # types that do not go together: a number for an INET6 (MariaDB)
        4079,  # a type that does not go with a function (MariaDB)
        4084,  # a sequence has run out (MariaDB)
        4163,  # not a name for GET_LOCK
        6136,  # not a vector (MySQL)
    },
    GoneError: {
        1216,  # foreign key, told to a user without rights on the parent
        1452,  # foreign key: the user was deleted since it was listed
    },
}

# The client's own numbers: cannot connect, lost, out of step.
_CLIENT: Final = range(2000, 3000)
_BY_CLASS: Final = {name: kind for kind, names in _CLASSES.items() for name in names}
_BY_NUMBER: Final = {number: kind for kind, numbers in _NUMBERS.items() for number in numbers}
# "... near '<a piece of the statement>' at line 1".
_QUOTES_STATEMENT: Final = {1064, 1149}
_QUOTED: Final = re.compile(r"""['"].*['"]""", re.DOTALL)
_DIGITS: Final = re.compile(r"\d+")


def classify(error: Exception, *, of_rows: bool = False) -> DatabaseError:
    """Say whose fault an error is that came out of the driver.

    An error that is none of MySQL's, such as a TypeError from within the driver, means that the
    connection is poisoned, which passes.

    Parameters
    ----------
    of_rows
        Whether the statement held users' values, which must not become part of the error's text.
    """
    if isinstance(error, DatabaseError):
        return error
    number = number_of(error)
    if number is None:
        return TransientDatabaseError(f"the driver failed with {type(error).__name__}: {error}")
    kind = kind_of(number, getattr(error, "sqlstate", None) or "")
    if kind is UnknownDatabaseError:
        meter.count("db_unknown_errors")
    text = str(error.args[1]) if len(error.args) > 1 else type(error).__name__
    told = f"{number}: {text}"
    if issubclass(kind, DataError | GoneError | UnknownDatabaseError):
        return kind(f"{number}: {without_values(text)}", told=told)
    if of_rows and number in _QUOTES_STATEMENT:
        return kind(f"{number}: {without_values(text)}")
    return kind(told)


def kind_of(number: int, sqlstate: str) -> type[DatabaseError]:
    """The class of error that says what to do."""
    if sqlstate[:2] == _SIGNAL:
        return DataError
    if number in _CLIENT and not sqlstate:
        return TransientDatabaseError
    return _BY_NUMBER.get(number) or _BY_CLASS.get(sqlstate[:2]) or UnknownDatabaseError


def without_values(text: str) -> str:
    """A text of the server without what a row may have put into it: what is quoted, and digits."""
    return _DIGITS.sub("#", _QUOTED.sub("'...'", text))


def number_of(error: BaseException | None) -> int | None:
    """MySQL's number of an error, if it has one."""
    if isinstance(error, pymysql.MySQLError) and error.args and isinstance(error.args[0], int):
        # The driver reads two bytes with a sign, and a trigger may choose any number.
        return error.args[0] % 65_536 or None
    return None
