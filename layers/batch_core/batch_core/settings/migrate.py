"""What Migrate reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass

from batch_core.settings import DatabaseSettings


@dataclass(frozen=True, slots=True)
class MigrateSettings(DatabaseSettings):
    """For `migrate`."""
