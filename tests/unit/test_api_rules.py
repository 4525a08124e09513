"""What may be sent to the API."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core.api_rules import (
    Call,
    UnfitRequestError,
    check_base_url,
    prepare,
    route,
    status_of,
)
from batch_core.errors import ConfigurationError
from batch_core.job import Request, Response
from batch_core.outcomes import Outcome
from batch_core.ports import Answer, Failure
from batch_core.retry import Setback

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


@pytest.mark.parametrize("etag", ['"a"\r\nX: y', "caf\N{LATIN SMALL LETTER E WITH ACUTE}", 7])
def test_an_etag_that_is_no_header_is_refused(etag: Any) -> None:
    assert refusal(Request("/", etag=etag)) == "bad_header"


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), "\ud800"])
def test_a_body_without_json_form_is_refused(value: Any) -> None:
    assert refusal(Request("/", method="POST", json={"x": value})) == "bad_body"


def test_a_head_request_has_no_body() -> None:
    assert refusal(Request("/", method="HEAD", json={})) == "bad_body"


def test_without_json_there_is_no_body() -> None:
    call = made(Request("/", method="POST"))
    assert call.body is None
    assert "Content-Type" not in call.headers


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
