"""A soak: the batch runs on while everything around it fails, and has to come out right."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from batch_core.adapters.kinesis import KinesisRecordStream
from batchctl.local.cloud import LocalCloud
from batchctl.replay.bucket import S3Bucket
from batchctl.replay.put_back import put_back, survey
from batchctl.run.verdict import Verdict
from tests.soak import watch
from tests.soak.injector import Injector
from tests.soak.plan import Kind, Plan, Population
from tests.soak.runs import Runs
from tests.soak.tenant import SHORT_NOTE, TENANT, Tenant
from tests.support.activity_table import versions

_TICK_S: Final = 0.25
_LOOK_EVERY_S: Final = 2.0
# Runs until everybody is served: what was put on the stream during an outage comes first.
_DRAIN_RUNS: Final = 20
_REPLAYS: Final = 3


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a soak is."""

    elapsed: float
    runs: Mapping[str, int]
    users: int
    faults: int
    findings: int


class Show(Protocol):
    """Lets a person see what happens."""

    def happened(self, at: float, line: str) -> None:
        """Show a line of the plan, or of what follows it."""
        ...

    def progress(self, progress: Progress) -> None:
        """Show how far it is."""
        ...


@dataclass(frozen=True, slots=True)
class Result:
    """What a soak came to."""

    plan: Plan
    seconds: float
    runs: Mapping[str, int]
    outcomes: Mapping[str, int]
    not_started: int
    happened: Mapping[Kind, int]
    drain_runs: int
    replayed: int
    rows: watch.Rows
    looks: int
    log_lines: int
    findings: tuple[str, ...]

    @property
    def users_accounted(self) -> int:
        """Outcomes of users, over all runs that could judge themselves."""
        return sum(self.outcomes.values())

    @property
    def faults(self) -> dict[Kind, int]:
        """The faults that were injected."""
        return {kind: times for kind, times in self.happened.items() if kind.is_fault}

    def document(self) -> dict[str, Any]:
        """The result for a program."""
        return {
            "seed": self.plan.seed,
            "minutes": self.plan.seconds / 60,
            "users": self.plan.users,
            "wall_s": round(self.seconds, 1),
            "runs": dict(self.runs),
            "runs_not_started": self.not_started,
            "users_accounted": self.users_accounted,
            "outcomes": dict(self.outcomes),
            "faults": {kind.value: times for kind, times in self.faults.items()},
            "drain_runs": self.drain_runs,
            "rows_replayed": self.replayed,
            "rows_compared": self.rows.compared,
            "rows_lost": len(self.rows.lost),
            "rows_stale": len(self.rows.stale),
            "looks_at_versions": self.looks,
            "log_lines": self.log_lines,
            "findings": list(self.findings),
        }


