"""What may be sent to the API, and what its answers mean.

Requests come from a job and so from data; whatever could leave the base URL or smuggle a second
request is refused here, before a connection is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from batch_core.codec import OverLimitError, decompress, dump_exact, has_no_number
from batch_core.errors import ConfigurationError
from batch_core.job import Request, Response
from batch_core.limits import API_BODY_BYTES
from batch_core.outcomes import Outcome
from batch_core.ports import Answer, Failure
from batch_core.retry import Setback, parse_retry_after

# Sent twice they do no more than sent once. https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2
_REPEATABLE: Final = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_METHODS: Final = _REPEATABLE | {"POST", "PATCH"}
# They frame or route the message, which is not a job's business.
_RESERVED_HEADERS: Final = frozenset(
    {"connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding"}
    | {"keep-alive", "proxy-authorization", "proxy-connection", "upgrade"}
)
_TOKEN: Final = frozenset(
    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)
# Not an answer but a wish to be asked again: too slow, too early, too many.
_TRY_AGAIN: Final = frozenset({408, 425, 429})
# What asks for a 304. https://www.rfc-editor.org/rfc/rfc9110#section-15.4.5
_CONDITIONS: Final = frozenset({"if-none-match", "if-modified-since"})
# Headers of a job that tell one request from the next and not what is asked for.
_OF_ONE_REQUEST: Final = _CONDITIONS | {
    "date",
    "idempotency-key",
    "traceparent",
    "tracestate",
    "x-correlation-id",
    "x-request-id",
}
# Stands between an ETag and what says whose it is.
_ETAG_OF: Final = "#"
_GZIP: Final = frozenset({"gzip", "x-gzip"})
# The other codings there are: bodies in them cannot be read here. Any other name, such as "UTF-8"
# or "none", is no coding, and the body is as it is.
# https://www.iana.org/assignments/http-parameters#content-coding
_OTHER_CODINGS: Final = frozenset(
    {"aes128gcm", "br", "compress", "dcb", "dcz", "deflate", "exi", "pack200-gzip"}
    | {"x-compress", "zstd"}
)


class UnfitRequestError(Exception):
    """The request must not be sent; the text is the short name of why."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that may be sent as it is."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None
    conditional: bool
    repeatable: bool
    fingerprint: str = ""


def check_base_url(url: str, *, allow_plain: bool) -> str:
    """Check the tenant's base URL, and take the slash off its end.

    Raises
    ------
    ConfigurationError
        Saying what is wrong with it.
    """
    schemes = ("https", "http") if allow_plain else ("https",)
    try:
        parts = urlsplit(url)
        plain = parts.port != 0 and not (parts.username or parts.password)
    except ValueError as error:
        raise ConfigurationError(f"ApiBaseUrl is not a URL: {error}") from error
    if parts.scheme not in schemes or not parts.hostname:
        raise ConfigurationError(
            f"ApiBaseUrl needs the form {schemes[0]}://host/path; http is allowed only together "
            "with private addresses (ApiAllowPrivateAddresses)"
        )
    if not plain or parts.query or parts.fragment or not _is_visible(url):
        raise ConfigurationError(
            "ApiBaseUrl takes a host, a port and a path, no credentials, query or fragment; give "
            "credentials through ApiSecretArn"
        )
    return url.rstrip("/")


def prepare(request: Request, *, base_url: str, secret: str | None) -> Call:
    """Make the call that a request asks for.

    Parameters
    ----------
    request
        From the job.
    base_url
        As `check_base_url` gave it.
    secret
        Sent as a bearer token unless the request brings its own ``Authorization``.

    Raises
    ------
    UnfitRequestError
        When it must not be sent.
    """
    if request.method not in _METHODS:
        raise UnfitRequestError("bad_method")
    if not _stays_below(request.path):
        raise UnfitRequestError("bad_path")
    # Data in is free and inflating is paid CPU: plain bodies unless the job wants otherwise.
    headers = {"Accept-Encoding": "identity", "User-Agent": "express-batch"}
    if secret is not None:
        headers["Authorization"] = f"Bearer {secret}"
    body = None
    if request.json is not None:
        if request.method == "HEAD":
            # https://www.rfc-editor.org/rfc/rfc9110#section-9.3.2
            raise UnfitRequestError("bad_body")
        headers["Content-Type"] = "application/json"
        try:
            body, _ = dump_exact(request.json)
        except TypeError as error:
            raise UnfitRequestError("bad_body") from error
        if has_no_number(request.json, body):
            raise UnfitRequestError("bad_body")
    _merge(headers, request.headers)
    url = base_url + request.path
    fingerprint = _fingerprint(request, url, body)
    if request.etag is not None:
        if not _is_header("If-None-Match", request.etag):
            raise UnfitRequestError("bad_header")
        etag, _, asked = request.etag.rpartition(_ETAG_OF)
        # Of another request it could be answered with 304 by mistake, for ever.
        if asked == fingerprint and "if-none-match" not in map(str.lower, request.headers):
            headers["If-None-Match"] = etag
    return Call(
        request.method,
        url,
        headers,
        body,
        conditional=not _CONDITIONS.isdisjoint(map(str.lower, headers)),
        repeatable=is_repeatable(request),
        fingerprint=fingerprint,
    )


