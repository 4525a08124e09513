"""What MySQL's columns are in JSON, on the way to a job and on the way back.

A date, a time, a number with decimals arrive as the text that MySQL writes, which every server
reads again; bits as a whole number; bytes as hex text. docs/database.md has the whole table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pymysql.constants import FIELD_TYPE
from pymysql.converters import conversions

from batch_core.upsert import Format

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batch_core.adapters.mysql_connection import Session


def _moment(text: str) -> str:
    # ISO 8601, which MySQL reads too.
    return text.replace(" ", "T")


_AS_TEXT: Final = {
    FIELD_TYPE.DATE,
    FIELD_TYPE.TIME,
    FIELD_TYPE.DECIMAL,
    FIELD_TYPE.NEWDECIMAL,
}
# PyMySQL's own make of a time an interval of at most a day's form, and of a date nothing that JSON
# has.
DECODERS: Final[dict[Any, Any]] = {
    **{kind: convert for kind, convert in conversions.items() if kind not in _AS_TEXT},
    FIELD_TYPE.DATETIME: _moment,
    FIELD_TYPE.TIMESTAMP: _moment,
    FIELD_TYPE.BIT: int.from_bytes,
}

# In a result the character set 63 says that what looks like text is bytes.
_BYTES_CHARSET: Final = 63
_BLOBS: Final = {
    FIELD_TYPE.TINY_BLOB,
    FIELD_TYPE.BLOB,
    FIELD_TYPE.MEDIUM_BLOB,
    FIELD_TYPE.LONG_BLOB,
}
_STRINGS: Final = {FIELD_TYPE.VARCHAR, FIELD_TYPE.VAR_STRING, FIELD_TYPE.STRING}
_TYPES: Final = {
    FIELD_TYPE.TINY: "tinyint",
    FIELD_TYPE.SHORT: "smallint",
    FIELD_TYPE.INT24: "mediumint",
    FIELD_TYPE.LONG: "int",
    FIELD_TYPE.LONGLONG: "bigint",
    FIELD_TYPE.YEAR: "year",
    FIELD_TYPE.BIT: "bit",
    FIELD_TYPE.DECIMAL: "decimal",
    FIELD_TYPE.NEWDECIMAL: "decimal",
    FIELD_TYPE.FLOAT: "float",
    FIELD_TYPE.DOUBLE: "double",
    FIELD_TYPE.DATE: "date",
    FIELD_TYPE.TIME: "time",
    FIELD_TYPE.DATETIME: "datetime",
    FIELD_TYPE.TIMESTAMP: "timestamp",
    FIELD_TYPE.ENUM: "enum",
    FIELD_TYPE.SET: "set",
    FIELD_TYPE.JSON: "json",
    FIELD_TYPE.NULL: "varbinary",
}


def type_of(field: Any) -> str | None:
    """Name the type of a column of a result; None for one whose values have no JSON form."""
    of_bytes = field.charsetnr == _BYTES_CHARSET
    if field.type_code in _BLOBS:
        return "blob" if of_bytes else "text"
    if field.type_code in _STRINGS:
        return "varbinary" if of_bytes else "varchar"
    return _TYPES.get(field.type_code)


def formats_of(session: Session, table: str) -> Mapping[str, Format] | None:
    """Say which columns of a table take something else than the JSON value; None if there is none.

    MariaDB's JSON is LONGTEXT under this collation.
    """
    columns = session.rows(
        "SELECT COLUMN_NAME,"
        " DATA_TYPE IN ('binary', 'varbinary', 'tinyblob', 'blob', 'mediumblob', 'longblob'),"
        " DATA_TYPE = 'json' OR (DATA_TYPE = 'longtext' AND COLLATION_NAME = 'utf8mb4_bin')"
        " FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s",
        (table,),
    )
    if not columns:
        return None
    return {
        name: Format.BYTES if of_bytes else Format.JSON
        for name, of_bytes, of_json in columns
        if of_bytes or of_json
    }
