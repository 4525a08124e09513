"""Call API: the function behind the state of the same name."""

from __future__ import annotations

from functools import cache
from typing import Any

from batch_core.adapters.api_secret import ApiSecret
from batch_core.adapters.http import CurlApiClient
from batch_core.adapters.s3 import S3PayloadStore
from batch_core.breaker import Breakers
from batch_core.call_api import ChunkReader, call_api
from batch_core.observability import observed
from batch_core.settings.call_api import CallApiSettings
from job import JOB


@cache
def parts() -> dict[str, Any]:
    """Make what the environment keeps from one invocation to the next."""
    settings = CallApiSettings.from_env()
    store = S3PayloadStore(settings.payload_bucket)
    secret = ApiSecret(settings.api_secret_arn)
    api = CurlApiClient(
        settings.api_base_url,
        concurrency=settings.api_concurrency,
        timeout_seconds=settings.api_timeout_seconds,
        allow_private=settings.api_allow_private_addresses,
        secret=secret,
        renew=secret.renew,
    )
    return {
        "tenant": settings.tenant_id,
        "store": store,
        "reader": ChunkReader(store),
        "api": api,
        "breakers": Breakers(),
    }


@observed("Call API")
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Call the API for the users of one group."""
    seconds = context.get_remaining_time_in_millis() / 1000
    return call_api(event, job=JOB, seconds=seconds, **parts())
