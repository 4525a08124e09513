"""What the HTTP client leaves to the breaker, in which order it asks, and what it gives up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from batch_core.job import Request, Response
from tests.support.api_client import call, client, later, rejected
from tests.support.fakes_api import FakeBreaker
from tests.support.scripted_server import Exchange, ScriptedServer, answer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        server.otherwise = answer(200, b"x")
        yield server


async def silent(exchange: Exchange) -> None:
    await exchange.hang()


def test_users_who_are_known_to_fail_prove_nothing_about_the_api(server: ScriptedServer) -> None:
    breaker = FakeBreaker()
    with client(server.url) as api:
        requests = [Request(f"/{n}") for n in range(4)]
        list(
            api.call(
                requests,
                seconds=30,
                fair_seconds=60,
                requests_per_second=0,
                breaker=breaker,
                doubtful=[1, 3],
            )
        )
    assert sorted(breaker.counted) == [False, False, True, True]
    # They are asked first, so that those who take long take it beside the others.
    assert [request.target for request in server.received][:2] == ["/1", "/3"]


def test_a_token_that_was_replaced_is_read_again_at_the_first_401(server: ScriptedServer) -> None:
    async def by_token(exchange: Exchange) -> None:
        good = exchange.request.headers["authorization"] == "Bearer new"
        await answer(200 if good else 401, b"x")(exchange)

    server.otherwise = by_token
    told: list[str] = []

    def renew(refused: str) -> str:
        told.append(refused)
        return "new"

    breaker = FakeBreaker(served=False)
    with client(server.url, secret=lambda: "old", renew=renew, concurrency=1) as api:
        answers = call(api, [Request(f"/{n}") for n in range(3)], breaker=breaker)

    assert answers == [Response(200, b"x")] * 3
    assert told == ["old"]
    # Who was refused for the token alone is no failure.
    assert breaker.results == answers


def test_who_is_refused_while_others_are_served_has_no_token_read(server: ScriptedServer) -> None:
    server.otherwise = answer(401)
    with client(server.url, secret=lambda: "old", renew=lambda _: "new") as api:
        assert call(api, [Request("/a")], breaker=FakeBreaker(served=True)) == [
            rejected("http_401")
        ]
    assert len(server.received) == 1


def test_where_time_is_short_a_call_that_hangs_is_given_up(server: ScriptedServer) -> None:
    server.otherwise = answer(200, b"x")
    server.on("/hangs", silent)
    with client(server.url, timeout_seconds=20.0) as api:
        call(api, [Request(f"/{n}") for n in range(30)])
        answers = call(api, [Request("/hangs"), Request("/b")], seconds=8, fair_seconds=0.0)

    # Not at the end of the time, which is "deadline", and not tried again.
    assert answers == [later("timeout"), Response(200, b"x")]
    assert len(server.asked("/hangs")) == 1
