"""What to change before the next run, each with the figure it rests on. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final, Literal

from batch_core.limits import RUN_SECONDS, STATE_BYTES_QUOTA
from batch_core.outcomes import Outcome
from batchctl.run.costs import Costs
from batchctl.run.figures import Figures, billed_gb_s
from batchctl.run.lines import CALL_API, FINISH_RUN, FUNCTIONS, Invocation
from batchctl.run.verdict import Verdict

type Severity = Literal["act", "consider"]

_COLD_SHARE: Final = 0.25
_RETRY_SHARE: Final = 0.05
_IDLE_SHARE: Final = 0.3
_FULL_SHARE: Final = 0.9
_CHEAPER_SHARE: Final = 0.85
_SMALLEST_MEMORY_MB: Final = 128
_WAIT_SHARE: Final = 0.3
_TIME_SHARE: Final = 0.7
_STATE_SHARE: Final = 0.5
_LIMIT_SHARE: Final = 0.5
# What the parameters of memory are called; the others' memory is the template's.
_SIZED: Final = frozenset({"List Users", "Call API", "Process Users", "Write Rows"})


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One thing to change.

    Parameters
    ----------
    rule
        Its name, for programs.
    severity
        ``act`` before the next run, or ``consider``.
    change
        What to do.
    figure
        What was measured that says so.
    """

    rule: str
    severity: Severity
    change: str
    figure: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the rules look at; `parameters` are the stack's."""

    figures: Figures
    invocations: Sequence[Invocation]
    failed_attempts: Mapping[str, int]
    verdict: Verdict
    costs: Costs
    wall_s: float
    local: bool
    parameters: Mapping[str, str]

    def number(self, parameter: str) -> float:
        """A parameter of the stack."""
        return float(self.parameters[parameter])


type Rule = Callable[[Evidence], Recommendation | None]


def recommendations(evidence: Evidence) -> list[Recommendation]:
    """Apply every rule; what must be done comes first."""
    found = [said for rule in RULES if (said := rule(evidence)) is not None]
    return sorted(found, key=lambda said: said.severity != "act")


def _failed(run: Evidence) -> Recommendation | None:
    """Whatever else there is to say, a run that failed is not well."""
    if run.verdict.good:
        return None
    verdict = run.verdict
    return Recommendation(
        "run_failed",
        "act",
        "Mend what the reason names, then run again: until then nothing else here matters much.",
        verdict.reason or f"the run ended as {verdict.status}",
    )


def _cold_starts(run: Evidence) -> Recommendation | None:
    cold = sum(
        billed_gb_s(line) - line.duration.wall / 1000 * line.memory_mb / 1024
        for line in run.invocations
        if line.init
    )
    total = run.figures.lambda_gb_s
    if not total or cold / total <= _COLD_SHARE:
        return None
    change = (
        "Run again before judging: a cloud that was just started has only cold environments."
        if run.local
        else "Make fewer environments start: a larger UsersPerInvocation, a lower GroupConcurrency,"
        " or a shorter ScheduleMinutes, so that they are still warm."
    )
    return Recommendation(
        "cold_starts",
        "consider",
        change,
        f"{run.figures.cold_starts:,} cold starts took {cold / total:.0%} of the GB-seconds",
    )


def _api_retries(run: Evidence) -> Recommendation | None:
    figures = run.figures
    if not figures.api_requests or figures.api_retries / figures.api_requests <= _RETRY_SHARE:
        return None
    worst = max(run.failed_attempts, key=lambda name: run.failed_attempts[name], default="")
    change = "Ask the API's owner why it fails; the retries are made, and paid for, here."
    if worst == "http_429":
        change = "Set ApiRequestsPerSecond to what the API allows, or lower ApiConcurrency."
    elif worst == "timeout":
        change = "Raise ApiTimeoutSeconds, or lower ApiConcurrency so that the API keeps up."
    return Recommendation(
        "api_retries",
        "act",
        change,
        f"{figures.api_retries:,} of {figures.api_requests:,} requests were retries"
        f" ({figures.api_retries / figures.api_requests:.0%})"
        + (f", most of them after {worst}" if worst else ""),
    )


def _breaker(run: Evidence) -> Recommendation | None:
    opened = sum(line.meter.get("breaker_opened", 0) for line in run.invocations)
    if not opened:
        return None
    return Recommendation(
        "breaker_opened",
        "act",
        "Look at the API, or at its key, first; the first run that finds it well serves everyone.",
        f"the breaker opened {opened:,} times: the users behind it were skipped",
    )


def _chunk_lanes(run: Evidence) -> Recommendation | None:
    """One chunk is one lane of the outer Map: too few of them, and the others wait."""
    spans: dict[int, tuple[float, float]] = {}
    for line in run.invocations:
        if line.chunk is not None:
            start, end = spans.get(line.chunk, (line.started_ms, line.ended_ms))
            spans[line.chunk] = (min(start, line.started_ms), max(end, line.ended_ms))
    groups = {(line.chunk, line.group) for line in run.invocations if line.chunk is not None}
    lanes = int(run.number("ChunkConcurrency"))
    at_once = int(run.number("GroupConcurrency"))
    if not spans or lanes == 1 or len(groups) <= at_once:
        return None  # one lane takes all groups at once
    begin, end = min(s for s, _ in spans.values()), max(e for _, e in spans.values())
    idle = 1 - sum(e - s for s, e in spans.values()) / ((end - begin) * lanes)
    if idle <= _IDLE_SHARE:
        return None
    users = run.verdict.listed
    size = max(ceil(users / lanes), 1)
    return Recommendation(
        "chunk_lane_idle",
        "consider",
        f"Set ChunkSize to {size:,}: {users:,} users then fill all {lanes} lanes.",
        f"{len(spans)} chunk(s) kept {lanes} lanes busy for {1 - idle:.0%} of the time,"
        f" while groups waited for {at_once} places in each",
    )


