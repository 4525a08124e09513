"""What the HTTP client sends and how fast, on which connections, and what it then takes in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from batch_core import meter
from batch_core.job import Request, Response
from tests.support.api_client import ask, call, client, later
from tests.support.etags import bound
from tests.support.fakes_api import FakeBreaker
from tests.support.scripted_server import Exchange, ScriptedServer, answer, raw


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture(autouse=True)
def fresh_meter() -> None:
    meter.reset()


# --- between invocations ----------------------------------------------------------------------


def test_connections_are_kept_from_one_invocation_to_the_next(server: ScriptedServer) -> None:
    server.on("/", answer(200))
    with client(server.url, concurrency=1) as api:
        for _ in range(3):
            call(
                api,
                [Request("/")] * 5,
            )
    assert server.connections == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_closed_between_invocations_fails_nobody(
    server: ScriptedServer, method: str
) -> None:
    server.on("/", answer(200))
    with client(server.url) as api:
        requests = [Request("/", method=method)] * 4
        assert (
            call(
                api,
                requests,
            )
            == [Response(200, b"")] * 4
        )
        server.drop_connections()
        assert (
            call(
                api,
                requests,
            )
            == [Response(200, b"")] * 4
        )
    assert len(server.received) == 8


def test_after_a_freeze_no_old_connection_is_used(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("/", answer(200))
    now = 1_000_000.0
    monkeypatch.setattr("batch_core.adapters.http.time.time", lambda: now)
    with client(server.url, concurrency=1) as api:
        call(
            api,
            [Request("/")],
        )
        now += 600
        call(
            api,
            [Request("/", method="POST")],
        )
    assert [request.connection for request in server.received] == [1, 2]


# --- what is sent ------------------------------------------------------------------------------


def test_a_request_arrives_as_the_job_wrote_it(server: ScriptedServer) -> None:
    path = "/v1/users/a%2Fb%20c?q=%C3%A9&x=%2B"
    server.on(urlsplit(path).path, answer(200))
    request = Request(path, method="PUT", json={"n": [1, None]}, headers={"X-Tag": "t"})
    request = replace(request, etag=bound('"e"', request, base_url=server.url))
    assert ask(server, request) == [Response(200, b"")]
    (received,) = server.received
    assert (received.method, received.target) == ("PUT", path)
    assert json.loads(received.body) == {"n": [1, None]}
    assert received.headers["x-tag"] == "t"
    assert received.headers["if-none-match"] == '"e"'
    assert received.headers["content-type"] == "application/json"
    assert received.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("body", [None, {"n": 1}])
def test_every_method_is_sent_as_it_is_with_or_without_a_body(
    server: ScriptedServer, method: str, body: Any
) -> None:
    server.on("/", answer(200, b"x"))
    # The one before leaves nothing behind.
    requests = [Request("/", method="POST", json=[1]), Request("/", method=method, json=body)]
    assert ask(server, *requests, concurrency=1) == [Response(200, b"x")] * 2
    received = server.received[1]
    assert received.method == method
    assert received.body == (b"" if body is None else b'{"n":1}')
    assert received.headers.get("content-type") == (body and "application/json")
    sized = body is not None or method in {"PUT", "POST", "PATCH"}
    assert received.headers.get("content-length") == (str(len(received.body)) if sized else None)
    assert "expect" not in received.headers


def test_a_large_body_is_sent_without_asking_first(server: ScriptedServer) -> None:
    server.on("/", answer(200))
    text = "x" * 2_000_000
    assert ask(server, Request("/", method="PUT", json=text)) == [Response(200, b"")]
    (received,) = server.received
    assert json.loads(received.body) == text
    assert "expect" not in received.headers


def test_a_header_without_a_value_is_sent(server: ScriptedServer) -> None:
    server.on("/", answer(200))
    ask(server, Request("/", headers={"X-Empty": ""}))
    assert server.received[0].headers["x-empty"] == ""


def test_neither_interim_answers_nor_trailers_are_taken_for_the_answers_headers(
    server: ScriptedServer,
) -> None:
    server.on(
        "/",
        raw(
            b'HTTP/1.1 103 Early Hints\r\nETag: "early"\r\n\r\n'
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b'1\r\nx\r\n0\r\nETag: "late"\r\nContent-Encoding: gzip\r\n\r\n'
        ),
    )
    assert ask(server, Request("/")) == [Response(200, b"x", None)]


def test_no_proxy_of_the_environment_is_used(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server.on("/", answer(200, b"x"))
    assert ask(server, Request("/")) == [Response(200, b"x")]


def test_the_secret_is_sent_unless_the_request_has_its_own(server: ScriptedServer) -> None:
    server.on("/", answer(200))
    requests = [Request("/"), Request("/", headers={"authorization": "Basic own"})]
    ask(server, *requests, secret=lambda: "s3cret", concurrency=1)
    assert [r.headers["authorization"] for r in server.received] == ["Bearer s3cret", "Basic own"]


def test_no_more_than_the_concurrency_is_in_flight(server: ScriptedServer) -> None:
    arrived = 0
    all_in = asyncio.Event()

    async def wait_for_company(exchange: Exchange) -> None:
        nonlocal arrived
        arrived += 1
        if arrived >= 3:
            all_in.set()
        await all_in.wait()
        await answer(200)(exchange)

    server.on("/", wait_for_company)
    answers = ask(server, *[Request("/")] * 12, concurrency=3)
    assert answers == [Response(200, b"")] * 12
    assert server.in_flight_peak == 3


def test_calls_keep_the_tenants_rate(server: ScriptedServer) -> None:
    server.on("/", answer(200))
    with client(server.url) as api:
        answers = call(
            api, [Request("/")] * 10, seconds=0.5, requests_per_second=10, breaker=FakeBreaker()
        )
    # Places at 0, 0.1, ... 0.4 s; what would start at 0.5 s or later does not fit.
    assert answers[5:] == [later("deadline")] * 5
    assert len(server.received) <= 5
