"""What may be sent to the API."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from decimal import Decimal
from math import nan
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core.api_rules import (
    Call,
    UnfitRequestError,
    check_base_url,
    judge,
    prepare,
    route,
    status_of,
)
from batch_core.errors import ConfigurationError
from batch_core.job import Request, Response
from batch_core.outcomes import Outcome
from batch_core.ports import Answer, Failure
from batch_core.retry import Setback
from tests.support.etags import bound

BASE = "https://api.example.com/v1"


def made(request: Request, *, secret: str | None = None) -> Call:
    return prepare(request, base_url=BASE, secret=secret)


def refusal(request: Request) -> str:
    with pytest.raises(UnfitRequestError) as caught:
        made(request)
    return str(caught.value)


# --- paths ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/", "/users/1", "/users?id=1&x=%20", "/a:b@c", "/a/...", "/a?next=../b", "/http://x", "/~a"],
)
def test_a_path_is_appended_to_the_base_url(path: str) -> None:
    assert made(Request(path)).url == BASE + path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "users",
        "//evil.example",
        "///evil.example",
        "https://evil.example/",
        "@evil.example/",
        ".evil.example/",
        ":444/",
        "/..",
        "/../admin",
        "/users/../../admin",
        "/users/./1",
        "/users/%2e%2e/admin",
        "/users/%2E./admin",
        "/users/..%2fadmin",
        "/users/..%5Cadmin",
        "/users\\..\\admin",
        "/users/1#part",
        "/users/1\r\nHost: evil.example",
        "/users/1 HTTP/1.1",
        "/users/\t1",
        "/users/\x00",
        "/caf\N{LATIN SMALL LETTER E WITH ACUTE}",
        None,
        7,
        b"/users",
    ],
)
def test_a_path_that_could_mean_something_else_is_refused(path: Any) -> None:
    assert refusal(Request(path)) == "bad_path"


@given(st.text())
def test_any_path_stays_on_the_host_and_below_the_base(path: str) -> None:
    try:
        url = made(Request(path)).url
    except UnfitRequestError:
        return
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc) == ("https", "api.example.com")
    assert parts.path.startswith("/v1/")


@given(st.text(min_size=1))
def test_a_quoted_user_id_is_sent_or_refused_but_never_leaves_its_place(user_id: str) -> None:
    try:
        quoted = quote(user_id, safe="")
    except UnicodeEncodeError:  # an unpaired surrogate; the job's own exception
        return
    try:
        url = made(Request(f"/users/{quoted}/activity")).url
    except UnfitRequestError:
        assert {".", ".."} & set(user_id.replace("\\", "/").split("/"))
        return
    assert urlsplit(url).path.split("/")[2:] == ["users", quoted, "activity"]


# --- methods, headers, bodies -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "repeatable"),
    [
        ("GET", True),
        ("HEAD", True),
        ("PUT", True),
        ("DELETE", True),
        ("POST", False),
        ("PATCH", False),
    ],
)
def test_only_requests_without_further_effect_may_be_repeated(
    method: str, repeatable: bool
) -> None:
    assert made(Request("/", method=method)).repeatable is repeatable


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "PATCH"])
def test_a_job_may_say_that_a_request_does_no_more_sent_twice(method: str) -> None:
    assert made(Request("/", method=method, repeatable=True)).repeatable


@pytest.mark.parametrize("method", ["get", "CONNECT", "TRACE", "GET / HTTP/1.1\r\nX: y", "", None])
def test_other_methods_are_refused(method: Any) -> None:
    assert refusal(Request("/", method=method)) == "bad_method"


@pytest.mark.parametrize(
    "headers",
    [
        {"X": "a\r\nHost: evil.example"},
        {"X": "a\nb"},
        {"X": "\x00"},
        {"X": "caf\N{LATIN SMALL LETTER E WITH ACUTE}"},
        {"X": 1},
        {"X": None},
        {"X\r\nY": "a"},
        {"X Y": "a"},
        {"X:": "a"},
        {"": "a"},
        {1: "a"},
        {"Host": "evil.example"},
        {"content-length": "0"},
        {"Transfer-Encoding": "chunked"},
        {"CONNECTION": "upgrade"},
        ["X"],
        None,
    ],
)
def test_headers_that_could_smuggle_something_are_refused(headers: Any) -> None:
    assert refusal(Request("/", headers=headers)) == "bad_header"


def test_an_etag_is_sent_for_the_request_alone_that_it_answered() -> None:
    etag = bound('"e"', Request("/a"), base_url=BASE)

    assert made(Request("/a", etag=etag), secret="rotated").headers["If-None-Match"] == '"e"'
    assert "If-None-Match" not in made(Request("/b", etag=etag)).headers


@pytest.mark.parametrize("etag", ['"a"\r\nX: y', "caf\N{LATIN SMALL LETTER E WITH ACUTE}", 7])
def test_an_etag_that_is_no_header_is_refused(etag: Any) -> None:
    assert refusal(Request("/", etag=etag)) == "bad_header"


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), "\ud800", [nan], Decimal("NaN")])
def test_a_body_without_json_form_is_refused(value: Any) -> None:
    assert refusal(Request("/", method="POST", json={"x": value})) == "bad_body"


def test_a_head_request_has_no_body() -> None:
    assert refusal(Request("/", method="HEAD", json={})) == "bad_body"


def test_without_json_there_is_no_body() -> None:
    call = made(Request("/", method="POST"))
    assert call.body is None
    assert "Content-Type" not in call.headers


def test_a_number_is_sent_with_all_its_digits() -> None:
    call = made(Request("/", method="POST", json={"a": 2**70, "b": Decimal("1.10")}))
    assert call.body == b'{"a":1180591620717411303424,"b":1.10}'


def test_json_is_sent_with_its_type() -> None:
    call = made(Request("/", method="POST", json={"a": [1, None]}))
    assert call.body == b'{"a":[1,null]}'
    assert call.headers["Content-Type"] == "application/json"


def test_the_headers_of_a_job_win_in_any_case() -> None:
    call = made(
        Request("/", headers={"authorization": "Basic own", "ACCEPT-encoding": "gzip"}),
        secret="s3cret",
    )
    lower = {name.lower(): value for name, value in call.headers.items()}
    assert len(lower) == len(call.headers)
    assert lower["authorization"] == "Basic own"
    assert lower["accept-encoding"] == "gzip"


def test_the_secret_is_a_bearer_token() -> None:
    assert made(Request("/"), secret="s3cret").headers["Authorization"] == "Bearer s3cret"
    assert "Authorization" not in made(Request("/")).headers


# --- what an answer means ---------------------------------------------------------------------

NOW = datetime(2026, 1, 31, 10, 20, tzinfo=UTC)


def judged(
    status: int, body: bytes = b"{}", *, request: Request | None = None, **headers: str
) -> Answer | Setback:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return judge(made(request or Request("/")), status, named, body, now=NOW)


@pytest.mark.parametrize(
    "request_",
    [
        Request("/", etag=bound('"e"', Request("/"), base_url=BASE)),
        Request("/", headers={"If-None-Match": '"e"'}),
        Request("/", headers={"IF-modified-SINCE": "Tue, 20 Jan 2026 10:00:00 GMT"}),
    ],
)
def test_304_is_not_modified_to_whoever_asked_for_it(request_: Request) -> None:
    assert judged(304, b"", request=request_) is None


@pytest.mark.parametrize("headers", [{}, {"If-Match": '"e"'}, {"If-Range": '"e"'}])
def test_304_to_nobodys_question_is_no_answer(headers: dict[str, str]) -> None:
    unasked = judged(304, b"", request=Request("/", headers=headers))
    assert unasked == Failure(Outcome.REJECTED, "http_304")


@given(
    st.integers(400, 499).filter(lambda status: status not in {408, 425, 429}),
    st.sampled_from([("1", 1.0), ("0.493", 1.0), ("Sat, 31 Jan 2026 10:20:07 GMT", 7.0)]),
)
def test_a_refusal_that_says_when_to_ask_again_throttles_and_rejects_nobody(
    status: int, told: tuple[str, float]
) -> None:
    text, seconds = told
    throttled = Setback("throttled", unreached=True, retry_after=seconds)
    assert judged(status, retry_after=text) == throttled
    assert judged(status, retry_after="soon") == Failure(Outcome.REJECTED, f"http_{status}")


@given(st.sampled_from([408, 425, 429]) | st.integers(500, 599))
def test_only_what_was_turned_away_unread_may_be_sent_again_whatever_it_does(status: int) -> None:
    error = f"http_{status}"
    told = Setback(error, unreached=status < 500 or status == 503, retry_after=1.0)
    assert judged(status, retry_after="1") == told
    assert judged(status) == Setback(error)


@pytest.mark.parametrize(
    "coding", ["", "identity", "UTF-8", "utf8", "none", "identity, identity", "8bit", "json"]
)
def test_what_names_no_coding_changes_nothing(coding: str) -> None:
    assert judged(200, b"\x1f\x8b", content_encoding=coding) == Response(200, b"\x1f\x8b")


@pytest.mark.parametrize(
    ("coding", "times"),
    [("gzip", 1), ("X-GZIP", 1), ("gzip, gzip", 2), ("UTF-8, gzip", 1), (" gzip , identity", 1)],
)
def test_gzip_is_undone_as_often_as_it_is_named(coding: str, times: int) -> None:
    body = b"{}"
    for _ in range(times):
        body = gzip.compress(body)
    assert judged(200, body, content_encoding=coding) == Response(200, b"{}")


@pytest.mark.parametrize("coding", ["br", "zstd", "Deflate", "gzip, br", "br, gzip"])
def test_a_coding_that_cannot_be_undone_is_rejected(coding: str) -> None:
    told = judged(200, gzip.compress(b"{}"), content_encoding=coding)
    assert told == Failure(Outcome.REJECTED, "bad_encoding")


@pytest.mark.parametrize("coding", ["gzip", "br", "UTF-8"])
@pytest.mark.parametrize("status", [200, 204, 205])
def test_without_a_body_no_coding_matters(status: int, coding: str) -> None:
    assert judged(status, b"", content_encoding=coding) == Response(status, b"")


# --- the base URL -----------------------------------------------------------------------------


@pytest.mark.parametrize("url", [BASE, BASE + "/", "https://api.example.com:8443", "https://[::1]"])
def test_a_base_url_loses_its_last_slash(url: str) -> None:
    assert check_base_url(url, allow_plain=False) == url.rstrip("/")


def test_plain_http_needs_permission() -> None:
    with pytest.raises(ConfigurationError, match="ApiAllowPrivateAddresses"):
        check_base_url("http://api.example.com", allow_plain=False)
    assert check_base_url("http://10.0.0.1", allow_plain=True) == "http://10.0.0.1"


# --- what a trace may tell ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        (["/users/walter/activity", "/users/jesse/activity"], "/users/*/activity"),
        (["/users/walter?key=1", "/users/jesse?key=1"], "/users/*"),
        (["/walter/a", "/jesse"], "/*"),
        # Of one path alone every part might be the user's.
        (["/users/walter"], "/*/*"),
        (["/same", "/same"], "/same"),
        ([None, "/users/walter"], "/*/*"),
    ],
)
def test_of_many_paths_only_what_they_share_is_told(paths: list[str], told: str) -> None:
    assert route(paths) == told


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (None, 304),
        (Response(201, b""), 201),
        (Setback("http_503"), 503),
        (Failure(Outcome.REJECTED, "http_404"), 404),
        (Setback("connect_timeout"), None),
        (Failure(Outcome.REJECTED, "too_large"), None),
    ],
)
def test_a_result_tells_the_status_behind_it(result: Answer | Setback, status: int | None) -> None:
    assert status_of(result) == status