def _memory_is_short(run: Evidence) -> Recommendation | None:
    full = {
        name: (used, size)
        for name, used, size in _memory(run)
        if used > size * _FULL_SHARE and name in _SIZED
    }
    if not full:
        return None
    name, (used, size) = max(full.items(), key=lambda item: item[1][0] / item[1][1])
    return Recommendation(
        "memory_is_short",
        "act",
        f"Raise {_memory_parameter(name)}; a function that runs out of memory is killed.",
        f"{name} used {used:,} of {size:,} MB",
    )


def _memory_is_ample(run: Evidence) -> Recommendation | None:
    """Half the memory is half the processor: that pays for a function that mostly waits."""
    own = [line for line in run.invocations if line.state == CALL_API]
    for name, used, size in _memory(run):
        half = size // 2
        if name != CALL_API or half < _SMALLEST_MEMORY_MB or used > half * _FULL_SHARE:
            continue
        before, after = (sum(line.duration.gb_s_at(mb) for line in own) for mb in (size, half))
        if after < before * _CHEAPER_SHARE:
            return Recommendation(
                "memory_is_ample",
                "consider",
                f"Try {_memory_parameter(name)}={half} and compare.",
                f"{name} used {used:,} of {size:,} MB; with {half:,} MB it would take"
                f" {after:,.2f} instead of {before:,.2f} GB-seconds (modelled)",
            )
    return None


def _memory(run: Evidence) -> list[tuple[str, int, int]]:
    """Functions, the most memory that one of them used, and what it has."""
    return [
        (name, used, max(line.memory_mb for line in own))
        for name in FUNCTIONS
        if (own := [line for line in run.invocations if line.state == name])
        and (used := max(line.meter.get("memory_used_mb", 0) for line in own))
    ]


def _memory_parameter(name: str) -> str:
    return name.title().replace(" ", "") + "Memory"


def _writer_is_behind(run: Evidence) -> Recommendation | None:
    waits = [line.duration.wall for line in run.invocations if line.state == FINISH_RUN]
    wait_s = max(waits, default=0) / 1000
    if not run.wall_s or wait_s / run.wall_s <= _WAIT_SHARE or wait_s < 1:
        return None
    return Recommendation(
        "writer_is_behind",
        "consider",
        "Raise StreamShards, which are the writers at once, if the database has room for them.",
        f"Finish Run took {wait_s:.1f} of {run.wall_s:.1f} s, waiting for the last rows",
    )


def _time_is_short(run: Evidence) -> Recommendation | None:
    if run.wall_s / RUN_SECONDS <= _TIME_SHARE:
        return None
    return Recommendation(
        "time_is_short",
        "act",
        "Raise GroupConcurrency, ChunkConcurrency or ApiConcurrency: beyond the limit users are"
        " carried over to the next run.",
        f"the run took {run.wall_s:.0f} of {RUN_SECONDS} s",
    )


def _state_is_large(run: Evidence) -> Recommendation | None:
    size = run.figures.max_state_bytes
    if size / STATE_BYTES_QUOTA <= _STATE_SHARE:
        return None
    return Recommendation(
        "state_is_large",
        "act",
        "Raise ChunkSize or UsersPerInvocation, so that the workflow carries fewer pieces.",
        f"the largest state was {size:,} of {STATE_BYTES_QUOTA:,} bytes",
    )


def _tolerance_is_near(run: Evidence) -> Recommendation | None:
    for outcome, parameter in (
        (Outcome.REJECTED, "MaxRejectedPercent"),
        (Outcome.RETRY_LATER, "MaxRetryLaterPercent"),
    ):
        limit = run.number(parameter)
        users = run.verdict.outcomes.get(outcome, 0)
        percent = 100 * users / (run.verdict.listed or 1)
        if users and percent > limit * _LIMIT_SHARE:
            return Recommendation(
                "tolerance_is_near",
                "act",
                "Look at the classes of failure below, and mend the largest.",
                f"{percent:.1f} % of the users are {outcome.replace('_', ' ')};"
                f" above {limit:g} % ({parameter}) the run ends FAILED",
            )
    return None


def _workflow_log(run: Evidence) -> Recommendation | None:
    if run.local or run.parameters["WorkflowLogLevel"] != "ALL":
        return None
    logs = sum(line.usd for line in run.costs.lines if line.service == "Logs")
    return Recommendation(
        "workflow_log",
        "consider",
        "Set WorkflowLogLevel to ERROR when nobody traces the runs.",
        f"logging every event makes Logs ${logs:,.4f} of"
        f" ${sum(line.usd for line in run.costs.lines):,.4f}",
    )


RULES: Final[tuple[Rule, ...]] = (
    _failed,
    _breaker,
    _tolerance_is_near,
    _time_is_short,
    _memory_is_short,
    _api_retries,
    _state_is_large,
    _chunk_lanes,
    _writer_is_behind,
    _cold_starts,
    _memory_is_ample,
    _workflow_log,
)
