"""What every ApiClient does, be it the tests' fake or the one that talks HTTP."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from batch_core.adapters.http import CurlApiClient
from batch_core.job import Request, Response
from batch_core.outcomes import Outcome
from batch_core.ports import BREAKER_OPEN, Answer, ApiClient, CallBreaker, Failure
from batch_core.retry import Setback
from tests.support.api_client import call
from tests.support.fakes_api import FakeApi, FakeBreaker, Served
from tests.support.scripted_server import Exchange, ScriptedServer, answer


@dataclass(frozen=True)
class Api:
    """A client and the API behind it."""

    client: ApiClient
    serve: Callable[[str, Served], None]
    count: Callable[[], int]

    def call(
        self,
        requests: Sequence[Request],
        *,
        seconds: float = 30,
        breaker: CallBreaker | None = None,
    ) -> list[Answer]:
        return call(self.client, requests, seconds=seconds, breaker=breaker)


@pytest.fixture(params=["fake", "http"])
def api(request: pytest.FixtureRequest) -> Iterator[Api]:
    if request.param == "fake":
        fake = FakeApi()
        yield Api(fake, fake.serve, lambda: len(fake.asked))
        return
    with (
        ScriptedServer() as server,
        CurlApiClient(
            server.url,
            concurrency=4,
            timeout_seconds=10,
            allow_private=True,
            secret=lambda: None,
        ) as client,
    ):

        def serve(path: str, served: Served) -> None:
            async def reply(exchange: Exchange) -> None:
                headers: Any = {"ETag": served.etag} if served.etag else {}
                known = exchange.request.headers.get("if-none-match")
                if known is not None and known == served.etag:
                    await answer(304, **headers)(exchange)
                else:
                    await answer(served.status, served.body, **headers)(exchange)

            server.on(path, reply)

        yield Api(client, serve, lambda: len(server.received))


def test_answers_come_in_the_order_of_the_requests(api: Api) -> None:
    for n in range(20):
        api.serve(f"/users/{n}", Served(body=b"%d" % n))
    answers = api.call([Request(f"/users/{n}") for n in range(20)])
    assert answers == [Response(200, b"%d" % n) for n in range(20)]


def test_nothing_asked_is_nothing_answered(api: Api) -> None:
    assert api.call([]) == []
    assert api.count() == 0


def known(api: Api, request: Request) -> Request:
    """The request with the ETag that came with its answer the last time."""
    (answer,) = api.call([request])
    assert isinstance(answer, Response)
    return replace(request, etag=answer.etag)


def test_an_etag_comes_with_the_answer_and_tells_what_was_asked(api: Api) -> None:
    api.serve("/a", Served(body=b"{}", etag='"v1"'))
    assert re.fullmatch(r'"v1"#[0-9a-f]{16}', str(known(api, Request("/a")).etag))


def test_a_known_etag_is_answered_with_not_modified(api: Api) -> None:
    api.serve("/a", Served(body=b"{}", etag='"v1"'))
    assert api.call([known(api, Request("/a"))]) == [None]


def test_an_outdated_etag_gets_the_new_answer(api: Api) -> None:
    api.serve("/a", Served(body=b"old", etag='"v1"'))
    outdated = known(api, Request("/a"))
    api.serve("/a", Served(body=b"new", etag='"v2"'))
    (answer,) = api.call([outdated])
    assert isinstance(answer, Response)
    assert answer.body == b"new"


@pytest.mark.parametrize(
    "other",
    [
        {"path": "/b"},
        {"path": "/a?account=2"},
        {"headers": {"X-Account": "2"}},
        {"headers": {"Authorization": "Bearer another"}},
        {"method": "POST"},
        {"method": "POST", "json": {"account": 2}},
    ],
    ids=str,
)
def test_an_etag_is_not_sent_for_another_request(api: Api, other: dict[str, Any]) -> None:
    for path in ("/a", "/b", "/a?account=2"):
        api.serve(path, Served(body=path.encode(), etag='"1"'))
    etag = known(api, Request("/a", headers={"X-Account": "1"})).etag

    (answer,) = api.call([Request(**{"path": "/a", **other, "etag": etag})])

    assert isinstance(answer, Response)


def test_an_etag_of_which_nobody_knows_what_was_asked_is_not_sent(api: Api) -> None:
    api.serve("/a", Served(body=b"x", etag='"v1"'))
    (answer,) = api.call([Request("/a", etag='"v1"')])
    assert isinstance(answer, Response)


def test_headers_that_tell_only_requests_apart_do_not_part_an_etag_from_its_request(
    api: Api,
) -> None:
    api.serve("/a", Served(body=b"x", etag='"v1"'))
    first = known(api, Request("/a", headers={"Idempotency-Key": "1", "X-Account": "1"}))
    again = replace(first, headers={"x-account": "1", "idempotency-key": "2"})
    assert api.call([again]) == [None]


@pytest.mark.parametrize("status", [200, 201, 299])
def test_every_2xx_is_an_answer(api: Api, status: int) -> None:
    api.serve("/a", Served(status, b"x"))
    assert api.call([Request("/a")]) == [Response(status, b"x")]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_a_4xx_rejects_its_user_only(api: Api, status: int) -> None:
    api.serve("/bad", Served(status))
    api.serve("/good", Served(body=b"x"))
    bad, good = api.call([Request("/bad"), Request("/good")])
    assert bad == Failure(Outcome.REJECTED, f"http_{status}")
    assert good == Response(200, b"x")


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_5xx_leaves_its_user_to_the_next_run(api: Api, status: int) -> None:
    api.serve("/a", Served(status))
    assert api.call([Request("/a")]) == [Failure(Outcome.RETRY_LATER, f"http_{status}")]


@pytest.mark.parametrize("seconds", [0, -1])
def test_without_time_nothing_is_asked_and_nobody_is_lost(api: Api, seconds: float) -> None:
    answers = api.call([Request("/a"), Request("/b")], seconds=seconds)
    assert answers == [Failure(Outcome.RETRY_LATER, "deadline")] * 2
    assert api.count() == 0


def test_a_request_that_climbs_out_of_the_base_url_is_not_sent(api: Api) -> None:
    assert api.call([Request("/users/../admin")]) == [Failure(Outcome.REJECTED, "bad_path")]
    assert api.count() == 0


# --- the breaker ------------------------------------------------------------------------------


def test_an_open_breaker_lets_nothing_through(api: Api) -> None:
    breaker = FakeBreaker(after=0)
    assert api.call([Request("/a"), Request("/b")], breaker=breaker) == [BREAKER_OPEN] * 2
    assert api.count() == 0
    assert breaker.results == []


def test_a_request_that_must_not_be_sent_is_rejected_behind_an_open_breaker_too(api: Api) -> None:
    answers = api.call([Request("/a/../b")], breaker=FakeBreaker(after=0))
    assert answers == [Failure(Outcome.REJECTED, "bad_path")]


def test_the_breaker_hears_of_every_attempt(api: Api) -> None:
    api.serve("/good", Served(body=b"x", etag='"e"'))
    api.serve("/ill", Served(500))
    breaker = FakeBreaker()
    good = known(api, Request("/good"))
    before = api.count()
    requests = [Request("/good"), good, Request("/none"), Request("/ill")]
    api.call(requests, breaker=breaker)
    assert len(breaker.results) == api.count() - before
    for heard in (Response(200, b"x", good.etag), None, Failure(Outcome.REJECTED, "http_404")):
        assert breaker.results.count(heard) == 1
    assert Setback("http_500") in breaker.results


def test_who_was_asked_about_before_the_breaker_opened_keeps_the_answer(api: Api) -> None:
    for n in range(20):
        api.serve(f"/{n}", Served(body=b"x") if n % 2 else Served(500))
    breaker = FakeBreaker(after=6)
    answers = api.call([Request(f"/{n}") for n in range(20)], breaker=breaker)
    asked = [answer for answer in answers if answer != BREAKER_OPEN]
    # The HTTP client has up to four calls in flight when it opens.
    assert 3 <= len(asked) <= 6 + 4
    assert set(asked) == {Response(200, b"x"), Failure(Outcome.RETRY_LATER, "http_500")}
    assert answers[-1] == BREAKER_OPEN
