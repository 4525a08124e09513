"""JSON and compression, one way each.

orjson is strict where the standard library is not (NaN, unpaired surrogates, deep nesting all
raise) and costs 11 ms of import, paid back within one group of users.
"""

from __future__ import annotations

import zlib
from datetime import timedelta
from decimal import Decimal
from typing import Any

import orjson


def dump_json(value: Any) -> bytes:
    """Write compact JSON; database types become text.

    Raises
    ------
    TypeError
        When a value has no JSON form, such as bytes.
    """
    return orjson.dumps(value, default=_database_type, option=orjson.OPT_NON_STR_KEYS)


def parse_json(text: bytes | str) -> Any:
    """Read strict JSON.

    Raises
    ------
    ValueError
        When it is not JSON.
    """
    return orjson.loads(text)


def compress(data: bytes) -> bytes:
    """Deflate; level 6 is 20 % smaller than level 1 here and a group costs 0.4 ms of it."""
    return zlib.compress(data, 6)


def decompress(data: bytes, *, limit: int) -> bytes:
    """Inflate at most `limit` bytes.

    Raises
    ------
    ValueError
        When the data is damaged, incomplete, or inflates beyond `limit` (a bomb).
    """
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(data, limit)
    except zlib.error as error:
        raise ValueError(f"damaged: {error}") from error
    if inflater.unconsumed_tail:
        raise ValueError(f"inflates beyond {limit} bytes")
    if not inflater.eof:
        raise ValueError("incomplete")
    return plain


def _database_type(value: Any) -> str:
    if isinstance(value, Decimal | timedelta):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
