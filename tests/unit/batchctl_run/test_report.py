"""What a run's account looks like, to a program and to a person."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType

from batchctl.run.collect import Collector, Counts
from batchctl.run.progress import PlainDisplay, Rate, frame
from batchctl.run.report import RunReport
from batchctl.run.summary import shares, summary
from batchctl.run.verdict import Verdict
from tests.support.run_lines import RUN, FakeLogs, without_a_row, write_a_complete_run
from tests.support.run_reports import a_report

OUTCOMES = {
    "stored": 270,
    "unchanged": 0,
    "rejected": 20,
    "retry_later": 10,
    "skipped": 0,
    "gone": 0,
}


def report(
    *,
    outcomes: dict[str, int] = OUTCOMES,
    verdict: Verdict | None = None,
    missing: int = 0,
    logs_error: str = "",
    empty: bool = False,
) -> RunReport:
    logs = FakeLogs()
    if not empty:
        write_a_complete_run(logs)
        logs.write("Call API", without_a_row(http_404=12, timeout=10, http_410=5, too_large=3))
    collector = Collector(logs, RUN, since_ms=0, group_size=100)
    collector.sweep()
    judged = verdict or Verdict("SUCCEEDED", 300, outcomes, 0, judged=True)
    return a_report(collector, judged, missing=missing, logs_error=logs_error)


def drawn(what: RenderableType, width: int = 80) -> str:
    console = Console(file=StringIO(), width=width, record=True, force_terminal=True)
    console.print(what)
    return console.export_text()


def keys(value: Any) -> Any:
    return {name: keys(inner) for name, inner in value.items()} if isinstance(value, dict) else None


def test_the_json_line_has_the_keys_that_others_rely_on() -> None:
    assert keys(report().line()) == keys(
        {
            "run_id": 0,
            "status": 0,
            "listed": 0,
            "outcomes": OUTCOMES,
            "kept": 0,
            "unaccounted": 0,
            "wall_s": 0,
            "api": {"requests": 0, "retries": 0, "p50_ms": 0, "p99_ms": 0},
            "billing": {
                "state_machine_executions": 0,
                "lambda_invocations": 0,
                "lambda_gb_s": 0,
                "s3_put": 0,
                "s3_get": 0,
                "kinesis_put_units": 0,
                "db_statements": 0,
                "db_connections_peak": 0,
                "db_statement_bytes_max": 0,
            },
            "max_state_bytes": 0,
            "usd_per_million_user_runs": {"step_functions_lambda": 0, "all_in": 0},
            "report": 0,
        }
    )


def test_the_report_file_says_where_each_cost_comes_from() -> None:
    document = json.loads(json.dumps(report().document()))
    basis = {cost["service"]: cost["basis"] for cost in document["costs"]}
    assert basis == {
        "Step Functions": "modelled",
        "Lambda": "modelled",
        "S3": "measured",
        "Kinesis puts": "measured",
        "Kinesis shards": "modelled",
        "Logs": "modelled",
        "CloudWatch": "modelled",
        "RDS Proxy": "modelled",
        "X-Ray": "modelled",
    }
    assert document["prices"]["as_of"] == "2026-11-23"
    assert any("those of this machine" in said for said in document["assumptions"])
    assert document["failures"][0] == {
        "outcome": "rejected",
        "error": "http_404",
        "users": 12,
        "examples": [
            {"user": f"http_404-{i}", "state": "Call API", "chunk": 0, "group": 2} for i in range(3)
        ],
    }
    assert document["functions"][0]["name"] == "List Users"


def test_figures_without_all_their_lines_are_called_partial() -> None:
    partial = report(missing=2)
    assert any("Partial: 2" in said for said in partial.assumptions())
    assert "2 invocation lines did not arrive" in drawn(summary(partial))


def test_logs_that_could_not_be_read_are_named() -> None:
    assert "access denied" in drawn(summary(report(logs_error="access denied", empty=True)))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_summary_fits_one_screen(width: int) -> None:
    failed = Verdict("FAILED", 300, OUTCOMES, 7, "7 of 300 users are unaccounted for", judged=True)
    text = drawn(summary(report(verdict=failed, missing=3), "batchctl logs --run x"), width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    if width == 80:
        assert len(text.splitlines()) <= 32


def test_the_summary_names_what_happened_and_what_to_type_next() -> None:
    failed = Verdict("FAILED", 300, OUTCOMES, 7, "7 of 300 users are unaccounted for", judged=True)
    text = drawn(summary(report(verdict=failed), f"batchctl logs --run {RUN}"))
    for said in (
        "FAILED",
        "7 of 300 users are unaccounted for",
        "stored 270 (90.0%)",
        "unaccounted 7",
        "12 users: http_404",
        "modelled: Step Functions, Lambda",
        f"Next  batchctl logs --run {RUN}",
    ):
        assert said in text
    assert "too_large" not in text  # the fourth class is in the report file


def test_a_run_that_listed_nobody_has_no_bar_and_no_price() -> None:
    nobody = Verdict("SUCCEEDED", 0, dict.fromkeys(OUTCOMES, 0), 0, judged=True)
    text = drawn(summary(report(verdict=nobody, empty=True)))
    assert "█" not in text
    assert "per million" not in text


@given(
    st.dictionaries(st.sampled_from(list(OUTCOMES)), st.integers(1, 10**7), min_size=1),
    st.integers(10, 200),
)
def test_a_bar_is_filled_exactly_and_shows_whatever_occurred(
    counts: dict[str, int], width: int
) -> None:
    cells = shares(counts, width)
    assert sum(cells.values()) == width
    assert set(cells) == set(counts)
    assert min(cells.values()) >= 1


def test_the_progress_bars_are_aligned() -> None:
    counts = Counts(
        listed=12_000, called=9_000, processed=8_000, queued=8_000, stored=100, failed=12
    )
    text = drawn(frame(counts, expected=None, phase="calling the API", elapsed=12.3, rate=804.0))
    bars, status = text.splitlines()[:3], text.splitlines()[3]
    assert [bar.rstrip().endswith(" / 12,000") for bar in bars] == [True] * 3
    assert len({bar.index("━") for bar in bars}) == 1
    assert status.strip() == "calling the API · 12 s · 804 users/s · 12 without a row"


def test_users_without_anything_new_are_not_waited_for_by_the_third_bar() -> None:
    counts = Counts(listed=300, called=300, processed=200, queued=50, stored=40)
    text = drawn(frame(counts, expected=None, phase="", elapsed=1.0, rate=0.0))
    # 50 rows are on the stream, and the last 100 users may each bring one.
    assert text.splitlines()[2].endswith(" 40 / 150")


def test_before_the_listing_the_bars_go_by_what_was_seeded() -> None:
    text = drawn(frame(Counts(), expected=500, phase="listing users", elapsed=0.0, rate=0.0))
    assert "0 / 500" in text


def test_the_rate_is_that_of_the_last_seconds() -> None:
    rate = Rate()
    assert rate(0.0, 0) == 0
    assert rate(1.0, 100) == 100
    assert rate(2.0, 200) == 100
    assert rate(3.0, 200) == pytest.approx(200 / 3)
    for second in (4.0, 5.0, 6.0):
        current = rate(second, 200)
    assert current == 0


def test_a_pipe_gets_a_line_per_phase_and_one_every_ten_seconds() -> None:
    lines: list[str] = []
    now = [0.0]
    display = PlainDisplay(lines.append, lambda: now[0])
    for at, counts, phase in [
        (0.0, Counts(), "listing users"),
        (1.0, Counts(), "listing users"),
        (2.0, Counts(listed=200, called=100), "calling the API"),
        (3.0, Counts(listed=200, called=120), "calling the API"),
        (13.0, Counts(listed=200, called=150, failed=2), "calling the API"),
    ]:
        now[0] = at
        display.show(counts, phase)
    assert lines == [
        "listing users (0 s): 0 of ? users called, 0 processed, 0 stored",
        "calling the API (2 s): 100 of 200 users called, 0 processed, 0 stored",
        "calling the API (13 s): 150 of 200 users called, 0 processed, 0 stored, 2 without a row",
    ]