def soak(
    cloud: LocalCloud,
    plan: Plan,
    show: Show,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """Carry out a plan on a local cloud, let everything settle, and compare."""
    tenant = Tenant.deployed(cloud, plan.users)
    tenant.shorten_notes(SHORT_NOTE)
    return _Soak(tenant, plan, show, clock, sleep).result()


class _Soak:
    def __init__(
        self,
        tenant: Tenant,
        plan: Plan,
        show: Show,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._tenant = tenant
        self._plan = plan
        self._show = show
        self._clock = clock
        self._sleep = sleep
        self._injector = Injector(tenant)
        self._runs = Runs(tenant)
        self._versions = watch.VersionWatch()
        self._population = Population.of(plan.users)
        self._happened: Counter[Kind] = Counter()
        self._not_started = 0
        self._replayed = 0
        self._findings: list[str] = []
        self._looked_at = float("-inf")
        self._began = clock()

    def result(self) -> Result:
        try:
            self._say(f"first run: {self._runs.run_for_everyone().line}")
            self._began = self._clock()
            self._carry_out()
            soaked = len(self._runs.verdicts)
            self._drain()
        finally:
            self._injector.stop()
            self._runs.close()
        return self._judged(drain_runs=len(self._runs.verdicts) - soaked)

    @property
    def _elapsed(self) -> float:
        return self._clock() - self._began

    # --- while it rains --------------------------------------------------------------------------

    def _carry_out(self) -> None:
        for event in self._plan.events:
            self._wait_until(event.at)
            self._show.happened(self._elapsed, event.line)
            if event.kind in {Kind.STARTED, Kind.STARTED_TWICE}:
                self._start(deliveries=1 if event.kind is Kind.STARTED else 2)
            else:
                self._injector.carry_out(event)
            self._population.change(event)
            self._happened[event.kind] += 1
        self._wait_until(self._plan.seconds)

    def _wait_until(self, moment: float) -> None:
        while (left := moment - self._elapsed) > 0:
            self._tick()
            self._sleep(min(_TICK_S, left))

    def _tick(self) -> None:
        self._gather()
        away = self._injector.database_is_away
        if not away and self._elapsed - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = self._elapsed
            self._look()
        self._show.progress(
            Progress(
                elapsed=self._elapsed,
                runs=self._runs.by_status,
                users=sum(_outcomes(self._runs.verdicts).values()),
                faults=sum(times for kind, times in self._happened.items() if kind.is_fault),
                findings=len(self._findings) + len(self._versions.findings),
            )
        )

    def _look(self) -> None:
        self._versions.look(versions(self._tenant.cloud, TENANT), self._population)

    def _gather(self, *, wait: bool = False) -> None:
        for ended in self._runs.gather(wait=wait):
            self._say(f"run ended: {ended.line}")

    def _start(self, *, deliveries: int) -> None:
        self._gather()
        if not self._injector.database_is_away:
            self._runs.make_way()
        self._not_started += not self._runs.start(deliveries=deliveries)

    # --- and after it ----------------------------------------------------------------------------

    def _drain(self) -> None:
        self._say("no more faults; waiting for the runs under way")
        self._injector.stop()
        self._gather(wait=True)
        self._tenant.shorten_notes()
        self._settle()
        for _ in range(_REPLAYS):
            if not self._replay():
                break
            self._settle()
        else:
            self._findings.append(f"rows are put aside again after {_REPLAYS} replays")

    def _settle(self) -> None:
        """Run until everybody was served twice in a row."""
        served = 0
        for _ in range(_DRAIN_RUNS):
            self._runs.make_way()
            # Its row is the last on the stream: a run that sees it stored has seen all of them.
            self._injector.touch(min(self._population.active))
            ended = self._runs.run_for_everyone()
            self._say(f"drain: {ended.line}")
            self._tick()
            verdict = ended.verdict
            done = verdict.outcomes.get("stored", 0) + verdict.outcomes.get("unchanged", 0)
            served = served + 1 if verdict.good and done == verdict.listed else 0
            if served == 2:
                return
        self._findings.append(f"not everybody was served within {_DRAIN_RUNS} runs")

    def _replay(self) -> int:
        """Put back what was put aside, as `batchctl replay` does, and tell how many rows."""
        cloud, stack = self._tenant.cloud, self._tenant.stack
        bucket = S3Bucket(stack.payload_bucket, cloud.client("s3"))
        stream = KinesisRecordStream(stack.stream_name, client=cloud.client("kinesis"))
        seen = survey(bucket)
        self._findings += [f"{key} cannot be read: {why}" for key, why in seen.unreadable.items()]
        rows = sum(each.rows for each in seen.found if put_back(bucket, stream, each.key))
        self._replayed += rows
        self._say(f"replay: {rows} rows put back")
        return rows

    def _judged(self, *, drain_runs: int) -> Result:
        self._say("comparing every row with the API")
        verdicts = self._runs.verdicts
        rows = watch.rows(self._tenant, self._population)
        logs = watch.logs(self._tenant)
        self._look()
        return Result(
            plan=self._plan,
            seconds=self._elapsed,
            runs=self._runs.by_status,
            outcomes=_outcomes(verdicts),
            not_started=self._not_started,
            happened=dict(self._happened),
            drain_runs=drain_runs,
            replayed=self._replayed,
            rows=rows,
            looks=self._versions.looks,
            log_lines=logs.lines,
            findings=(
                *self._findings,
                *self._versions.findings,
                *rows.findings,
                *watch.told(verdicts),
                *watch.ledger(self._tenant),
                *watch.recovery(self._tenant),
                *logs.findings,
            ),
        )

    def _say(self, line: str) -> None:
        self._show.happened(self._elapsed, line)


def _outcomes(verdicts: list[Verdict]) -> Counter[str]:
    """What became of users, over all runs."""
    outcomes: Counter[str] = Counter()
    for verdict in verdicts:
        outcomes.update(verdict.outcomes)
    return outcomes
