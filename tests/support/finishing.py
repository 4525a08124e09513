"""Finish Run on fakes, and what the workflow hands to it."""

from __future__ import annotations

from typing import Any

from batch_core.finish_run import RunFinisher
from batch_core.outcomes import Tally
from batch_core.ports import HeldBack, Listing
from batch_core.records import Place
from batch_core.settings.finish_run import FinishRunSettings
from tests.support.fakes import FakeDatabase, FakePayloadStore, FakeRun, FakeRunLedger

RUN = "demo-20260131T100000Z"
STARTED_AT = 1_769_853_602.0


def configured(rejected: float = 5, retry_later: float = 20) -> FinishRunSettings:
    return FinishRunSettings(
        tenant_id="demo",
        aws_region="",
        database_endpoint="",
        database_port=0,
        database_name="",
        database_user="",
        database_secret_arn="",
        database_ca_file="",
        payload_bucket="",
        max_rejected_percent=rejected,
        max_retry_later_percent=retry_later,
        ledger_retention_days=30,
    )


class Stage:
    """A finisher on fakes, with a clock that only sleeping moves."""

    def __init__(self, **settings: float) -> None:
        self.database = FakeDatabase(holder=RUN, fence=1, expires_at=300.0)
        self.database.runs[RUN] = FakeRun("execution-1", "c0de", 0.0, fence=1)
        self.database.runs[RUN].listing = Listing(50, [3, 2], HeldBack(), next_user=900)
        self.store = FakePayloadStore()
        self.now = 0.0
        self.naps: list[float] = []
        self.arrivals: list[tuple[float, Place, Tally]] = []
        self.finish = RunFinisher(
            configured(**settings),
            FakeRunLedger(self.database),
            lambda: self.store,
            clock=lambda: self.now,
            sleep=self._sleep,
        )

    def arrive(
        self,
        chunk: int,
        group: int,
        *,
        at: float = 0.0,
        fence: int = 1,
        attempt: int = 0,
        part: int = 0,
        **counts: int,
    ) -> None:
        """Let a record with these outcomes be written at a time."""
        self.arrivals.append((at, (RUN, fence, chunk, group, attempt, part), Tally(**counts)))
        self._write_what_has_arrived()

    def _sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds
        self._write_what_has_arrived()

    def _write_what_has_arrived(self) -> None:
        for at, place, tally in self.arrivals:
            if at <= self.now:
                self.database.records[place] = tally

    def __call__(self, listed: int, *, remaining: float = 60, **event: Any) -> dict[str, Any]:
        return self.finish(self.event(listed, **event), remaining_seconds=remaining)

    @staticmethod
    def event(listed: int, **event: Any) -> dict[str, Any]:
        """What the workflow hands to Finish Run."""
        tally = Tally(**event.pop("tally", {}))
        run = {
            "id": RUN,
            "version": 1,
            "fence": 1,
            "group_size": 10,
            "requests_per_second": 0,
            "ends_at": STARTED_AT + 225,
        }
        state = {
            "run": run,
            "listed": listed,
            "tally": tally.to_json(),
            "held_back": {},
            "called": 0,
            "api_ms": 0,
            "stopped": 0,
            "late": [],
            "awaited": [],
            "failed_groups": 0,
            "failures": [],
        }
        return state | event
