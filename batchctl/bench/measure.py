"""The parts of the bench, each run to its end: rounds, growth, writing, sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import product
from math import ceil
from typing import Final

from batchctl.bench.arena import Arena, ProjectRun
from batchctl.bench.costs import all_in_at, cron_server, usd_by_use
from batchctl.bench.frontier import Choice, Setting
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
from batchctl.run.lambda_model import VCPU_MB, Time
from batchctl.run.lines import CALL_API, PROCESS_USERS
from batchctl.run.report import RunReport

type Say = Callable[[str], None]

# One Lambda per user takes so much longer for each that it gets fewer of them: three full chunks
# of `limits.GROUPS_PER_CHUNK`, so that as many invocations run at once as in the other rows.
PER_USER_USERS: Final = 1_200
CRON_CONCURRENCIES: Final = (200, 500, 1_000)
GROWTH_USERS: Final = (1_000, 3_000, 10_000, 30_000, 100_000)

# Invocations at once: a few more at every step, since so many new environments start one after the
# other here, and an invocation that waits for its own for too long is timed out. Each environment
# is a process of 42 MB, and there are twice as many of them.
CROWD_INVOCATIONS: Final = (20, 40, 60, 80, 100, 120)
_CROWD_CHUNKS: Final = 5
# Each makes one call that takes so long that all of them have begun before the first is over.
_CROWD_LATENCY_MS: Final = 24_000

SWEEP_USERS: Final = 12_000
SWEEP_GROUPS: Final = (50, 100, 200, 400)
SWEEP_CONCURRENCIES: Final = (25, 50)
SWEEP_CHUNKS: Final = (1_000, 2_000, 10_000)
SWEEP_MEMORIES: Final = (256, 512, 1_024, VCPU_MB)


def variants(arena: Arena, users: int, rounds: int, say: Say) -> list[Row]:
    """Run the four variants in turn, so that what the machine does besides meets all of them."""
    few = min(users, PER_USER_USERS)
    firsts = {
        "grouped": _first(say, "first run, grouped", partial(_grouped, arena, users)),
        "per_user": _first(say, "first run, one per user", partial(_per_user, arena, few, users)),
    }
    concurrency = _tuned(arena, users, say)
    names = {
        "grouped": (
            "a  grouped",
            f"{arena.target.stack.parameters['UsersPerInvocation']} users per invocation",
        ),
        "per_user": (
            "b  one per user",
            f"one Lambda per user, ran {few:,} users, compared per user",
        ),
        "cron": (
            "c  asyncio script",
            f"{concurrency:,} calls in flight, the fastest of what was tried here",
        ),
        "naive": ("d  naive script", "up to 50 threads, a row per INSERT"),
    }
    runs: dict[str, Callable[[], Sample]] = {
        "grouped": partial(_grouped, arena, users),
        "cron": partial(_script, arena, "cron", users, "--concurrency", str(concurrency)),
        "naive": partial(_script, arena, "naive", users),
        "per_user": partial(_per_user, arena, few, users),
    }
    found: dict[str, list[Sample]] = {key: [] for key in runs}
    for n in range(1, rounds + 1):
        for key, run in runs.items():
            found[key].append(_told(say, f"round {n} of {rounds}, {names[key][0]}", run))
    return [
        Row(key, title, note, found[key], firsts.get(key)) for key, (title, note) in names.items()
    ]


def growth(arena: Arena, sizes: Sequence[int], say: Say) -> Growth:
    """Run the project for more and more users, its environments warm, and list them alone."""
    points = []
    for users in sizes:
        sample = _told(say, f"growth, {users:,} users", partial(_grouped, arena, users))
        listed = arena.listing(users)
        points.append(
            GrowthPoint(
                users=users,
                wall_s=sample.wall_s,
                max_state_bytes=sample.max_state_bytes or 0,
                connections=sample.connections,
                in_flight=sample.in_flight,
                statements=sample.statements,
                put_units=sample.put_units or 0,
                listing_peak_bytes=listed["peak_bytes"],
            )
        )
    return Growth(points)


def crowd(arena: Arena, say: Say) -> Crowd:
    """Let many invocations wait for a slow API at once, and count the database's connections."""
    lanes = max(CROWD_INVOCATIONS) // _CROWD_CHUNKS
    with _deployed_as_before(arena):
        arena.deploy(
            {
                "ChunkSize": str(lanes),
                "ChunkConcurrency": str(_CROWD_CHUNKS),
                "GroupConcurrency": str(lanes),
                "ApiConcurrency": "1",
                "ApiTimeoutSeconds": "25",
            }
        )
        for invocations in CROWD_INVOCATIONS:
            say(f"a crowd of {invocations} invocations")
            run = arena.project(invocations, group_size=1, latency_ms=_CROWD_LATENCY_MS)
    return Crowd(
        # Each has one call in flight.
        invocations=run.sample.in_flight,
        environments=len({line.env_id for line in run.report.invocations}),
        connections=run.sample.connections,
    )


