"""What a run's figures say should be changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from batchctl.run.costs import CostLine, Costs
from batchctl.run.figures import figures_of
from batchctl.run.lambda_model import Time
from batchctl.run.lines import Invocation
from batchctl.run.recommend import RULES, Evidence, Recommendation, recommendations
from batchctl.run.verdict import Verdict
from tests.support.run_reports import OUTCOMES, PARAMETERS


def line(
    state: str, group: int | None = None, chunk: int | None = None, **meter: int
) -> Invocation:
    duration = Time(float(meter.pop("duration_ms", 200)), float(meter.pop("cpu_ms", 90)))
    init = Time(float(meter.pop("init_ms"))) if "init_ms" in meter else None
    ended_ms = int(meter.pop("at", 0) + duration.wall)
    memory_mb = meter.pop("memory_mb", 512)
    used = {"memory_used_mb": 200, **meter}
    return Invocation(state, chunk, group, duration, init, memory_mb, "e", ended_ms, meter=used)


def evidence(
    *lines: Invocation,
    wall_s: float = 20.0,
    local: bool = False,
    outcomes: dict[str, int] | None = None,
    failed_attempts: dict[str, int] | None = None,
    **parameters: str,
) -> Evidence:
    told = dict.fromkeys(OUTCOMES, 0) | (outcomes or {"stored": 1_000})
    return Evidence(
        figures=figures_of(lines),
        invocations=lines,
        failed_attempts=failed_attempts or {},
        verdict=Verdict("SUCCEEDED", sum(told.values()), told, 0),
        costs=Costs(1_000, [], [CostLine("Logs", 0.02, "modelled", "")], runs_per_month=1),
        wall_s=wall_s,
        local=local,
        parameters={**PARAMETERS, **parameters},
    )


def only(found: list[Recommendation]) -> Recommendation:
    (said,) = found
    return said


def test_a_run_with_nothing_to_mend_is_left_alone() -> None:
    lines = [line("Call API", group, 0, api_requests=100) for group in range(4)]
    assert recommendations(evidence(*lines)) == []


@pytest.mark.parametrize(
    ("verdict", "figure"),
    [
        (Verdict("FAILED", 9, {}, 0, "api_unreachable: 9 of 9 users"), "api_unreachable: 9 of 9"),
        (Verdict("TIMED_OUT", 9, {}, 9), "TIMED_OUT"),
        (Verdict("SUCCEEDED", 9, {}, 1), "SUCCEEDED"),
    ],
)
def test_of_a_run_that_failed_nobody_is_told_that_there_is_nothing_to_do(
    verdict: Verdict, figure: str
) -> None:
    found = recommendations(replace(evidence(line("Call API", 0, 0)), verdict=verdict))
    assert (found[0].rule, found[0].severity) == ("run_failed", "act")
    assert figure in found[0].figure


def test_cold_starts_that_take_much_of_the_time_are_named() -> None:
    cold = line("Call API", 0, 0, init_ms=600)
    said = only(recommendations(evidence(cold)))
    assert (said.rule, said.severity) == ("cold_starts", "consider")
    assert said.figure == "1 cold starts took 75% of the GB-seconds"
    assert "UsersPerInvocation" in said.change
    assert "Run again" in only(recommendations(evidence(cold, local=True))).change


@pytest.mark.parametrize(
    ("worst", "named"),
    [("http_429", "ApiRequestsPerSecond"), ("timeout", "ApiTimeoutSeconds"), ("http_500", "owner")],
)
def test_retries_point_to_what_most_of_them_were_for(worst: str, named: str) -> None:
    run = evidence(
        line("Call API", 0, 0, api_requests=1_000, api_retries=100),
        failed_attempts={"http_502": 20, worst: 80},
    )
    said = only(recommendations(run))
    assert said.rule == "api_retries"
    assert named in said.change
    assert said.figure == (f"100 of 1,000 requests were retries (10%), most of them after {worst}")


def test_a_breaker_that_opened_comes_first() -> None:
    run = evidence(
        line("Call API", 0, 0, api_requests=100, breaker_opened=1, init_ms=900),
    )
    assert [said.rule for said in recommendations(run)] == ["breaker_opened", "cold_starts"]


def test_one_chunk_that_leaves_the_other_lanes_idle_is_told_the_right_size() -> None:
    lines = [line("Call API", group, 0, at=200 * (group // 4)) for group in range(12)]
    said = only(recommendations(evidence(*lines)))
    assert said.rule == "chunk_lane_idle"
    assert said.change.startswith("Set ChunkSize to 334")
    assert said.figure == (
        "1 chunk(s) kept 3 lanes busy for 33% of the time, while groups waited for 4 places in each"
    )


def test_lanes_are_not_idle_when_one_takes_every_group_at_once() -> None:
    lines = [line("Call API", group, 0) for group in range(4)]
    assert recommendations(evidence(*lines)) == []


def test_chunks_that_fill_the_lanes_are_right() -> None:
    lines = [line("Call API", g, c, at=200 * (g // 4)) for c in range(3) for g in range(12)]
    assert recommendations(evidence(*lines)) == []


def test_memory_that_is_nearly_full_must_be_raised() -> None:
    said = only(recommendations(evidence(line("Process Users", 0, 0, memory_used_mb=490))))
    assert (said.rule, said.severity) == ("memory_is_short", "act")
    assert said.change.startswith("Raise ProcessUsersMemory;")
    assert said.figure == "Process Users used 490 of 512 MB"


def test_memory_may_be_halved_where_the_model_says_that_it_pays() -> None:
    waits = line("Call API", 0, 0, duration_ms=2_000, cpu_ms=100, memory_used_mb=120)
    said = only(recommendations(evidence(waits)))
    assert (said.rule, said.severity) == ("memory_is_ample", "consider")
    assert said.change == "Try CallApiMemory=256 and compare."
    # 1,900 ms of waiting, and 100 ms of CPU that half the processor makes 691 instead of 346.
    assert said.figure == (
        "Call API used 120 of 512 MB; with 256 MB it would take 0.65 instead of 1.12"
        " GB-seconds (modelled)"
    )


@pytest.mark.parametrize(
    "meter",
    [
        {"duration_ms": 200, "cpu_ms": 190},  # computes rather than waits
        {"duration_ms": 2_000, "cpu_ms": 10, "memory_used_mb": 250},  # would not fit
        {"duration_ms": 2_000, "cpu_ms": 10, "memory_used_mb": 40, "memory_mb": 128},
    ],
)
def test_memory_is_left_where_half_of_it_would_not_do(meter: dict[str, int]) -> None:
    assert recommendations(evidence(line("Call API", 0, 0, **meter))) == []


def test_a_long_wait_for_the_last_rows_points_to_the_writers() -> None:
    said = only(recommendations(evidence(line("Finish Run", duration_ms=9_000))))
    assert said.rule == "writer_is_behind"
    assert said.figure == "Finish Run took 9.0 of 20.0 s, waiting for the last rows"


def test_a_run_that_nearly_fills_its_time_must_go_faster() -> None:
    said = only(recommendations(evidence(wall_s=250)))
    assert (said.rule, said.figure) == ("time_is_short", "the run took 250 of 285 s")


def test_a_state_that_nears_the_quota_is_named() -> None:
    said = only(recommendations(evidence(line("Call API", 0, 0, event_bytes=200_000))))
    assert said.rule == "state_is_large"
    assert said.figure == "the largest state was 200,000 of 262,144 bytes"


@pytest.mark.parametrize(
    ("outcome", "users", "parameter"),
    [("rejected", 40, "MaxRejectedPercent"), ("retry_later", 150, "MaxRetryLaterPercent")],
)
def test_failures_that_near_what_is_tolerated_are_named(
    outcome: str, users: int, parameter: str
) -> None:
    run = evidence(outcomes={"stored": 1_000 - users, outcome: users})
    said = only(recommendations(run))
    assert said.rule == "tolerance_is_near"
    assert parameter in said.figure


def test_logging_every_event_is_named_with_its_price() -> None:
    run = evidence(WorkflowLogLevel="ALL")
    assert only(recommendations(run)).figure == "logging every event makes Logs $0.0200 of $0.0200"
    assert recommendations(replace(run, local=True)) == []


def test_every_rule_can_say_nothing_about_a_run_without_lines() -> None:
    nobody = evidence(outcomes={"stored": 0})
    assert [rule(nobody) for rule in RULES] == [None] * len(RULES)
