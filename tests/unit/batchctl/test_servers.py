"""What every HTTP server of the local cloud does, with a server small enough to see through."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from batchctl.errors import BatchctlError
from batchctl.local import ports, processes
from batchctl.local.processes import ProcessId
from batchctl.local.servers import HttpServer, MiniStack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVE = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Small(HttpServer):
    code = SERVE

    def command(self) -> list[str | Path]:
        return [sys.executable, "-c", self.code, str(self.port)]


class Broken(Small):
    code = "raise SystemExit('this configuration makes no sense')"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    processes.stop(tmp_path)


def small(home: Path, port: int = 0, *, fixed: bool = False) -> Small:
    return Small(home, "small", "The small server", "/health", port, fixed)


def test_a_server_answers_between_start_and_stop(home: Path) -> None:
    server = small(home)
    assert not server.answers()
    server.start()
    assert server.answers()
    server.stop()
    assert not server.answers()
    assert processes.find(home) == []


def test_a_port_that_is_taken_is_replaced_by_a_free_one(home: Path) -> None:
    first = small(home)
    first.start()
    second = Small(home, "second", "The second", "/health", first.port)
    second.start()
    assert second.port != first.port
    assert first.answers()
    assert second.answers()


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(home: Path) -> None:
    first = small(home)
    first.start()
    second = Small(home, "second", "The second", "/health", first.port, port_is_fixed=True)
    with pytest.raises(BatchctlError, match=f"Port {first.port} .* The second, is taken"):
        second.start()


def test_another_program_on_the_remembered_port_is_not_our_server(home: Path) -> None:
    ours = small(home)
    ours.start()
    assert ours.identity is not None
    remembered = small(home, ours.port)
    remembered.identity = ProcessId(ours.identity.pid, ours.identity.started - 1)
    assert not remembered.answers()


def test_a_server_that_ends_at_once_shows_what_it_said(home: Path) -> None:
    with pytest.raises(BatchctlError, match=r"[\s\S]*this configuration makes no sense"):
        Broken(home, "broken", "The broken server", "/health").start()


def test_ministack_gets_nothing_of_the_persons_aws_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid")
    environment = MiniStack(tmp_path, ports.free_port()).environment()
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTPS_PROXY"} & environment.keys()
    assert environment["BIND_HOST"] == "127.0.0.1"
    assert environment["HOME"].startswith(str(tmp_path))


def test_ministack_speaks_tls_where_it_enforces_permissions_and_only_there(tmp_path: Path) -> None:
    open_one = MiniStack(tmp_path)
    strict = MiniStack(tmp_path, enforces_iam=True)

    assert (open_one.ca_file, open_one.url[:7]) == (None, "http://")
    assert not {"AUTH", "USE_SSL", "AWS_CA_BUNDLE"} & open_one.environment().keys()
    assert strict.ca_file is not None
    assert strict.url.startswith("https://")
    given = strict.environment()
    assert (given["AUTH"], given["USE_SSL"]) == ("true", "1")
    assert given["AWS_CA_BUNDLE"] == str(strict.ca_file)
