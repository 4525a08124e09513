"""What Call API reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass

from batch_core.settings import Settings


@dataclass(frozen=True, slots=True)
class CallApiSettings(Settings):
    """For `call_api`; timeouts in seconds. An empty `api_secret_arn` means no API secret."""

    payload_bucket: str
    api_base_url: str
    api_secret_arn: str
    api_concurrency: int
    api_timeout_seconds: float
    api_allow_private_addresses: bool
