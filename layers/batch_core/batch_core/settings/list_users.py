"""What List Users reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass

from batch_core.settings import DatabaseSettings


@dataclass(frozen=True, slots=True)
class ListUsersSettings(DatabaseSettings):
    """For `list_users`; `quarantine_after` counts failures of a user in a row."""

    payload_bucket: str
    schedule_minutes: int
    chunk_size: int
    users_per_invocation: int
    chunk_concurrency: int
    group_concurrency: int
    api_requests_per_second: float
    quarantine_after: int
    quarantine_hours: int
