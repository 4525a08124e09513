"""The HTTP client against an API that is slow, wrong or malicious.

A call must end by its own deadline with the right word for it, whatever the API does. Deadlines
are short here because the server never lets them pass by itself.
"""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from batch_core import meter
from batch_core.adapters import http_transfer
from batch_core.job import Request, Response
from batch_core.limits import API_BODY_BYTES
from batch_core.outcomes import Outcome
from batch_core.ports import Answer, Failure
from batch_core.retry import RETRIES_PER_CALL, RETRIES_TO_START, Setback
from tests.support.api_client import ask, call, client, later, rejected
from tests.support.fakes_api import FakeBreaker
from tests.support.names import resolve_nothing
from tests.support.scripted_server import Answer as Scripted
from tests.support.scripted_server import Exchange, ScriptedServer, answer, raw


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture(autouse=True)
def fresh_meter() -> None:
    meter.reset()


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jitter is any pause from nothing up, so that nothing is a fair draw."""
    monkeypatch.setattr("batch_core.adapters.http.random.random", lambda: 0.0)


# --- slow -----------------------------------------------------------------------------------


async def silent(exchange: Exchange) -> None:
    await exchange.hang()


async def slow_headers(exchange: Exchange) -> None:
    await exchange.dribble(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000, every=0.02)


async def slow_body(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    await exchange.dribble(b"x" * 1000, every=0.02)


@pytest.mark.parametrize("behaviour", [silent, slow_headers, slow_body])
def test_one_deadline_covers_headers_and_body(server: ScriptedServer, behaviour: Any) -> None:
    server.on("/", behaviour)
    assert ask(server, Request("/"), timeout_seconds=0.3) == [later("timeout")]
    assert len(server.received) == 3


@pytest.mark.parametrize("behaviour", [silent, slow_headers, slow_body])
def test_the_runs_deadline_ends_a_call_and_is_told_apart(
    server: ScriptedServer, behaviour: Any
) -> None:
    server.on("/", behaviour)
    assert ask(server, Request("/"), seconds=0.3) == [later("deadline")]
    assert len(server.received) == 1


def test_users_that_do_not_fit_are_left_to_the_next_run_unasked(server: ScriptedServer) -> None:
    server.on("/silent", silent)
    answers = ask(server, *[Request("/silent")] * 10, seconds=0.3, concurrency=2)
    assert answers == [later("deadline")] * 10
    assert len(server.received) == 2


def test_a_slow_user_does_not_hold_up_the_others(server: ScriptedServer) -> None:
    server.on("/silent", silent)
    server.on("/quick", answer(200, b"x"))
    requests = [Request("/silent"), *[Request("/quick")] * 10]
    answers = ask(server, *requests, seconds=1.5, concurrency=2)
    assert answers == [later("deadline"), *[Response(200, b"x")] * 10]


def test_a_connection_that_is_never_taken_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_transfer, "CONNECT_SECONDS", 0.1)
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        # A full backlog: Linux then leaves further connections unanswered.
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        with client(f"http://127.0.0.1:{listener.getsockname()[1]}") as api:
            answers = call(
                api,
                [Request("/", method="POST")],
                seconds=30,
            )
    assert answers == [later("connect_timeout")]
    assert meter.reading()["api_requests"] == 3


# --- large ----------------------------------------------------------------------------------


async def endless(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await exchange.send(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")


def test_an_endless_body_is_cut_off(server: ScriptedServer) -> None:
    server.on("/", endless)
    assert ask(server, Request("/")) == [rejected("too_large")]


def test_a_body_announced_too_large_is_not_read(server: ScriptedServer) -> None:
    server.on("/", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"))
    assert ask(server, Request("/")) == [rejected("too_large")]


@pytest.mark.parametrize(("extra", "fits"), [(0, True), (1, False)])
def test_the_limit_of_a_body_is_exact(server: ScriptedServer, extra: int, fits: bool) -> None:
    body = b"x" * (API_BODY_BYTES + extra)
    server.on("/", answer(200, body))
    server.on("/gzip", answer(200, gzip.compress(body), Content_Encoding="gzip"))
    expected = Response(200, body) if fits else rejected("too_large")
    assert ask(server, Request("/"), Request("/gzip")) == [expected, expected]


def test_a_gzip_bomb_is_not_inflated(server: ScriptedServer) -> None:
    bomb = gzip.compress(bytes(100_000_000))
    assert len(bomb) < API_BODY_BYTES
    server.on("/", answer(200, bomb, Content_Encoding="gzip"))
    assert ask(server, Request("/")) == [rejected("too_large")]


def test_a_huge_header_is_an_error_of_the_protocol(server: ScriptedServer) -> None:
    server.on("/", raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n"))
    assert ask(server, Request("/")) == [later("protocol")]


def test_a_head_request_may_announce_any_length(server: ScriptedServer) -> None:
    server.on("/", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"))
    assert ask(server, Request("/", method="HEAD")) == [Response(200, b"")]


# --- wrong ----------------------------------------------------------------------------------


async def reset(exchange: Exchange) -> None:
    exchange.reset()


async def hang_up(exchange: Exchange) -> None:
    exchange.writer.close()


async def half_a_body(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    exchange.writer.close()


async def half_a_chunk(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf")
    exchange.writer.close()


@pytest.mark.parametrize("behaviour", [reset, hang_up, half_a_body, half_a_chunk])
def test_a_broken_answer_is_never_used_but_asked_for_again(
    server: ScriptedServer, behaviour: Any
) -> None:
    server.on("/", behaviour, answer(200, b"whole"))
    assert ask(server, Request("/")) == [Response(200, b"whole")]


@pytest.mark.parametrize("behaviour", [reset, hang_up])
def test_an_api_that_always_hangs_up_is_asked_four_times_at_most(
    server: ScriptedServer, behaviour: Any
) -> None:
    server.on("/", behaviour)
    assert ask(server, Request("/")) == [later("disconnected")]
    assert len(server.received) <= 4


@pytest.mark.parametrize("behaviour", [half_a_body, half_a_chunk])
def test_a_body_that_always_breaks_off_is_asked_for_three_times(
    server: ScriptedServer, behaviour: Any
) -> None:
    server.on("/", behaviour)
    assert ask(server, Request("/")) == [later("truncated")]
    assert len(server.received) == 3


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x00\xff\x00\xff\r\n\r\n",
        b"HTTP/9.9 twohundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: minus one\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
    ],
)
def test_nonsense_is_an_error_of_the_api_and_the_client_survives_it(
    server: ScriptedServer, nonsense: bytes
) -> None:
    server.on("/nonsense", raw(nonsense))
    server.on("/good", answer(200, b"x"))
    bad, good = ask(server, Request("/nonsense"), Request("/good"), timeout_seconds=2)
    assert isinstance(bad, Failure)
    assert bad.outcome is Outcome.RETRY_LATER
    assert good == Response(200, b"x")


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"not gzip"),
        ("gzip", gzip.compress(b"{}")[:-1]),
        ("gzip", gzip.compress(b"{}") + b"more"),
        ("br", b"{}"),
        ("gzip, gzip", b"{}"),
    ],
)
def test_a_body_in_an_encoding_that_cannot_be_read_is_rejected(
    server: ScriptedServer, encoding: str, body: bytes
) -> None:
    server.on("/", answer(200, body, Content_Encoding=encoding))
    assert ask(server, Request("/")) == [rejected("bad_encoding")]


@pytest.mark.parametrize("etag", ['"caf\N{LATIN SMALL LETTER E WITH ACUTE}"', '"a b"', ""])
def test_an_etag_that_could_not_be_sent_back_is_left_out(server: ScriptedServer, etag: str) -> None:
    server.on("/", answer(200, b"{}", ETag=etag))
    assert ask(server, Request("/")) == [Response(200, b"{}", None)]


def test_a_304_that_nobody_asked_for_is_no_answer(server: ScriptedServer) -> None:
    server.on("/", answer(304))
    assert ask(server, Request("/")) == [rejected("http_304")]


@pytest.mark.parametrize("where", ["http://169.254.169.254/latest/meta-data/", "/elsewhere", "//x"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(server: ScriptedServer, status: int, where: str) -> None:
    server.on("/", answer(status, b"", Location=where))
    server.on("/elsewhere", answer(200))
    assert ask(server, Request("/")) == [rejected("redirect")]
    assert [r.target for r in server.received] == ["/"]


def test_cookies_of_one_user_are_not_sent_for_the_next(server: ScriptedServer) -> None:
    server.on("/", answer(200, b"", Set_Cookie="session=alice; Path=/"))
    ask(server, Request("/"), Request("/"), concurrency=1)
    assert all("cookie" not in request.headers for request in server.received)


# --- tried again ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503, 599])
def test_an_error_that_may_pass_is_tried_three_times_at_most(
    server: ScriptedServer, status: int
) -> None:
    server.on("/", answer(status))
    assert ask(server, Request("/")) == [later(f"http_{status}")]
    assert len(server.received) == 3
    assert meter.reading()["api_retries"] == 2
    assert meter.reading()[f"api_http_{status}"] == 3


def test_an_error_that_passes_leaves_no_trace_but_in_the_meter(server: ScriptedServer) -> None:
    server.on("/", answer(503), answer(500), answer(200, b"x"))
    assert ask(server, Request("/")) == [Response(200, b"x")]
    reading = meter.reading()
    assert (reading["api_requests"], reading["api_retries"]) == (3, 2)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_an_error_that_stays_is_not_tried_again(server: ScriptedServer, status: int) -> None:
    server.on("/", answer(status))
    assert ask(server, Request("/")) == [rejected(f"http_{status}")]
    assert len(server.received) == 1


def test_an_error_with_a_body_keeps_the_connection(server: ScriptedServer) -> None:
    server.on("/", answer(404, b'{"error": "no such user"}'))
    ask(server, *[Request("/")] * 5, concurrency=1)
    assert server.connections == 1


def test_retry_after_is_waited_for(server: ScriptedServer) -> None:
    server.on("/", answer(429, b"", Retry_After="0"), answer(200, b"x"))
    assert ask(server, Request("/")) == [Response(200, b"x")]


@pytest.mark.parametrize("after", ["21", "999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_retry_after_that_does_not_fit_is_left_to_the_next_run(
    server: ScriptedServer, after: str
) -> None:
    server.on("/", answer(429, b"", Retry_After=after))
    assert ask(server, Request("/")) == [later("http_429")]
    assert len(server.received) == 1


def test_a_retry_after_beyond_the_deadline_is_left_to_the_next_run(server: ScriptedServer) -> None:
    server.on("/", answer(503, b"", Retry_After="10"))
    assert ask(server, Request("/"), seconds=5) == [later("http_503")]
    assert len(server.received) == 1


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("behaviour", [answer(500), answer(503), answer(429), reset, half_a_body])
def test_a_request_with_effects_is_not_sent_twice(
    server: ScriptedServer, method: str, behaviour: Any
) -> None:
    server.on("/", behaviour)
    (result,) = ask(server, Request("/", method=method, json={}))
    assert isinstance(result, Failure)
    assert result.outcome is Outcome.RETRY_LATER
    assert len(server.received) == 1


@pytest.mark.parametrize("behaviour", [answer(500), reset, half_a_body])
def test_a_request_with_an_idempotency_key_is_sent_again_like_any_other(
    server: ScriptedServer, behaviour: Any
) -> None:
    server.on("/first", answer(200))
    server.on("/", behaviour, answer(201, b"x"))
    keyed = Request("/", method="POST", headers={"Idempotency-Key": "k"}, json={}, repeatable=True)
    assert ask(server, Request("/first"), keyed, concurrency=1)[1] == Response(201, b"x")
    sent = server.asked("/")
    assert [(r.headers["idempotency-key"], r.connection > 1) for r in sent] == [
        ("k", False),
        ("k", True),
    ]


@pytest.mark.parametrize("behaviour", [reset, hang_up])
def test_a_kept_connection_that_breaks_gets_no_effect_twice(
    server: ScriptedServer, behaviour: Any
) -> None:
    server.on("/first", answer(200))
    server.on("/", behaviour, answer(200))
    requests = [Request("/first"), Request("/", method="POST", json={})]
    answers = ask(server, *requests, concurrency=1)
    assert answers == [Response(200, b""), later("disconnected")]
    assert [(r.target, r.connection) for r in server.received] == [("/first", 1), ("/", 2)]


async def answer_and_hang_up(exchange: Exchange) -> None:
    await answer(200, b"x")(exchange)
    exchange.writer.close()


def answer_the_first() -> Scripted:
    """Answer the first request of a connection, and hang up on the second without a word."""
    answered = set[int]()

    async def reply(exchange: Exchange) -> None:
        if exchange.request.connection in answered:
            exchange.writer.close()
            return
        answered.add(exchange.request.connection)
        await answer(200, b"x")(exchange)

    return reply


@pytest.mark.parametrize("behaviour", [lambda: answer_and_hang_up, answer_the_first])
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "PATCH"])
def test_an_api_that_closes_kept_connections_fails_nobody_and_gets_no_effect_twice(
    server: ScriptedServer, behaviour: Any, method: str
) -> None:
    server.on("/", behaviour())
    answers = ask(server, *[Request("/", method=method)] * 60)
    assert answers == [Response(200, b"x")] * 60
    assert meter.reading().get("api_retries") is None
    if method in {"POST", "PATCH"}:
        assert len(server.received) == 60


@pytest.mark.parametrize("behaviour", [reset, hang_up])
def test_on_a_kept_connection_that_breaks_a_repeatable_request_is_sent_again_at_once(
    server: ScriptedServer, behaviour: Any
) -> None:
    server.on("/first", answer(200))
    server.on("/", behaviour, answer(200, b"x"))
    answers = ask(server, Request("/first"), Request("/"), concurrency=1)
    assert answers == [Response(200, b""), Response(200, b"x")]
    reading = meter.reading()
    assert (reading["api_requests"], reading.get("api_retries")) == (3, None)


@pytest.mark.parametrize("status", [429, 503])
def test_a_request_with_effects_that_was_turned_away_is_sent_again(
    server: ScriptedServer, status: int
) -> None:
    server.on("/", answer(status, b"", Retry_After="0"), answer(201, b"x"))
    assert ask(server, Request("/", method="POST", json={})) == [Response(201, b"x")]


def test_a_refused_connection_is_tried_again_even_for_a_request_with_effects() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: refuses
        with client(f"http://127.0.0.1:{taken.getsockname()[1]}") as api:
            answers = call(
                api,
                [Request("/", method="POST")],
                seconds=5,
            )
    assert answers == [later("connect")]
    assert meter.reading()["api_requests"] == 3


def test_a_name_that_does_not_resolve_is_left_to_the_next_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve_nothing(monkeypatch)
    with client("http://api.invalid") as api:
        answers = call(
            api,
            [Request("/")],
            seconds=5,
        )
    assert answers == [later("dns")]


def test_a_burst_has_only_so_many_retries(server: ScriptedServer) -> None:
    server.on("/", answer(500))
    answers = ask(server, *[Request("/")] * 50)
    assert answers == [later("http_500")] * 50
    retries = RETRIES_TO_START + RETRIES_PER_CALL * 50
    assert retries - 1 <= len(server.received) - 50 <= retries
    assert meter.reading()["api_retries"] == len(server.received) - 50


class Breaking(FakeBreaker):
    """Breaks upon the first result."""

    def heard(self, result: Answer | Setback, *, counts: bool) -> None:
        super().heard(result, counts=counts)
        raise RuntimeError("broken")


def test_a_burst_that_breaks_leaves_a_client_that_works(server: ScriptedServer) -> None:
    server.on("/silent", silent)
    server.on("/", answer(200, b"x"))
    with client(server.url, concurrency=2) as api:
        with pytest.raises(RuntimeError, match="broken"):
            call(
                api,
                [Request("/silent"), Request("/")],
                seconds=30,
                requests_per_second=0,
                breaker=Breaking(),
            )
        answers = call(
            api,
            [Request("/")] * 4,
        )
    assert answers == [Response(200, b"x")] * 4
