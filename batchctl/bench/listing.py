"""Lists a tenant's users as List Users does, but to nowhere, and prints the memory it took.

``python -m batchctl.bench.listing`` in the environment of the function. A process of its own, since
the peak of a process is that of all it ever did. `VmHWM` and not `ru_maxrss`, in which a child
starts from its parent's.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from batch_core.adapters.mysql import connect
from batch_core.adapters.mysql_ledger import MySqlRunLedger
from batch_core.adapters.mysql_users import MySqlUserSource
from batch_core.list_users import UserLister
from batch_core.outcomes import Tally
from batch_core.ports import Ending
from batch_core.run import Run
from batch_core.settings.list_users import ListUsersSettings
from job import JOB

_QUERY_SECONDS: Final = 60


class Nowhere:
    """A payload store that counts what it is given and drops it."""

    def __init__(self) -> None:
        self.bytes = 0

    def put(self, key: str, body: bytes, *, metadata: Mapping[str, str]) -> str:
        """Drop an object."""
        del key, metadata
        self.bytes += len(body)
        return '"00000000000000000000000000000000"'

    def put_new(self, key: str, body: bytes, *, metadata: Mapping[str, str]) -> bool:
        """Drop an object."""
        return bool(self.put(key, body, metadata=metadata))

    def get(
        self, key: str, *, etag: str | None = None, span: tuple[int, int] | None = None
    ) -> bytes:
        """Raise LookupError: nothing was kept."""
        del etag, span
        raise LookupError(key)


def peak_bytes() -> int:
    """The most memory that this process ever had, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    kilobytes = next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]
    return int(kilobytes) * 1024


def main() -> None:
    """List once and print one line of JSON."""
    settings = ListUsersSettings.from_env()
    database = connect(settings, read_seconds=_QUERY_SECONDS)
    ledger, store = MySqlRunLedger(database), Nowhere()
    lister = UserLister(
        settings=settings,
        query=JOB.users,
        code="bench",
        users=MySqlUserSource(database),
        ledger=ledger,
        store=store,
    )
    before = peak_bytes()
    started = time.perf_counter()
    answer = lister({"started_at": datetime.now(UTC).isoformat(), "execution": "bench"})
    wall_s = time.perf_counter() - started
    ending = Ending(status="failed", tally=Tally(), reason="the bench only listed")
    ledger.close(Run.from_json(answer["run"]), ending)
    line = {
        "users": answer["listed"],
        "wall_s": round(wall_s, 3),
        "chunk_bytes": store.bytes,
        "before_bytes": before,
        "peak_bytes": peak_bytes(),
    }
    sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
