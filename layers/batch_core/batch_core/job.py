"""What a team writes: which users, which request, which row.

A job is one frozen :class:`Job` named ``JOB`` in ``layers/job/job.py``. The machinery never looks
further than this module, and a job imports nothing but this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from batch_core.codec import parse_strict_json

type User = Mapping[str, Any]
"""One row of the users query, by column name, in JSON types, as docs/database.md says of each kind.

`Job.request` also finds an ``idempotency_key`` in it, unless the query yields a column of that
name: a UUID which is the same whenever one run asks about this user, and another in the next run.
"""

type Row = Mapping[str, Any]
"""What to store for one user: each column of the table, None for NULL.

The key and the version are added by the machinery.

JSON types and `Decimal`. A number is stored with all its digits, or its user is rejected; only what
the column itself declares, such as DECIMAL(8,2) or DOUBLE, may round it. Lists and objects become
JSON text, in which numbers are those of 64 bits and doubles.
"""


class RejectError(Exception):
    """Raise it from a job when one user's data or answer is at fault; the text says why."""


class NotJsonError(RejectError):
    """An answer is not strict JSON; :meth:`Response.json` raises it."""


@dataclass(frozen=True, slots=True)
class Request:
    """The call to make for one user, relative to the tenant's ``ApiBaseUrl``.

    Parameters
    ----------
    path
        Path and query below the base URL. Quote what comes from data
        (``urllib.parse.quote(value, safe="")``).
    method
        POST and PATCH are sent once in a run: again only when the request certainly never reached
        the API. When the function dies and the workflow starts it again, their users wait for the
        next run, unless they are `repeatable`.
    headers
        Added to the request; ``Authorization`` here wins over the tenant's API secret.
    json
        Sent as the body, with its content type.
    etag
        What ``Response.etag`` was for this user the last time. It is sent as ``If-None-Match`` if
        the same was asked for: method, URL, body and the job's own headers. When an account or a
        token of the user has changed, or the text is none that ``Response.etag`` gave, the API is
        asked for the whole answer. A 304 to this, or to an ``If-None-Match`` or
        ``If-Modified-Since`` among the headers, is the outcome `unchanged` and writes nothing.
    repeatable
        Whether a POST or PATCH does no more sent twice than sent once. Set it for a request that
        carries the user's ``idempotency_key`` where the API looks for one: it is then tried again
        as a GET is, and over connections that are kept.
    """

    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    etag: str | None = None
    repeatable: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer of the API with a 2xx status.

    The body is what the API sent, byte by byte, whatever it holds; only gzip is undone. `etag` is
    the API's with ``#`` and a fingerprint of the request behind it: keep it as it is, 17 characters
    longer than the API's own, and hand it to ``Request.etag``.
    """

    status: int
    body: bytes
    etag: str | None = None

    def json(self) -> Any:
        """Parse the body as strict JSON, with every digit of its numbers.

        Whole numbers are `int`, however long. The others are `float` where a double is the number
        as written, such as 0.1, and else `Decimal`.

        Raises
        ------
        NotJsonError
            When it is not JSON in UTF-8 (NaN, infinities and unpaired surrogates are none), is
            nested beyond reason, or names a key twice. It is a RejectError.
        """
        try:
            return parse_strict_json(self.body)
        except ValueError as error:
            raise NotJsonError(f"the answer is not strict JSON: {error}") from error


@dataclass(frozen=True, slots=True)
class Table:
    """Where rows go: one table with one unique key.

    Parameters
    ----------
    name
        The table, in the tenant's database.
    columns
        The columns that every row fills, apart from the key and the version.
    key
        Its primary key and only unique key; holds `user_id`. docs/database.md says which types and
        collations keep users apart.
    version
        A BIGINT column that the machinery fills, so that an older run can never overwrite a newer.
    """

    name: str
    columns: tuple[str, ...]
    key: str = "user_id"
    version: str = "version"


@dataclass(frozen=True, slots=True)
class Job:
    """The whole of a batch's business.

    Parameters
    ----------
    users
        A SELECT that yields the users to process, one row each, among its columns `user_id`; no
        two columns of one name. It becomes a subquery of the one that adds what is known of each
        user and puts them in order. Streamed, so it may be long; it takes no parameters.
    table
        Where the rows go.
    request
        The call to make for a user.
    process
        The row to store for a user, or None when there is nothing new. An exception rejects this
        user and nobody else.
    """

    users: str
    table: Table
    request: Callable[[User], Request]
    process: Callable[[User, Response], Row | None]
