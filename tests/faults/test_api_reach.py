"""Faults 6, 7, 11, 12 and 14: an API that cannot be reached, must not be, or takes too long."""

from __future__ import annotations

import socket
import ssl
import warnings
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from batch_core import meter
from batch_core.adapters import http_transfer
from batch_core.job import Request, User
from batch_core.outcomes import Tally
from batch_core.retry import API_TRIES, RETRIES_PER_CALL, RETRIES_TO_START
from tests.faults.conftest import Lab
from tests.support.api_groups import Batch, Environment, Result, job, users, well
from tests.support.certificates import Authority
from tests.support.names import connections, resolve_all, resolve_nothing
from tests.support.scripted_server import Exchange, ScriptedServer, answer

COUNT = 30


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        server.otherwise = well
        yield server


@pytest.fixture(autouse=True)
def fresh_meter() -> None:
    meter.reset()


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jitter is any pause from nothing up, so that nothing is a fair draw."""
    monkeypatch.setattr("batch_core.adapters.http.random.random", lambda: 0.0)


def requests_made() -> int:
    made = meter.reading().get("api_requests", 0)
    assert isinstance(made, int)
    return made


# --- 6 ----------------------------------------------------------------------------------------


@pytest.fixture
def refusing() -> Iterator[str]:
    """A port that refuses: bound, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def unresolved(monkeypatch: pytest.MonkeyPatch) -> str:
    """A name that nobody knows."""
    resolve_nothing(monkeypatch)
    return "http://api.invalid"


