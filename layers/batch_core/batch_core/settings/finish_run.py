"""What Finish Run reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass

from batch_core.settings import DatabaseSettings


@dataclass(frozen=True, slots=True)
class FinishRunSettings(DatabaseSettings):
    """For `finish_run`; shares in percent of the users listed."""

    payload_bucket: str
    max_rejected_percent: float
    max_retry_later_percent: float
    ledger_retention_days: int
