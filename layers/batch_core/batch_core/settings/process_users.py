"""What Process Users reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass

from batch_core.settings import Settings


@dataclass(frozen=True, slots=True)
class ProcessUsersSettings(Settings):
    """For `process_users`."""

    payload_bucket: str
    stream_name: str
