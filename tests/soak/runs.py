"""Starts runs of the batch, as many at once as it comes, and keeps how they ended."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, Final

from batchctl.aws import StackAccess
from batchctl.errors import BatchctlError
from batchctl.run.earlier import make_way
from batchctl.run.verdict import Verdict, verdict_of
from tests.soak.tenant import Tenant

# Executions that wait for a database that is away; more would only wait, too.
_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class Ended:
    """An execution that has ended, and what it says of itself."""

    verdict: Verdict
    wall_s: float

    @property
    def line(self) -> str:
        """How it ended, in words."""
        verdict = self.verdict
        counts = [f"{count} {name}" for name, count in verdict.outcomes.items() if count]
        words = ", ".join([verdict.status, *counts])
        because = f": {verdict.reason}" if verdict.reason else ""
        return f"{words} in {self.wall_s:.1f} s{because}"


class Runs:
    """Runs of one tenant, each for a slot of its own, a period after the one before.

    The slots begin a week ago and move faster than the clock, so that a soak of ten minutes sees
    users back off, and come back, for hours; a slot of the future would be refused.
    """

    def __init__(self, tenant: Tenant) -> None:
        self.verdicts: list[Verdict] = []
        self._tenant = tenant
        self._creation = Lock()
        self._access = StackAccess(self._client, tenant.stack, local=True)
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="run")
        self._under_way: list[Future[Ended]] = []
        self._period = timedelta(minutes=int(tenant.stack.parameters["ScheduleMinutes"]))
        self._slot = datetime.now(UTC).replace(microsecond=0) - timedelta(days=7)

    def start(self, *, deliveries: int = 1) -> bool:
        """Start the next slot's run, and tell whether there was room for it."""
        if len(self._under_way) + deliveries > _AT_ONCE:
            return False
        given = self._next()
        for _ in range(deliveries):
            self._under_way.append(self._pool.submit(self._execute, given))
        return True

    def make_way(self) -> None:
        """Take the lease from a run whose execution broke down, as `batchctl run` does.

        On AWS it expires within a period.
        """
        if self._under_way:
            return
        with self._tenant.connect() as connection:
            make_way(connection, self._client("stepfunctions"), lambda _: None)

    def run_for_everyone(self) -> Ended:
        """Run once, users that are backing off included, and wait for the end."""
        ended = self._execute(self._next() | {"everyone": True})
        self.verdicts.append(ended.verdict)
        return ended

    def gather(self, *, wait: bool = False) -> list[Ended]:
        """Take in the runs that have ended, with `wait` all of them, and return these."""
        done = [future for future in self._under_way if wait or future.done()]
        self._under_way = [future for future in self._under_way if future not in done]
        ended = [future.result() for future in done]
        self.verdicts += [each.verdict for each in ended]
        return ended

    def close(self) -> None:
        """Wait for what is under way."""
        self._pool.shutdown()

    @property
    def by_status(self) -> Counter[str]:
        """How the runs ended."""
        return Counter(verdict.status for verdict in self.verdicts)

    def _next(self) -> dict[str, Any]:
        self._slot += self._period
        return {"scheduled_time": self._slot.isoformat()}

    def _execute(self, given: dict[str, Any]) -> Ended:
        try:
            execution = self._access.execute(given)
        except BatchctlError as error:
            return Ended(Verdict("UNHEARD", 0, {}, 0, reason=str(error)), 0)
        return Ended(verdict_of(execution, listed=None), execution.wall_s)

    def _client(self, service: str, **config: Any) -> Any:
        # A session makes clients for one thread at a time.
        with self._creation:
            return self._tenant.cloud.client(service, **config)
