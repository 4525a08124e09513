"""The HTTP client and who it is willing to talk to: certificates, protocol versions, addresses."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Iterator

import pytest

from batch_core import meter
from batch_core.adapters.http import CurlApiClient
from batch_core.adapters.http_addresses import is_allowed
from batch_core.errors import ConfigurationError
from batch_core.job import Request, Response
from batch_core.outcomes import Outcome
from batch_core.ports import Answer, Failure
from tests.support.api_client import call
from tests.support.certificates import Authority
from tests.support.names import connections, resolve_all
from tests.support.scripted_server import ScriptedServer, answer

TLS = [Failure(Outcome.RETRY_LATER, "tls")]
ADDRESS = [Failure(Outcome.RETRY_LATER, "address")]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def fresh_meter() -> None:
    meter.reset()


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jitter is any pause from nothing up, so that nothing is a fair draw."""
    monkeypatch.setattr("batch_core.adapters.http.random.random", lambda: 0.0)


def ask(url: str, *, allow_private: bool = True, ca_file: str | None = None) -> list[Answer]:
    with CurlApiClient(
        url,
        concurrency=1,
        timeout_seconds=10,
        allow_private=allow_private,
        secret=lambda: "s3cret",
        ca_file=ca_file,
    ) as client:
        return call(
            client,
            [Request("/")],
        )


# --- certificates -----------------------------------------------------------------------------


def test_a_good_certificate_is_accepted(authority: Authority) -> None:
    with ScriptedServer(authority.server()) as server:
        server.on("/", answer(200, b"x"))
        assert ask(server.url, ca_file=authority.ca_file) == [Response(200, b"x")]


def test_a_connection_closed_between_invocations_fails_nobody(authority: Authority) -> None:
    with (
        ScriptedServer(authority.server()) as server,
        CurlApiClient(
            server.url,
            concurrency=4,
            timeout_seconds=10,
            allow_private=True,
            secret=lambda: None,
            ca_file=authority.ca_file,
        ) as client,
    ):
        server.on("/", answer(200))
        requests = [Request("/", method="POST")] * 4
        for _ in range(2):
            answers = call(
                client,
                requests,
            )
            assert answers == [Response(200, b"")] * 4
            server.drop_connections()


def _bad(authority: Authority) -> Iterator[tuple[str, ssl.SSLContext]]:
    yield "expired", authority.server(days=-1)
    yield "for another host", authority.server("127.0.0.2")
    yield "self-signed", authority.self_signed_server()


@pytest.mark.parametrize("kind", ["expired", "for another host", "self-signed"])
def test_a_bad_certificate_gets_no_request_and_no_second_try(
    authority: Authority, kind: str
) -> None:
    with ScriptedServer(dict(_bad(authority))[kind]) as server:
        server.on("/", answer(200, b"x"))
        assert ask(server.url, ca_file=authority.ca_file) == TLS
        assert server.received == []
    assert meter.reading()["api_requests"] == 1


def test_an_authority_the_system_does_not_know_is_not_trusted(authority: Authority) -> None:
    with ScriptedServer(authority.server()) as server:
        server.on("/", answer(200, b"x"))
        assert ask(server.url) == TLS
        assert server.received == []


def test_tls_below_1_2_is_refused(authority: Authority) -> None:
    context = authority.server()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    # OpenSSL's default security level would refuse to serve it.
    context.set_ciphers("ALL:@SECLEVEL=0")
    _serves_old_tls(context)
    with ScriptedServer(context) as server:
        server.on("/", answer(200, b"x"))
        for trust in (None, authority.ca_file):
            (result,) = ask(server.url, ca_file=trust)
            assert isinstance(result, Failure)
            assert result.outcome is Outcome.RETRY_LATER
        assert server.received == []


def _serves_old_tls(context: ssl.SSLContext) -> None:
    """Make sure that the server could, so that it is the client that refuses."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client.minimum_version = ssl.TLSVersion.TLSv1
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        context.wrap_bio(one, other, server_side=True),
        client.wrap_bio(other, one, server_side=False),
    ]
    for _ in range(4):
        for end in reversed(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ends[1].version() == "TLSv1.1"


def test_a_server_that_speaks_no_tls_is_refused() -> None:
    with ScriptedServer(greeting=b"HTTP/1.1 200 OK\r\n\r\n") as server:
        assert ask(server.url.replace("http:", "https:")) == TLS
        assert server.received == []


# --- addresses --------------------------------------------------------------------------------

PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "240.0.0.1",
    "::1",
    "fd00::1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "64:ff9b::10.0.0.1",
    "2002:7f00:1::",
]
NEVER = [
    "169.254.169.254",
    "169.254.79.129",
    "fe80::1",
    "fe80::1%eth0",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "224.0.0.1",
    "ff02::1",
    "0.0.0.0",
    "::",
]
PUBLIC = ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_need_the_tenants_permission(address: str) -> None:
    assert not is_allowed(address, allow_private=False)
    assert is_allowed(address, allow_private=True)


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_an_api(address: str) -> None:
    assert not is_allowed(address, allow_private=False)
    assert not is_allowed(address, allow_private=True)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_allowed(address, allow_private=False)


# Each form that some library reads as 127.0.0.1 or as the address of the credentials service.
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:0:0:1]",
        "localhost",
        "169.254.169.254",
        "2852039166",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
    ],
)
def test_no_spelling_of_a_private_address_gets_through(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected = connections(monkeypatch)
    (result,) = ask(f"https://{host}:9", allow_private=False)
    assert isinstance(result, Failure)
    assert result.outcome is Outcome.RETRY_LATER
    assert result.error in {"address", "dns"}
    assert connected == []


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["10.0.0.1", "::1"], ["::ffff:127.0.0.1"], ["169.254.169.254"]]
)
def test_a_public_name_that_leads_inside_is_refused(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    resolve_all(monkeypatch, *addresses, port=443)
    assert ask("https://api.example.com", allow_private=False) == ADDRESS
    assert meter.reading()["api_requests"] == 1


def test_a_name_is_connected_at_the_addresses_that_were_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ScriptedServer() as server:
        server.on("/", answer(200, b"x"))
        resolve_all(monkeypatch, "169.254.169.254", "127.0.0.1", port=server.port)
        url = server.url.replace("127.0.0.1", "api.example.com")
        assert ask(url) == [Response(200, b"x")]
        assert server.received[0].headers["host"] == f"api.example.com:{server.port}"


# --- the base URL -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "allow_private"),
    [
        ("http://api.example.com", False),
        ("ftp://api.example.com", True),
        ("api.example.com", True),
        ("https://", True),
        ("https://user:password@api.example.com", True),
        ("https://api.example.com?key=1", True),
        ("https://api.example.com/#part", True),
        ("https://api.example.com:99999", True),
        ("https://api.example.com/a b", True),
        ("https://api.example.com/\r\nX: y", True),
        ("https://[::1", True),
        ("", True),
    ],
)
def test_a_base_url_that_makes_no_sense_is_a_mistake_of_the_operator(
    url: str, allow_private: bool
) -> None:
    with pytest.raises(ConfigurationError, match="ApiBaseUrl"):
        ask(url, allow_private=allow_private)
