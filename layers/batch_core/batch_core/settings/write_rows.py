"""What Write Rows reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass

from batch_core.settings import DatabaseSettings


@dataclass(frozen=True, slots=True)
class WriteRowsSettings(DatabaseSettings):
    """For `write_rows`."""

    payload_bucket: str
