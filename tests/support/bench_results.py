"""Results of a bench, made up."""

from __future__ import annotations

from collections.abc import Sequence

from batchctl.bench.document import Bench
from batchctl.bench.frontier import Setting
from batchctl.bench.results import (
    Crowd,
    Growth,
    GrowthPoint,
    Invocations,
    Observation,
    Sweep,
    Writing,
)
from batchctl.bench.samples import Row, Sample
from batchctl.run.lambda_model import Time
from batchctl.run.lines import CALL_API, PROCESS_USERS


def sample(wall_s: float, users: int = 30_000, *, of_project: bool = True) -> Sample:
    counts = {"invocations": 20, "s3_requests": 7, "put_units": 6, "usd_core": 0.09}
    return Sample(
        wall_s=wall_s,
        users=users,
        stored=users,
        cpu_s=wall_s / 2,
        functions_cpu_s=wall_s / 3 if of_project else None,
        database_cpu_s=1.0,
        api_cpu_s=2.0,
        statements=30_001,
        connections=3,
        in_flight=600,
        usd_all_in=0.5,
        **(counts if of_project else {}),  # type: ignore[arg-type]
    )


def row(key: str, walls: Sequence[float], users: int = 30_000) -> Row:
    of_project = key in ("grouped", "per_user")
    rounds = [sample(wall, users, of_project=of_project) for wall in walls]
    return Row(key, f"a  {key}", f"a note on {key}", rounds)


def growth(*memories: int) -> Growth:
    sizes = (1_000, 10_000, 100_000)
    return Growth(
        [
            GrowthPoint(users, users / 1_000, 13_000 + n, 3, 600, 70, 10, memory)
            for n, (users, memory) in enumerate(zip(sizes, memories, strict=True))
        ]
    )


def observation(group_size: int, wall_s: float) -> Observation:
    functions = {
        CALL_API: Invocations(100, Time(wall=500, cpu=100)),
        PROCESS_USERS: Invocations(100, Time(wall=50, cpu=50)),
    }
    return Observation(
        setting=Setting(group_size, api_concurrency=50, chunk_size=5_000, memory_mb=1_769),
        users=10_000,
        wall_s=wall_s,
        waves=9,
        invocations=functions,
        usd_other=0.02,
    )


def sweep() -> Sweep:
    observations = [observation(100, 10.0), observation(200, 9.0)]
    choices = [
        o.at(memory, usd_gb_s=0.0000133334) for o in observations for memory in (256, 512, 1_769)
    ]
    return Sweep(observations, choices)


def bench(*, whole: bool = True) -> Bench:
    return Bench(
        at="2026-11-24T05:00:00+00:00",
        machine={"processors": 2},
        asked={"users": 30_000, "latency_ms": 200, "rounds": 3},
        stack_parameters={"UsersPerInvocation": "100"},
        rows=[
            row("grouped", [13.0, 12.5, 14.0]),
            row("per_user", [41.0, 42.0, 40.0], users=1_200),
            row("cron", [12.0, 10.0, 11.0]),
            row("naive", [125.0, 124.0, 126.0]),
        ],
        writing=Writing(10_000, [20_000, 24_000, 22_000], [25_000, 25_000, 25_000]),
        growth=growth(86, 90, 88) if whole else None,
        crowd=Crowd(invocations=120, environments=200, connections=3) if whole else None,
        sweep=sweep() if whole else None,
    )
