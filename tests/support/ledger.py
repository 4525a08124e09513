"""What the ledger has of a whole run, whatever its groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from batch_core.outcomes import Tally
from batch_core.ports import RunLedger


@dataclass(frozen=True, slots=True)
class Total:
    """The lines of all attempts at all groups, added up."""

    rows: int
    tally: Tally

    @classmethod
    def of(cls, ledger: RunLedger, run_id: str, *, fence: int = 0) -> Self:
        """Add up what was written under a lease."""
        lines = ledger.written(run_id, fence)
        return cls(sum(line.rows for line in lines), sum((line.tally for line in lines), Tally()))