@pytest.fixture
def blackhole(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A port whose backlog is full: Linux leaves further connections unanswered."""
    monkeypatch.setattr(http_transfer, "CONNECT_SECONDS", 0.1)
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.fault(6)
@pytest.mark.parametrize(
    ("place", "error"),
    [("refusing", "connect"), ("unresolved", "dns"), ("blackhole", "connect_timeout")],
)
def test_users_of_an_api_that_cannot_be_connected_to_wait_for_the_next_run(
    place: str, error: str, request: pytest.FixtureRequest, lab: Lab
) -> None:
    url = request.getfixturevalue(place)

    with Environment(url, concurrency=10) as env:
        few = env.work(Batch(users(15)))
        requests = requests_made()
        batch = Batch(users(300), run_id="demo-20260131T103000Z")
        many = [env.work(batch, group) for group in range(3)]

    assert few.tally == Tally(retry_later=15)
    assert few.errors == {error: 15}
    assert requests <= 15 + RETRIES_TO_START + RETRIES_PER_CALL * 15
    # Of three hundred only the first are tried; the others are not kept waiting for a dead host.
    assert many[0].errors.keys() == {error, "breaker_open"}
    assert [result.tally for result in many[1:]] == [Tally(retry_later=1, skipped=99)] * 2
    assert requests_made() - requests == batch.run.first_calls + 2
    accounted = few.accounted + sum(result.accounted for result in many)
    lab.report(error, times=1, users=315, accounted=accounted)


@pytest.mark.fault(6)
def test_a_name_that_does_not_resolve_for_a_moment_costs_nobody_the_run(
    server: ScriptedServer, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_all(monkeypatch, "127.0.0.1", port=server.port, failures=2)
    url = server.url.replace("127.0.0.1", "api.example.com")

    with Environment(url, concurrency=2) as env:
        result = env.work(Batch(users(COUNT)))

    assert result.tally == Tally(queued=COUNT)
    lab.report("dns, twice, then well", times=2, users=COUNT, accounted=result.accounted)


# --- 7 ----------------------------------------------------------------------------------------


async def silent(exchange: Exchange) -> None:
    await exchange.hang()


async def slow_headers(exchange: Exchange) -> None:
    await exchange.dribble(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000, every=0.02)


async def slow_body(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    await exchange.dribble(b"x" * 100_000, every=0.02)


@pytest.mark.fault(7)
def test_users_whose_answers_dribble_in_hold_up_nobody(server: ScriptedServer, lab: Lab) -> None:
    slow = [silent, slow_headers, slow_body]
    for user, behaviour in enumerate(slow):
        server.on(f"/users/{user}", behaviour)

    with Environment(server.url, timeout_seconds=0.5) as env:
        result = env.work(Batch(users(COUNT)))

    assert result.errors == {"timeout": 3}
    assert result.tally == Tally(queued=COUNT - 3, retry_later=3)
    assert sorted(result.rows) == list(range(3, COUNT))
    for user in range(3):
        assert len(server.asked(f"/users/{user}")) == API_TRIES
    lab.report("silence, slow headers, slow body", times=3, users=COUNT, accounted=result.accounted)


@pytest.mark.fault(7)
def test_an_answer_that_came_in_time_at_last_is_used(server: ScriptedServer, lab: Lab) -> None:
    for user in range(3):
        server.on(f"/users/{user}", silent, well)

    with Environment(server.url, timeout_seconds=0.5) as env:
        result = env.work(Batch(users(COUNT)))

    assert result.tally == Tally(queued=COUNT)
    lab.report("silence, then an answer", times=3, users=COUNT, accounted=result.accounted)


# --- 11 ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("certificates"))


def old_tls(authority: Authority) -> ssl.SSLContext:
    context = authority.server()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    # OpenSSL's default security level would refuse to serve it.
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


BAD_SERVERS: dict[str, Callable[[Authority], ssl.SSLContext]] = {
    "self-signed": lambda authority: authority.self_signed_server(),
    "expired": lambda authority: authority.server(days=-1),
    "for another host": lambda authority: authority.server("127.0.0.2"),
    "TLS 1.1": old_tls,
}


@pytest.mark.fault(11)
@pytest.mark.parametrize("kind", BAD_SERVERS)
def test_nobody_is_asked_about_at_a_server_that_cannot_be_trusted(
    kind: str, authority: Authority, lab: Lab
) -> None:
    with (
        ScriptedServer(BAD_SERVERS[kind](authority)) as server,
        Environment(server.url, ca_file=authority.ca_file, secret=lambda: "s3cret") as env,
    ):
        server.otherwise = well
        result = env.work(Batch(users(15)))

    assert server.received == []  # and so nobody has seen the secret
    assert result.tally == Tally(retry_later=15)
    # One try each: the next one would meet the same certificate. Old versions of TLS end the
    # handshake in more ways than one.
    assert kind == "TLS 1.1" or (result.errors == {"tls": 15} and requests_made() == 15)
    lab.report(kind, times=requests_made(), users=15, accounted=result.accounted)


@pytest.mark.fault(11)
def test_behind_a_bad_certificate_the_run_stops_and_a_good_one_heals_it(
    authority: Authority, lab: Lab
) -> None:
    batch = Batch(users(200))
    with (
        ScriptedServer(authority.server(days=-1)) as server,
        Environment(server.url, ca_file=authority.ca_file) as env,
    ):
        expired = [env.work(batch, group) for group in range(2)]
    with (
        ScriptedServer(authority.server()) as server,
        Environment(server.url, ca_file=authority.ca_file) as env,
    ):
        server.otherwise = well
        renewed = env.work(Batch(batch.users, run_id="demo-20260131T103000Z", store=batch.store))

    assert expired[0].errors.keys() == {"tls", "breaker_open"}
    assert expired[1].tally == Tally(retry_later=1, skipped=99)
    assert renewed.tally == Tally(queued=100)
    accounted = sum(result.accounted for result in (*expired, renewed))
    lab.report("expired, then renewed", times=1, users=300, accounted=accounted)


# --- 12 ---------------------------------------------------------------------------------------

INTERNAL = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "0",
    "localhost",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "10.0.0.1",
    "192.168.0.1",
    "[fd00::1]",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
]


@pytest.mark.fault(12)
@pytest.mark.parametrize("host", INTERNAL)
def test_no_spelling_of_an_internal_address_is_connected_to(
    host: str, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected = connections(monkeypatch)

    with Environment(f"https://{host}:9", allow_private=False) as env:
        result = env.work(Batch(users(3)))

    assert connected == []
    assert result.tally == Tally(retry_later=3)
    assert result.errors.keys() <= {"address", "dns"}
    lab.report("literal addresses inside", times=1, users=3, accounted=result.accounted)


@pytest.mark.fault(12)
@pytest.mark.parametrize("inside", ["127.0.0.1", "10.0.0.1", "169.254.169.254"])
def test_a_name_that_also_leads_inside_is_connected_to_outside_only(
    inside: str, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected = connections(monkeypatch)
    resolve_all(monkeypatch, inside, "8.8.8.8", port=443)

    with Environment("https://api.example.com", allow_private=False) as env:
        result = env.work(Batch(users(5)))

    assert set(connected) == {"8.8.8.8"}
    assert result.tally == Tally(retry_later=5)
    lab.report("names that lead inside", times=1, users=5, accounted=result.accounted)


@pytest.mark.fault(12)
def test_redirects_lead_nowhere(server: ScriptedServer, lab: Lab) -> None:
    places = [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:1/",
        "http://[::1]/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "//127.0.0.1/",
        "/users/29",
    ]
    for user, where in enumerate(places):
        server.on(f"/users/{user}", answer(302 if user % 2 else 307, b"", Location=where))

    with Environment(server.url) as env:
        result = env.work(Batch(users(COUNT)))

    bad = len(places)
    assert result.errors == {"redirect": bad}
    assert result.tally == Tally(queued=COUNT - bad, rejected=bad)
    assert sorted(r.target for r in server.received) == sorted(f"/users/{n}" for n in range(COUNT))
    lab.report("redirects inside", times=bad, users=COUNT, accounted=result.accounted)


HOSTILE_IDS = [
    "../admin",
    "..",
    "%2e%2e/admin",
    "..\\admin",
    "a/../../admin",
    "x\r\nHost: evil.example",
    "x HTTP/1.1\r\n\r\nGET /admin",
    "//evil.example/",
    "?admin=1",
    "#x",
    "\x00",
]


def ask(server: ScriptedServer, request: Callable[[User], Request]) -> Result:
    """Process hostile ids among good ones; none may lead anywhere but below /users."""
    ids = [*HOSTILE_IDS, *(f"u-{n}" for n in range(20))]
    with Environment(server.url, job=job(request)) as env:
        result = env.work(Batch([{"user_id": user_id} for user_id in ids]))
    assert {f"u-{n}" for n in range(20)} <= result.rows.keys()
    for received in server.received:
        assert received.target.startswith("/users/")
        assert received.headers["host"] == f"127.0.0.1:{server.port}"
    assert not any("admin" in received.target.split("/")[1:2] for received in server.received)
    return result


@pytest.mark.fault(12)
def test_ids_that_a_job_forgets_to_quote_are_refused(server: ScriptedServer, lab: Lab) -> None:
    result = ask(server, lambda user: Request(f"/users/{user['user_id']}"))

    # Two of them only ask for something else below the base, which is the job's own mistake.
    sent = {"//evil.example/", "?admin=1"}
    assert result.errors["bad_path"] == len(HOSTILE_IDS) - len(sent)
    lab.report("ids unquoted", times=11, users=31, accounted=result.accounted)


@pytest.mark.fault(12)
def test_ids_that_are_quoted_stay_one_segment_of_the_path(server: ScriptedServer, lab: Lab) -> None:
    result = ask(server, lambda user: Request(f"/users/{quote(str(user['user_id']), safe='')}"))

    climbing = {"../admin", "..", "..\\admin", "a/../../admin"}
    assert result.errors == {"bad_path": len(climbing)}
    assert all(len(received.target.split("/")) == 3 for received in server.received)
    lab.report("ids quoted", times=11, users=31, accounted=result.accounted)


# --- 14 ---------------------------------------------------------------------------------------


@pytest.mark.fault(14)
def test_when_the_api_is_slow_for_all_the_time_ends_the_group_and_nobody_is_lost(
    server: ScriptedServer, lab: Lab
) -> None:
    answered = 0

    async def ten_and_no_more(exchange: Exchange) -> None:
        nonlocal answered
        if answered < 10:
            answered += 1
            await well(exchange)
        else:
            await exchange.hang()

    server.otherwise = ten_and_no_more
    batch = Batch(users(80), group_size=40)

    with Environment(server.url, concurrency=5) as env:
        result = env.work(batch, 0, seconds=2.0)
        too_late = env.work(batch, 1, seconds=0.0)

    assert result.tally == Tally(queued=10, retry_later=30)
    assert result.rows == {user: str(user) for user in result.rows}  # whole answers only
    assert (len(result.rows), result.errors) == (10, {"deadline": 30})
    assert len(server.received) == 10 + 5
    # A group that starts when the time is over asks nothing.
    assert too_late.tally == Tally(retry_later=40)
    assert too_late.late == 1
    accounted = result.accounted + too_late.accounted
    lab.report("no answer from the 11th on", times=1, users=80, accounted=accounted)
