"""The suite where somebody is signed in to AWS, as every container of CodeBuild is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.support.checkout import ROOT

# What looks for credentials, for a region or for a profile, and what starts programs that might.
PARTS = (
    "tests/unit/batchctl_run/test_command.py",
    "tests/unit/batchctl_deploy/test_package.py",
)


class Endpoint(ThreadingHTTPServer):
    """Where a container gets its credentials; gives some to everybody, and remembers who asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Credentials)
        self.asked: list[str] = []


class Credentials(BaseHTTPRequestHandler):
    """Answers one question."""

    def do_GET(self) -> None:
        assert isinstance(self.server, Endpoint)
        self.server.asked.append(self.path)
        given = {"AccessKeyId": "ASIA", "SecretAccessKey": "secret", "Token": "token"}
        body = json.dumps({**given, "Expiration": "2099-01-01T00:00:00Z"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def in_codebuild(endpoint: Endpoint, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program with what CodeBuild puts into the environment of every command."""
    given = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{endpoint.server_port}/creds",
        "AWS_DEFAULT_REGION": "eu-west-3",
        "AWS_REGION": "eu-west-3",
        "AWS_EXECUTION_ENV": "AWS_ECS_EC2",
        "CI": "true",
        "CODEBUILD_BUILD_ID": "batch-pipeline:1",
    }
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, **given},
        check=False,
        capture_output=True,
        text=True,
    )


def test_the_endpoint_would_give_credentials_to_whoever_asks(endpoint: Endpoint) -> None:
    look = "import boto3; print(boto3.Session().get_credentials().access_key)"

    assert in_codebuild(endpoint, "-c", look).stdout == "ASIA\n"
    assert endpoint.asked == ["/creds"]


def test_the_suite_passes_there_and_nobody_asks_for_credentials(
    endpoint: Endpoint,
) -> None:
    run = in_codebuild(endpoint, "-m", "pytest", "-q", "-p", "no:cacheprovider", *PARTS)

    assert run.returncode == 0, run.stdout
    assert endpoint.asked == []
