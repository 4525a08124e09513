"""How an execution ended."""

from __future__ import annotations

import json

import pytest

from batchctl.run.verdict import Execution, Verdict, verdict_of

OUTCOMES = {
    "stored": 90,
    "unchanged": 5,
    "rejected": 0,
    "retry_later": 5,
    "skipped": 0,
    "gone": 0,
}


def told(status: str, **changes: object) -> str:
    output = {
        "status": status,
        "run_id": "demo-1",
        "listed": 100,
        "outcomes": OUTCOMES,
        "unaccounted": 0,
        "reason": "",
    }
    return json.dumps(output | changes)


def verdict(status: str, listed: int | None = None, **given: str) -> Verdict:
    return verdict_of(Execution("arn", status, 3.0, **given), listed=listed)  # type: ignore[arg-type]


def test_a_completed_run_is_good() -> None:
    found = verdict("SUCCEEDED", output=told("completed"))
    assert found.good
    assert found.judged
    assert (found.status, found.listed, dict(found.outcomes)) == ("SUCCEEDED", 100, OUTCOMES)


def test_a_run_that_lost_a_user_is_not_good_whatever_it_says() -> None:
    assert not verdict("SUCCEEDED", output=told("completed", unaccounted=1)).good


def test_a_run_that_judged_itself_failed_keeps_its_outcomes_and_says_why() -> None:
    cause = told("failed", unaccounted=7, reason="7 of 100 users are unaccounted for")
    found = verdict("FAILED", error="Batch.RunFailed", cause=cause)
    assert not found.good
    assert found.judged
    assert (found.status, found.unaccounted, found.outcomes["stored"]) == ("FAILED", 7, 90)
    assert found.reason == "7 of 100 users are unaccounted for"


@pytest.mark.parametrize(
    ("decision", "status"), [("duplicate", "DUPLICATE"), ("skipped", "SKIPPED")]
)
def test_a_run_left_to_another_execution_is_neither_good_nor_judged(
    decision: str, status: str
) -> None:
    output = told(decision, listed=0, outcomes=dict.fromkeys(OUTCOMES, 0))
    found = verdict("SUCCEEDED", output=output)
    assert (found.status, found.good, found.judged) == (status, False, False)


def test_the_innermost_message_of_a_failed_state_is_the_reason() -> None:
    inner = {"errorMessage": "no column user_id", "errorType": "JobError", "stackTrace": ["..."]}
    cause = {"state": "List Users", "error": "JobError", "cause": json.dumps(inner)}
    found = verdict("FAILED", error="JobError", cause=json.dumps(cause))
    assert found.reason == "JobError: no column user_id"
    assert found.state == "List Users"


def test_a_cause_cut_in_the_middle_is_shown_as_it_is() -> None:
    cause = {"state": "Finish Run", "error": "Boom", "cause": '{"errorMessage": "the da'}
    assert verdict("FAILED", cause=json.dumps(cause)).reason == 'Boom: {"errorMessage": "the da'


def test_a_cause_that_is_no_json_is_the_reason() -> None:
    found = verdict("FAILED", error="States.Runtime", cause="the state machine is broken")
    assert found.reason == "States.Runtime: the state machine is broken"


def test_an_execution_without_a_cause_says_so() -> None:
    assert verdict("FAILED").reason == "no cause was given"


def test_a_long_reason_is_cut() -> None:
    assert len(verdict("FAILED", cause="x" * 5_000).reason) == 600


def test_users_listed_before_the_breakdown_are_unaccounted_for() -> None:
    found = verdict("TIMED_OUT", listed=40)
    assert (found.status, found.listed, found.unaccounted) == ("TIMED_OUT", 40, 40)
    assert "3 s, its time limit" in found.reason


def test_an_output_that_is_not_ours_is_a_failure() -> None:
    assert verdict("SUCCEEDED", output="{}").status == "FAILED"
