"""The HTTP client as the contract tests make it."""

from __future__ import annotations

from typing import Any

from batch_core.adapters.http import CurlApiClient
from batch_core.job import Request
from batch_core.outcomes import Outcome
from batch_core.ports import Answer, Failure
from tests.support.fakes_api import FakeBreaker
from tests.support.scripted_server import ScriptedServer


def client(url: str, **options: Any) -> CurlApiClient:
    return CurlApiClient(
        url,
        **{
            "concurrency": 4,
            "timeout_seconds": 10.0,
            "allow_private": True,
            "secret": lambda: None,
            **options,
        },
    )


def ask(
    server: ScriptedServer, *requests: Request, seconds: float = 30, **options: Any
) -> list[Answer]:
    with client(server.url, **options) as api:
        return api.call(requests, seconds=seconds, requests_per_second=0, breaker=FakeBreaker())


def later(error: str) -> Failure:
    return Failure(Outcome.RETRY_LATER, error)


def rejected(error: str) -> Failure:
    return Failure(Outcome.REJECTED, error)
