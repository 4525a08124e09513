"""Faults 4, 8, 9, 10 and 13: answers that say no, are too long, break off, make no sense, are 304.

Each test puts the bad answers among good ones: a fault is its user's own.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch_core.limits import API_BODY_BYTES
from batch_core.outcomes import Tally
from batch_core.retry import API_TRIES
from tests.faults.conftest import Lab
from tests.support.api_groups import Batch, Environment, request, users, well
from tests.support.etags import bound
from tests.support.scripted_server import Answer, Exchange, ScriptedServer, answer, raw

COUNT = 60


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        server.otherwise = well
        yield server


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jitter is any pause from nothing up, so that nothing is a fair draw."""
    monkeypatch.setattr("batch_core.adapters.http.random.random", lambda: 0.0)


def serve(server: ScriptedServer, *bad: Answer) -> int:
    """Give users 0, 1, ... these answers, for good; returns how many."""
    for user, reply in enumerate(bad):
        server.on(f"/users/{user}", reply)
    return len(bad)


def chunked(*parts: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)


# --- 4 ----------------------------------------------------------------------------------------


@pytest.mark.fault(4)
def test_what_the_api_denies_one_user_is_that_users_alone(server: ScriptedServer, lab: Lab) -> None:
    statuses = [400, 404, 405, 409, 410, 415, 422, 451]
    bad = serve(server, *map(answer, statuses))

    with Environment(server.url) as env:
        result = env.work(Batch(users(COUNT)))

    assert result.tally == Tally(queued=COUNT - bad, rejected=bad)
    assert result.errors == {f"http_{status}": 1 for status in statuses}
    assert sorted(result.rows) == list(range(bad, COUNT))
    assert len(server.received) == COUNT  # nobody is asked about twice
    lab.report("400 ... 451 for one user each", times=bad, users=COUNT, accounted=result.accounted)


@pytest.mark.fault(4)
@pytest.mark.parametrize("status", [302, 404, 410])
def test_what_the_api_denies_everyone_is_no_users_fault(
    server: ScriptedServer, lab: Lab, status: int
) -> None:
    server.otherwise = answer(status)

    with Environment(server.url) as env:
        result = env.work(Batch(users(100), first_calls=20))

    assert result.tally == Tally(retry_later=20, skipped=80)
    assert len(server.received) == 20
    lab.report(f"{status} for everyone", times=100, users=100, accounted=result.accounted)


# --- 8 ----------------------------------------------------------------------------------------


async def endless(exchange: Exchange) -> None:
    await exchange.send(chunked())
    while True:
        await exchange.send(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")


@pytest.mark.fault(8)
def test_no_body_is_so_long_that_the_group_suffers(server: ScriptedServer, lab: Lab) -> None:
    bomb = gzip.compress(bytes(100_000_000))
    assert len(bomb) < API_BODY_BYTES
    bad = serve(
        server,
        endless,
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"),
        answer(200, b" " * (API_BODY_BYTES + 1)),
        answer(200, bomb, Content_Encoding="gzip"),
        answer(200, gzip.compress(bomb), Content_Encoding="gzip"),
    )

    with Environment(server.url) as env:
        result = env.work(Batch(users(COUNT)))

    # The last one inflates to gzip, which is not JSON.
    assert result.errors.pop("too_large") == bad - 1
    assert [*result.errors.values()] == [1]
    assert result.tally == Tally(queued=COUNT - bad, rejected=bad)
    assert sorted(result.rows) == list(range(bad, COUNT))
    lab.report(
        "endless, announced as 100 GB, 1 byte too long, gzip bombs",
        times=bad,
        users=COUNT,
        accounted=result.accounted,
    )


# --- 9 ----------------------------------------------------------------------------------------

WHOLE = b'{"value": "whole"}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(WHOLE)


def cut(data: bytes, *, reset: bool = False) -> Answer:
    """Send these bytes and end the connection."""

    async def send(exchange: Exchange) -> None:
        await exchange.send(data)
        if reset:
            exchange.reset()
        else:
            exchange.writer.close()

    return send


# The third would be valid JSON if somebody looked at it before the end.
CUTS = [
    cut(HEAD + WHOLE[:5]),
    cut(HEAD + WHOLE[:-1], reset=True),
    cut(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + WHOLE),
    cut(chunked(WHOLE)),
    cut(chunked(WHOLE)[:-4], reset=True),
    cut(b"HTTP/1.1 200 OK\r\n"),
    cut(b"", reset=True),
]


@pytest.mark.fault(9)
def test_an_answer_that_breaks_off_once_is_asked_for_again(
    server: ScriptedServer, lab: Lab
) -> None:
    for user, broken in enumerate(CUTS):
        server.on(f"/users/{user}", broken, well)

    with Environment(server.url) as env:
        result = env.work(Batch(users(COUNT)))

    assert result.tally == Tally(queued=COUNT)
    assert result.rows == {user: str(user) for user in range(COUNT)}
    lab.report("cut, then whole", times=len(CUTS), users=COUNT, accounted=result.accounted)


@pytest.mark.fault(9)
def test_an_answer_that_always_breaks_off_is_never_half_used(
    server: ScriptedServer, lab: Lab
) -> None:
    bad = serve(server, *CUTS)

    with Environment(server.url) as env:
        result = env.work(Batch(users(COUNT)))

    assert result.tally == Tally(queued=COUNT - bad, retry_later=bad)
    assert result.errors.keys() <= {"truncated", "disconnected"}
    assert result.rows == {user: str(user) for user in range(bad, COUNT)}
    asked = Counter(request.target for request in server.received)
    # One more where libcurl itself sends again what a kept-alive connection did not answer.
    assert max(asked.values()) <= API_TRIES + 1
    lab.report("always cut", times=bad, users=COUNT, accounted=result.accounted)


# --- 10 ---------------------------------------------------------------------------------------

# What is wrong with a body, and a word of what the log says of it.
BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not_json"),
    "a page": (b"<html>Down for maintenance</html>", "not_json"),
    "cut JSON": (b'{"value": "x', "not_json"),
    "NaN": (b'{"value": NaN}', "not_json"),
    "Infinity": (b'{"value": -Infinity}', "not_json"),
    "beyond a double": (b'{"value": 1e999}', "not_json"),
    "a key twice": (b'{"value": "1", "value": "2"}', "not_json"),
    "a key twice, inside": (b'{"value": {"a": 1, "a": 1}}', "not_json"),
    "100,000 deep": (b"[" * 100_000 + b"]" * 100_000, "not_json"),
    "a lone surrogate": (b'{"value": "\\ud800"}', "not_json"),
    "a byte-order mark": (b'\xef\xbb\xbf{"value": "1"}', "not_json"),
    "UTF-16": ('{"value": "1"}'.encode("utf-16"), "not_json"),
    "Latin-1": (b'{"value": "caf\xe9"}', "not_json"),
    "no object": (b"[1]", "TypeError"),
    "null": (b"null", "TypeError"),
    "no such field": (b'{"values": "1"}', "KeyError"),
    "too wide for a row": (b'{"value": "%s"}' % (b"x" * 20_000), "row_too_large"),
}


