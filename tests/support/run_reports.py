"""The report of a run that was never made, of any size and shape, for the tests of its page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from batch_core.meter import bucket_of
from batchctl.run.account import account
from batchctl.run.collect import Collector
from batchctl.run.costs import Deployment
from batchctl.run.prices import Prices
from batchctl.run.report import RunReport
from batchctl.run.runner import Ended
from batchctl.run.verdict import Execution, Verdict
from tests.support.run_lines import RUN, FakeLogs, invocation, listed, received

BEGAN_MS = 1_795_492_543_809  # RUN's own moment
PARAMETERS = {
    "TenantId": "demo",
    "ScheduleMinutes": "10",
    "ChunkSize": "5000",
    "UsersPerInvocation": "100",
    "ChunkConcurrency": "3",
    "GroupConcurrency": "4",
    "MaxRejectedPercent": "5",
    "MaxRetryLaterPercent": "20",
    "StreamShards": "1",
    "WorkflowLogLevel": "ERROR",
    "CallApiMemory": "512",
}
OUTCOMES = ("stored", "unchanged", "rejected", "retry_later", "skipped", "gone")


def a_report(
    collector: Collector,
    verdict: Verdict,
    *,
    wall_s: float = 4.213,
    missing: int = 0,
    logs_error: str = "",
    **changes: Any,
) -> RunReport:
    """What `batchctl run` would report of what was collected."""
    given: dict[str, Any] = {
        "where": "local cloud · demo",
        "local": True,
        "started_at": "2026-11-24T03:55:43.809+00:00",
        "asked": {"users": verdict.listed},
        "stack_parameters": PARAMETERS,
        "deployment": Deployment(
            "x86_64", 10, 1, rds_proxy=True, logs_executions=False, emulated=True
        ),
        "prices": Prices.of_region("ap-northeast-1"),
        "path": f".local/reports/{RUN}.json",
    }
    execution = Execution("arn:aws:states:::execution:demo", verdict.status, wall_s)
    return account(Ended(execution, verdict, missing, logs_error), collector, **(given | changes))


def a_run(
    *,
    chunks: int = 3,
    groups: int = 8,
    group_size: int = 100,
    at_once: int = 4,
    api_ms: Callable[[int, int], int] = lambda chunk, group: 180 + 40 * chunk + 7 * group,
    outcomes: dict[str, int] | None = None,
    **changes: Any,
) -> RunReport:
    """A run whose groups followed one another in `at_once` lanes of each chunk."""
    users = chunks * groups * group_size
    logs = FakeLogs()
    at = BEGAN_MS + 1_200

    def write(state: str, text: str, at_ms: int) -> None:
        logs.write(state, text, at_ms)

    write("List Users", listed(users), at - 5)
    write("List Users", invocation("List Users", init_ms=800.0, duration_ms=400.0), at)
    last = at
    for chunk in range(chunks):
        lanes = [at + 30] * at_once
        for group in range(groups):
            lane = group % at_once
            took = api_ms(chunk, group)
            cold: dict[str, Any] = {} if group >= at_once else {"init_ms": 700.0}
            called = lanes[lane] + (700 if cold else 0) + took
            processed = called + 60
            write(
                "Call API",
                invocation(
                    "Call API",
                    group,
                    chunk,
                    duration_ms=float(took),
                    env_id=f"call-{chunk}-{lane}",
                    api_requests=group_size,
                    api_latency={str(bucket_of(took / 2)): group_size},
                    memory_used_mb=140,
                    **cold,
                ),
                called,
            )
            write(
                "Process Users",
                invocation(
                    "Process Users", group, chunk, duration_ms=40.0, records=1, rows=group_size
                ),
                processed,
            )
            write("Write Rows", received(group_size, (chunk, group)), processed + 90)
            write(
                "Write Rows",
                invocation(
                    "Write Rows", records=1, duration_ms=30.0, db_connections=1, db_statements=3
                ),
                processed + 120,
            )
            lanes[lane] = processed + 10
            last = max(last, processed + 120)
    write("Finish Run", invocation("Finish Run", duration_ms=150.0, db_statements=4), last + 200)
    collector = Collector(logs, RUN, since_ms=0, group_size=group_size)
    found = dict.fromkeys(OUTCOMES, 0) | (outcomes or {"stored": users})
    verdict = Verdict("SUCCEEDED", users, found, 0, judged=True)
    logs.lines.update(changes.pop("more_lines", {}))
    collector.sweep()
    wall_s = (last + 200 - BEGAN_MS) / 1000
    return a_report(collector, changes.pop("verdict", verdict), wall_s=wall_s, **changes)
