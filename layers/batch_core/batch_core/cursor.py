"""Where in the order of the users a run begins.

A cursor is the id of a user as the database compares it. In JSON a DECIMAL is text, as which it
would be compared wrongly, so a cursor that travels says what it is.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeIs

from batch_core.limits import USER_ID_CHARS

type Cursor = int | str | Decimal


def is_cursor(user_id: object) -> TypeIs[Cursor]:
    """Whether a listing can begin with this id, of a length that the ledger can remember."""
    match user_id:
        case str():
            return len(user_id) <= USER_ID_CHARS
        case Decimal():
            return user_id.is_finite()
    return isinstance(user_id, int)


def cursor_to_json(cursor: Cursor) -> Any:
    """Write a cursor: numbers and text as they are, other kinds with their name."""
    return {"decimal": format(cursor, "f")} if isinstance(cursor, Decimal) else cursor


def cursor_from_json(value: Any) -> Cursor:
    """Read a cursor.

    Raises
    ------
    ValueError
        When it is none.
    """
    match value:
        case {"decimal": str(text)}:
            return Decimal(text)
        case int() | str():
            return value
    raise ValueError("not a cursor")
