"""The HTTP client as the contract tests make it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batch_core.adapters.http import CurlApiClient
from batch_core.job import Request
from batch_core.outcomes import Outcome
from batch_core.ports import Answer, ApiClient, CallBreaker, Failure
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
        return call(api, requests, seconds=seconds)


def call(
    api: ApiClient,
    requests: Sequence[Request],
    *,
    seconds: float = 30,
    fair_seconds: float = 60,
    requests_per_second: float = 0,
    breaker: CallBreaker | None = None,
) -> list[Answer]:
    """Make the calls, and give the answers in the order of the requests."""
    answers = dict(
        api.call(
            requests,
            seconds=seconds,
            fair_seconds=fair_seconds,
            requests_per_second=requests_per_second,
            breaker=breaker or FakeBreaker(),
        )
    )
    return [answers[place] for place in range(len(requests))]


def later(error: str) -> Failure:
    return Failure(Outcome.RETRY_LATER, error)


def rejected(error: str) -> Failure:
    return Failure(Outcome.REJECTED, error)
