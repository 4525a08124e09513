"""SQL text for guarded bulk upserts, built once per row, and the search for rows at fault.

The text is made here rather than by the driver's `executemany`, which spends as much CPU again on
a regular expression and a generic escaper. It must be read by MySQL and by MariaDB, hence
`VALUES(column)` and not `AS new`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any, Final, Self

from batch_core.codec import dump_exact
from batch_core.errors import ConfigurationError, DatabaseError, DataError, GoneError
from batch_core.job import Table
from batch_core.limits import DECIMAL_DIGITS, DECIMAL_PLACES, ROW_BYTES, STATEMENT_BYTES

# What one row is at fault for, whoever else is in its statement.
OF_ROWS: Final = (DataError, GoneError)

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,63}")


def is_name(name: object) -> bool:
    """Tell whether this is a plain name: at most 64 letters, digits, `_` and `$`."""
    return isinstance(name, str) and _IDENTIFIER.fullmatch(name) is not None


def identifier(name: str) -> str:
    """Quote the name of a table or column.

    Raises
    ------
    ConfigurationError
        When it is not a plain name.
    """
    if not is_name(name):
        raise ConfigurationError(
            f"{name!r} is not a name for a table or column: use letters, digits, _ and $"
        )
    return f"`{name}`"


def literal(value: object) -> str:
    """Write a JSON value or a Decimal as SQL; lists and objects become JSON text.

    Only the quote and the backslash need escaping within quotes, and doubling both keeps text
    inside its quotes whatever the server's mode. NUL is escaped for the sake of logs and proxies.

    Raises
    ------
    ValueError
        When the value has no SQL form: an infinity, NaN, more digits than a DECIMAL has, or a type
        that JSON does not have.
    """
    write = _WRITERS.get(type(value))
    if write is None:
        raise ValueError(f"a value of type {type(value).__name__} cannot be stored")
    return write(value)


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped.replace('\0', '\\0')}'"


def _float(value: float) -> str:
    # A decimal literal, not a double's, so that 0.1 arrives in a DECIMAL column as it was sent.
    if value - value != 0:
        raise ValueError(f"{value} cannot be stored")
    return repr(value)


def _decimal(value: Decimal) -> str:
    text = format(value, "f")
    whole, _, places = text.lstrip("-").partition(".")
    if len(places) > DECIMAL_PLACES or len(whole.lstrip("0")) + len(places) > DECIMAL_DIGITS:
        raise ValueError(
            f"a number of {len(whole)} digits before and {len(places)} behind the point cannot be "
            f"stored: {DECIMAL_DIGITS} in all are, {DECIMAL_PLACES} behind the point"
        )
    return text


def _json(value: Any) -> str:
    return _text(dump_exact(value)[0].decode())


_WRITERS: Final[dict[type, Callable[[Any], str]]] = {
    str: _text,
    int: repr,
    float: _float,
    Decimal: _decimal,
    bool: {True: "1", False: "0"}.__getitem__,
    type(None): lambda _: "NULL",
    dict: _json,
    list: _json,
    tuple: _json,
}


class Format(Enum):
    """What a column takes instead of the JSON value as it is."""

    BYTES = "bytes"  # written as hex text, with or without the dashes of a UUID
    JSON = "json"  # any JSON value; text must be JSON text


def _bytes(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case str():
            with suppress(ValueError):
                return f"X'{bytes.fromhex(value.replace('-', '')).hex()}'"
    raise ValueError("a column of bytes takes hex text")


def _document(value: object) -> str:
    # A number or a boolean as SQL has it is no JSON to MySQL.
    return _json(value) if isinstance(value, bool | int | float | Decimal) else literal(value)


_FORMATS: Final[dict[Format, Callable[[Any], str]]] = {
    Format.BYTES: _bytes,
    Format.JSON: _document,
}


@dataclass(frozen=True, slots=True)
class Upsert:
    """What stands around the rows of a statement.

    Parameters
    ----------
    writers
        What writes the values of a row, where they are not all written alike.
    """

    head: bytes
    tail: bytes
    writers: tuple[Callable[[Any], str], ...] = ()

    @classmethod
    def guarded(
        cls, table: Table, columns: Sequence[str], formats: Mapping[str, Format] | None = None
    ) -> Self:
        """The upsert into a job's table: every column changes only for a newer version.

        Parameters
        ----------
        columns
            The key and then the others, without the version, which the rows carry last.
        formats
            Of the columns that take something else than the JSON value as it is.

        Raises
        ------
        ConfigurationError
            When a name is not a plain name.
        """
        version = identifier(table.version)
        names = [identifier(column) for column in columns]
        newer = f"VALUES({version})>{version}"
        # Assignments run from left to right and see what was assigned before them: the version
        # must come last, or no column would ever find it newer.
        changes = [f"{name}=IF({newer},VALUES({name}),{name})" for name in [*names[1:], version]]
        made = cls.of(identifier(table.name), [*names, version], changes)
        if not formats:
            return made
        writers = [_FORMATS[formats[name]] if name in formats else literal for name in columns]
        return replace(made, writers=(*writers, literal))

    @staticmethod
    def unchanged(table: Table, columns: Sequence[str]) -> bytes:
        """The statement that writes a row of the table again as it is.

        Raises
        ------
        ConfigurationError
            When a name is not a plain name.
        """
        name, version = identifier(table.name), identifier(table.version)
        names = ",".join([*map(identifier, columns), version])
        return (
            f"INSERT INTO {name} ({names}) SELECT {names} FROM {name} LIMIT 1"  # noqa: S608  names are checked
            f" ON DUPLICATE KEY UPDATE {version}=VALUES({version})"
        ).encode()

    @classmethod
    def of(cls, table: str, names: Sequence[str], changes: Sequence[str]) -> Self:
        head = f"INSERT INTO {table} ({','.join(names)}) VALUES "  # noqa: S608  names are checked
        tail = f" ON DUPLICATE KEY UPDATE {','.join(changes)}"
        return cls(head.encode(), tail.encode())

    @property
    def room(self) -> int:
        """How many bytes one row may take, so that its statement stays below the limit."""
        return min(ROW_BYTES, STATEMENT_BYTES - len(self.head) - len(self.tail) - 1)

    def row(self, values: Sequence[object]) -> bytes:
        """Write one row, parentheses included.

        Raises
        ------
        ValueError
            When a value cannot be written, text that is not Unicode included, or when the row is
            too large for a statement.
        """
        if self.writers:
            cells = [self.cell(n, value) for n, value in enumerate(values)]
        else:
            cells = [literal(value) for value in values]
        text = f"({','.join(cells)})".encode()
        if len(text) > self.room:
            raise ValueError(f"the row takes {len(text)} bytes of SQL; {self.room} are allowed")
        return text

    def cell(self, n: int, value: object) -> str:
        """Write a value of the n-th column."""
        return self.writers[n](value) if self.writers else literal(value)

    def statement(self, rows: Sequence[bytes]) -> bytes:
        """The statement for these rows."""
        return self.head + b",".join(rows) + self.tail

    def split(self, rows: Sequence[bytes]) -> Iterator[slice]:
        """Cut rows so that each statement stays below `limits.STATEMENT_BYTES`."""
        room = STATEMENT_BYTES - len(self.head) - len(self.tail)
        start, used = 0, 0
        for end, row in enumerate(rows):
            used += len(row) + 1
            if used > room and end > start:
                yield slice(start, end)
                start, used = end, len(row) + 1
        if rows:
            yield slice(start, len(rows))


def isolate[T](
    items: Sequence[T],
    act: Callable[[Sequence[T]], None],
    faults: tuple[type[DatabaseError], ...] = OF_ROWS,
) -> list[tuple[T, DatabaseError]]:
    """Act on all items but those at fault, which are found by halving.

    Parameters
    ----------
    act
        Takes all of its items or, raising one of `faults`, none.
    faults
        The errors that one of the items may be at fault for.

    Returns
    -------
    The items at fault, each with its error; one of eight costs seven calls.
    """
    if not items:
        return []
    try:
        act(items)
    except faults as error:
        if len(items) == 1:
            return [(items[0], error)]
        middle = len(items) // 2
        return isolate(items[:middle], act, faults) + isolate(items[middle:], act, faults)
    return []