def is_repeatable(request: Request) -> bool:
    """Whether a request may be sent twice without harm."""
    return request.method in _REPEATABLE or request.repeatable is True


def _fingerprint(request: Request, url: str, body: bytes | None) -> str:
    """Name what is asked for: an ETag means something for the same question only.

    The tenant's secret is no part of it, so that its rotation costs nothing; the job's own headers
    are, `Authorization` included, since they may be all that names the account.
    """
    asked = [request.method, url]
    asked += sorted(
        f"{name.lower()}:{value}"
        for name, value in request.headers.items()
        if name.lower() not in _OF_ONE_REQUEST
    )
    return blake2b("\n".join(asked).encode() + b"\n\n" + (body or b""), digest_size=8).hexdigest()


def judge(
    call: Call, status: int, headers: Mapping[str, str], body: bytes | None, *, now: datetime
) -> Answer | Setback:
    """Say what an answer of the API means.

    Parameters
    ----------
    call
        What was asked.
    status, headers
        As received; header names in lower case.
    body
        Complete, as it came over the wire; None when it was too long.
    now
        For a Retry-After that is a date.
    """
    error = f"http_{status}"
    after = parse_retry_after(headers.get("retry-after"), now)
    if 200 <= status < 300:
        return _accept(call, status, headers, body)
    if status == 304 and call.conditional:
        return None
    if 300 <= status < 400:
        return Failure(Outcome.REJECTED, "redirect" if status != 304 else error)
    # Any refusal may say when to ask again, and is then no verdict on the request, which was turned
    # away unread. https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
    turned_away = after is not None and (status < 500 or status == 503)
    if status >= 500 or status in _TRY_AGAIN:
        return Setback(error, unreached=turned_away, retry_after=after)
    if turned_away:
        return Setback("throttled", unreached=True, retry_after=after)
    return Failure(Outcome.REJECTED, error)


def status_of(result: Answer | Setback) -> int | None:
    """The status behind what `judge` made of it; None when it is not known, or there was none."""
    match result:
        case None:
            return 304
        case Response():
            return result.status
    code = result.error.removeprefix("http_")
    return int(code) if code.isdigit() else None


def route(paths: Sequence[str]) -> str:
    """What the paths have in common, for people who must not see whose they are.

    A part that is not the same in all of them becomes "*"; in a single path any might be the
    user's. The query is left out.
    """
    split = [path.partition("?")[0].split("/")[1:] for path in paths if isinstance(path, str)]
    return "".join(
        f"/{parts[0] if len(parts) > 1 and len(set(parts)) == 1 else '*'}"
        for parts in zip(*split, strict=False)
    )


def _accept(call: Call, status: int, headers: Mapping[str, str], body: bytes | None) -> Answer:
    if body is None:
        return Failure(Outcome.REJECTED, "too_large")
    # Without a body, as with 204 or HEAD, there is nothing that was encoded.
    if body and "content-encoding" in headers:
        try:
            body = _decoded(body, headers["content-encoding"])
        except OverLimitError:
            return Failure(Outcome.REJECTED, "too_large")
        except ValueError:
            return Failure(Outcome.REJECTED, "bad_encoding")
    etag = headers.get("etag")
    # One that could not be sent back, or stored, is as good as none.
    known = f"{etag}{_ETAG_OF}{call.fingerprint}" if etag and _is_visible(etag) else None
    return Response(status, body, known)


def _decoded(body: bytes, codings: str) -> bytes:
    """Undo the codings of a body, the last first.

    Raises
    ------
    OverLimitError
        When the plain body would be too long.
    ValueError
        When it cannot be decoded.
    """
    for coding in reversed(codings.lower().split(",")):
        if coding.strip() in _OTHER_CODINGS:
            raise ValueError(f"{coding.strip()} is not read here")
        if coding.strip() in _GZIP:
            body = decompress(body, limit=API_BODY_BYTES, gzip=True)
    return body


def _stays_below(path: Any) -> bool:
    """Whether a path, appended to the base URL, can only mean something below it."""
    if not isinstance(path, str) or not path.startswith("/") or path.startswith("//"):
        return False
    if not _is_visible(path) or "\\" in path or "#" in path:
        return False
    # Servers differ in when they unquote, so a quoted ".." climbs on some of them.
    decoded = unquote(path.partition("?")[0]).replace("\\", "/")
    return not {".", ".."}.intersection(decoded.split("/"))


def _merge(headers: dict[str, str], extra: Any) -> None:
    """Add the job's headers, which win whatever their case."""
    if not isinstance(extra, Mapping):
        raise UnfitRequestError("bad_header")
    ours = {name.lower(): name for name in headers} if extra else {}
    for name, value in extra.items():
        if not _is_header(name, value) or name.lower() in _RESERVED_HEADERS:
            raise UnfitRequestError("bad_header")
        headers.pop(ours.get(name.lower(), ""), None)
        headers[name] = value


def _is_header(name: Any, value: Any) -> bool:
    return (
        isinstance(name, str)
        and bool(name)
        and _TOKEN.issuperset(name)
        and isinstance(value, str)
        and value.isascii()
        and value.replace("\t", " ").isprintable()
    )


def _is_visible(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text