@pytest.mark.fault(10)
@pytest.mark.parametrize("kind", BODIES)
def test_a_body_that_is_not_what_it_should_be_is_rejected_by_name(
    server: ScriptedServer, lab: Lab, kind: str
) -> None:
    body, word = BODIES[kind]
    server.on("/users/4", answer(200, body))

    with Environment(server.url) as env:
        result = env.work(Batch(users(10)))

    assert result.tally == Tally(queued=9, rejected=1)
    assert result.rows.keys() == set(range(10)) - {4}
    (error,) = result.errors
    assert error == word
    assert len(server.received) == 10
    lab.report(kind, times=1, users=10, accounted=result.accounted)


@pytest.mark.fault(10)
def test_text_beyond_the_basic_plane_arrives_as_it_is(server: ScriptedServer, lab: Lab) -> None:
    text = "\N{PILE OF POO}\N{OLD PERSIAN SIGN A} \x00 \u2028"
    server.on("/users/0", answer(200, json.dumps({"value": text}, ensure_ascii=False).encode()))
    server.on("/users/1", answer(200, json.dumps({"value": text}).encode()))

    with Environment(server.url) as env:
        result = env.work(Batch(users(3)))

    assert result.rows == {0: text, 1: text, 2: "2"}
    lab.report("4-byte UTF-8", times=2, users=3, accounted=result.accounted)


@pytest.mark.fault(10)
def test_whatever_a_body_holds_its_user_and_the_others_are_accounted_for(
    server: ScriptedServer, lab: Lab
) -> None:
    values: st.SearchStrategy[Any] = st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.just("value") | st.text(), inner),
    )
    # json.dumps also writes NaN and lone surrogates, as bad servers do.
    bodies = st.binary(max_size=300) | values.map(lambda value: json.dumps(value).encode())
    tried = accounted = 0

    with Environment(server.url) as env:

        @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(bodies)
        def holds(body: bytes) -> None:
            nonlocal tried, accounted
            server.on("/users/1", answer(200, body))
            result = env.work(Batch(users(3)))
            assert result.tally in {Tally(queued=3), Tally(queued=2, rejected=1)}
            assert {0, 2} <= result.rows.keys()
            tried += 1
            accounted += result.accounted

        holds()
    lab.report("any bytes, any value", times=tried, users=3 * tried, accounted=accounted)


# --- 13 ---------------------------------------------------------------------------------------


@pytest.mark.fault(13)
def test_users_of_whom_there_is_nothing_new_cost_no_row(server: ScriptedServer, lab: Lab) -> None:
    async def conditional(exchange: Exchange) -> None:
        known = exchange.request.headers.get("if-none-match") == '"new"'
        await (answer(304, ETag='"new"') if known else well)(exchange)

    server.otherwise = conditional
    etags = ['"new"', '"old"', None]
    listed: list[dict[str, Any]] = [{"user_id": n, "etag": etags[n % 3]} for n in range(COUNT)]

    stored = [
        user | {"etag": bound(user["etag"], request(user), base_url=server.url)}
        if user["etag"]
        else user
        for user in listed
    ]
    with Environment(server.url) as env:
        result = env.work(Batch(stored))

    assert result.tally == Tally(queued=40, unchanged=20)
    assert result.rows.keys() == {n for n in range(COUNT) if n % 3}
    sent = {int(r.target.split("/")[-1]): r.headers.get("if-none-match") for r in server.received}
    assert sent == {user["user_id"]: user["etag"] for user in listed}
    lab.report("304 for a third", times=20, users=COUNT, accounted=result.accounted)


@pytest.mark.fault(13)
def test_a_304_that_nobody_asked_for_changes_nothing_and_is_no_success(
    server: ScriptedServer, lab: Lab
) -> None:
    bad = serve(server, answer(304), answer(304, ETag='"new"'))

    with Environment(server.url) as env:
        result = env.work(Batch(users(COUNT)))

    assert result.tally == Tally(queued=COUNT - bad, rejected=bad)
    assert result.errors == {"http_304": bad}
    lab.report("304 without a condition", times=bad, users=COUNT, accounted=result.accounted)