def writing(arena: Arena, users: int, say: Say) -> Writing:
    """Measure the row store alone."""
    say("the row store alone, against statements of 500 rows")
    return Writing(**arena.writing(users))


def sweep(arena: Arena, users: int, say: Say) -> Sweep:
    """Try group sizes, calls in flight and chunk sizes; model the memory."""
    users = min(users, SWEEP_USERS)
    chunk_size = int(arena.target.stack.parameters["ChunkSize"])
    settings = list(product(SWEEP_CONCURRENCIES, [chunk_size], SWEEP_GROUPS))
    settings += [
        (SWEEP_CONCURRENCIES[-1], other, 200) for other in SWEEP_CHUNKS if other != chunk_size
    ]
    observations = []
    with _deployed_as_before(arena):
        for n, (concurrency, chunk, group) in enumerate(settings, start=1):
            arena.deploy({"ApiConcurrency": str(concurrency), "ChunkSize": str(chunk)})
            name = f"{group:,} users per invocation, {concurrency} in flight, chunks of {chunk:,}"
            run = _warm(arena, users, group, f"sweep {n} of {len(settings)}, {name}", say)
            observations.append(observed(run, arena, concurrency, chunk, group))
    choices: list[Choice] = [
        observation.at(memory, usd_gb_s=_usd_gb_s(run.report))
        for observation, memory in product(observations, SWEEP_MEMORIES)
    ]
    return Sweep(observations, choices)


def observed(
    run: ProjectRun, arena: Arena, concurrency: int, chunk_size: int, group_size: int
) -> Observation:
    """Take from a run of the sweep what the model needs."""
    report, users = run.report, run.sample.users
    given = arena.target.stack.parameters
    chunks = ceil(users / chunk_size)
    groups_at_once = min(chunks, int(given["ChunkConcurrency"])) * int(given["GroupConcurrency"])
    usd = usd_by_use([line for line in report.costs.lines if line.service != "Lambda"])
    usd += report.figures.lambda_invocations * report.prices.lambda_request
    invocations = {}
    for function in report.figures.by_function:
        count, total = function.invocations, function.duration
        average = Time(total.wall / count, total.cpu / count, total.queued / count)
        found = Invocations(count, average)
        if function.name in (CALL_API, PROCESS_USERS):
            invocations[function.name] = found
        else:
            usd += found.gb_s_at(function.memory_mb) * _usd_gb_s(report)
    return Observation(
        setting=Setting(group_size, concurrency, chunk_size, VCPU_MB),
        users=users,
        wall_s=report.wall_s,
        waves=ceil(ceil(users / group_size) / groups_at_once),
        invocations=invocations,
        usd_other=usd / users * 1_000_000,
    )


def _usd_gb_s(report: RunReport) -> float:
    return report.prices.lambda_gb_s[report.deployment.architecture]


def _warm(arena: Arena, users: int, group_size: int, name: str, say: Say) -> ProjectRun:
    """Run until no environment is new, three times at most."""
    say(name)
    for _ in range(3):
        run = arena.project(users, group_size=group_size)
        if not run.sample.cold_starts:
            break
    say(f"  {run.sample.wall_s:.2f} s")
    return run


@contextmanager
def _deployed_as_before(arena: Arena) -> Iterator[None]:
    try:
        yield
    finally:
        arena.deploy({})


def _grouped(arena: Arena, users: int) -> Sample:
    return arena.project(users).sample


def _per_user(arena: Arena, few: int, users: int) -> Sample:
    run = arena.project(few, group_size=1)
    return replace(run.sample, usd_all_in=all_in_at(run.report.costs, users))


def _script(arena: Arena, name: str, users: int, *options: str) -> Sample:
    sample = arena.script(name, users, *options)
    minutes = int(arena.target.stack.parameters["ScheduleMinutes"])
    return replace(sample, usd_all_in=cron_server(users, schedule_minutes=minutes))


def _tuned(arena: Arena, users: int, say: Say) -> int:
    """Find out with how many calls in flight the script is fastest here."""
    tried = {}
    for concurrency in [c for c in CRON_CONCURRENCIES if c <= users] or CRON_CONCURRENCIES[:1]:
        sample = _told(
            say,
            f"tuning the asyncio script, {concurrency:,} in flight",
            partial(arena.script, "cron", users, "--concurrency", str(concurrency)),
        )
        tried[concurrency] = sample.wall_s
    return min(tried, key=lambda concurrency: tried[concurrency])


def _first(say: Say, name: str, run: Callable[[], Sample]) -> Sample:
    """Run until no environment is new, three times at most; what counts is the first."""
    first = sample = _told(say, name, run)
    for _ in range(2):
        if not sample.cold_starts:
            break
        sample = _told(say, f"{name}, again until all is warm", run)
    return first


def _told(say: Say, name: str, run: Callable[[], Sample]) -> Sample:
    say(name)
    sample = run()
    say(f"  {sample.users:,} users in {sample.wall_s:.2f} s")
    return sample
