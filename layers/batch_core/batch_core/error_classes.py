"""The words that name why a user got no row: all that logs, ledger and marks say of an error.

An error's own text may hold what an API, a job or a database said of a user. It goes where users'
data may go, cut to `limits.ERROR_TEXT_BYTES`: into `batch_user` and into what is put aside.
docs/outcomes.md says of each word whose fault it is and what happens.
"""

from __future__ import annotations

import builtins
import re
from enum import StrEnum
from typing import Final

from batch_core.limits import ERROR_TEXT_BYTES


class ErrorClass(StrEnum):
    """The words that stand by themselves."""

    # List Users: the row of the users query.
    NO_USER_ID = "no_user_id"
    NO_JSON_FORM = "no_json_form"
    USER_TOO_LARGE = "user_too_large"
    LISTED_TWICE = "listed_twice"
    BACKING_OFF = "backing_off"
    QUARANTINED = "quarantined"
    CARRIED_OVER = "carried_over"
    # Call API: the request ...
    NO_REQUEST = "no_request"
    BAD_METHOD = "bad_method"
    BAD_PATH = "bad_path"
    BAD_HEADER = "bad_header"
    BAD_BODY = "bad_body"
    # ... the way to the API and back ...
    DEADLINE = "deadline"
    BREAKER_OPEN = "breaker_open"
    DNS = "dns"
    ADDRESS = "address"
    CONNECT = "connect"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS = "tls"
    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"
    TRUNCATED = "truncated"
    PROTOCOL = "protocol"
    THROTTLED = "throttled"
    PERHAPS_SENT = "perhaps_sent"
    # ... and the answer.
    REDIRECT = "redirect"
    TOO_LARGE = "too_large"
    BAD_ENCODING = "bad_encoding"
    # Process Users: what the job made of the answer.
    NOT_JSON = "not_json"
    REFUSED_BY_JOB = "refused_by_job"
    NO_ROW = "no_row"
    NO_SUCH_COLUMN = "no_such_column"
    COLUMN_LEFT_OUT = "column_left_out"
    ROW_TOO_LARGE = "row_too_large"
    TOO_MANY_DIGITS = "too_many_digits"
    # Write Rows.
    GONE = "gone"
    NOT_GONE = "not_gone"
    UNWRITABLE = "unwritable"
    UNREADABLE_RECORD = "unreadable_record"
    # Something that says a word which is none of these.
    UNKNOWN = "unknown"


# An HTTP status, or MySQL's number of an error.
_NUMBERED: Final = re.compile(r"http_\d{3}|mysql_\d{1,5}")
# A job may raise what it likes; Python's own exceptions are as many as there are.
_EXCEPTIONS: Final = frozenset(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, Exception)
)
_WORDS: Final = frozenset(ErrorClass) | _EXCEPTIONS


def known(word: str) -> str:
    """The word, if it is one of the vocabulary; `ErrorClass.UNKNOWN` if not."""
    return word if word in _WORDS or _NUMBERED.fullmatch(word) else ErrorClass.UNKNOWN


def of_exception(error: BaseException) -> str:
    """The nearest of Python's own exceptions: a name that no job and no data can choose."""
    return next(
        (kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _EXCEPTIONS),
        ErrorClass.UNKNOWN,
    )


def text_of(error: BaseException) -> str:
    """An exception's text, cut; empty when it cannot even be asked for."""
    try:
        return cut(str(error))
    except Exception:  # noqa: BLE001  a job's exception has a job's __str__
        return ""


def cut(text: str, limit: int = ERROR_TEXT_BYTES) -> str:
    """The beginning of a text that takes at most `limit` bytes of UTF-8.

    What has no UTF-8 form, a surrogate without its partner, becomes a question mark.
    """
    return text[:limit].encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")
