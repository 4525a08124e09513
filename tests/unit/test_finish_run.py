"""Finish Run: waiting for the ledger, and judging."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest

from batch_core.chunks import Chunk, pack, serialise
from batch_core.errors import TransientDatabaseError
from batch_core.finish_run import SUPERSEDED
from batch_core.limits import REASON_BYTES
from batch_core.observability import logger
from batch_core.outcomes import Tally
from batch_core.run import Run
from tests.support.fakes import FakeRun, FakeRunLedger
from tests.support.finishing import RUN, Stage


def test_a_run_whose_ledger_balances_completes_at_once() -> None:
    stage = Stage()
    stage.arrive(0, 0, stored=8, rejected=1, gone=1)

    answer = stage(25, tally={"queued": 10, "unchanged": 12, "retry_later": 3})

    assert answer == {
        "status": "completed",
        "run_id": RUN,
        "listed": 25,
        "outcomes": {
            "stored": 8,
            "unchanged": 12,
            "rejected": 1,
            "retry_later": 3,
            "skipped": 0,
            "gone": 1,
        },
        "kept": 0,
        "unaccounted": 0,
        "reason": "",
    }
    assert stage.naps == []


def test_an_empty_run_completes() -> None:
    assert Stage()(0)["status"] == "completed"


def test_rows_that_are_still_on_the_stream_are_waited_for_with_growing_pauses() -> None:
    stage = Stage()
    stage.arrive(0, 0, stored=5)
    stage.arrive(0, 1, at=7.0, stored=5)

    answer = stage(10, tally={"queued": 10})

    assert (answer["status"], answer["outcomes"]["stored"]) == ("completed", 10)
    assert 7.0 <= stage.now < 8.1
    assert stage.naps == sorted(stage.naps)
    assert stage.naps[0] < 0.1
    assert stage.naps[-1] <= 1.0


def test_rows_that_never_arrive_fail_the_run_and_silent_groups_are_named() -> None:
    stage = Stage()
    stage.arrive(0, 0, stored=5)
    stage.arrive(1, 1, stored=5)

    answer = stage(30, tally={"queued": 30}, awaited=["0a0a00", "0505"])

    assert answer["status"] == "failed"
    assert answer["unaccounted"] == 20
    assert "20 rows that were put on the stream" in answer["reason"]
    # Group 0/2 had nothing to store; of group 0/0 half is there.
    silent = answer["reason"].partition("not complete: ")[2]
    assert silent.startswith("0/0 0/1 1/0;")
    assert stage.now == pytest.approx(45)


def test_the_wait_ends_before_the_invocation_does() -> None:
    stage = Stage()
    stage(30, remaining=20, tally={"queued": 30})

    assert stage.now == pytest.approx(15)


def test_users_that_have_no_outcome_fail_the_run() -> None:
    answer = Stage()(10, tally={"unchanged": 9})

    assert (answer["status"], answer["unaccounted"]) == ("failed", 1)
    assert "1 of 10 users are unaccounted for" in answer["reason"]


def test_more_outcomes_than_users_fail_the_run_too() -> None:
    answer = Stage()(10, tally={"unchanged": 11})

    assert (answer["status"], answer["unaccounted"]) == ("failed", -1)
    assert "11 outcomes for 10 users" in answer["reason"]


def test_rows_of_a_failed_group_that_were_written_all_the_same_are_stored() -> None:
    stage = Stage(retry_later=100)
    stage.arrive(0, 0, stored=10)
    stage.arrive(0, 1, stored=6, rejected=1)

    answer = stage(
        20,
        tally={"queued": 10, "retry_later": 10},
        failed_groups=1,
        awaited=["0a--"],
    )

    assert answer["outcomes"]["stored"] == 16
    assert answer["outcomes"]["rejected"] == 1
    assert answer["outcomes"]["retry_later"] == 3
    assert (answer["status"], answer["unaccounted"]) == ("completed", 0)
    assert stage.naps == []


def test_rows_of_failed_groups_do_not_stand_in_for_those_that_are_waited_for() -> None:
    stage = Stage(retry_later=100)
    stage.arrive(0, 1, stored=10)
    stage.arrive(0, 0, at=3.0, stored=10)

    answer = stage(
        20,
        tally={"queued": 10, "retry_later": 10},
        failed_groups=1,
        awaited=["0a--"],
    )

    assert stage.now >= 3.0
    assert answer["outcomes"]["stored"] == 20
    assert answer["outcomes"]["retry_later"] == 0


def test_a_line_too_many_of_one_group_does_not_stand_in_for_one_missing_of_another() -> None:
    stage = Stage()
    # Left over by an attempt that was superseded, while another group is delayed.
    stage.arrive(0, 0, stored=100)
    stage.arrive(0, 0, attempt=7, part=1, stored=50)
    stage.arrive(0, 1, at=9.0, stored=100)

    answer = stage(200, tally={"queued": 200}, awaited=["2s2s"])

    assert stage.now >= 9.0
    assert (answer["status"], answer["outcomes"]["stored"]) == ("completed", 200)


def test_the_lines_of_an_attempt_that_was_superseded_do_not_fail_a_run_that_is_whole() -> None:
    stage = Stage()
    stage.arrive(0, 0, attempt=1, part=0, stored=75)
    stage.arrive(0, 0, fence=2, stored=150)
    stage.arrive(0, 0, attempt=2, stored=150)

    answer = stage(150, tally={"queued": 150}, awaited=["46"])

    assert (answer["status"], answer["outcomes"]["stored"]) == ("completed", 150)
    assert stage.naps == []


def test_rows_that_a_newer_run_kept_out_are_unchanged_and_told() -> None:
    stage = Stage()
    stage.arrive(0, 0, stored=6, unchanged=4)

    answer = stage(12, tally={"queued": 10, "unchanged": 2}, awaited=["0a"])

    assert (answer["status"], answer["kept"], answer["unaccounted"]) == ("completed", 4, 0)
    assert (answer["outcomes"]["stored"], answer["outcomes"]["unchanged"]) == (6, 6)
    ending = stage.database.runs[RUN].ending
    assert ending is not None
    assert ending.kept == 4


@pytest.mark.parametrize(
    ("tally", "status"),
    [
        ({"unchanged": 95, "rejected": 5}, "completed"),
        ({"unchanged": 94, "rejected": 6}, "failed"),
        ({"unchanged": 80, "retry_later": 20}, "completed"),
        ({"unchanged": 79, "retry_later": 21}, "failed"),
        ({"unchanged": 79, "skipped": 21}, "failed"),
        ({"gone": 100}, "completed"),
    ],
)
def test_the_run_is_judged_by_its_tolerances(tally: dict[str, int], status: str) -> None:
    answer = Stage()(100, tally=tally)

    assert answer["status"] == status
    assert bool(answer["reason"]) == (status == "failed")


def test_a_tolerance_that_is_passed_is_told_with_its_numbers() -> None:
    answer = Stage(rejected=0.5)(1_000, tally={"unchanged": 980, "rejected": 20})

    assert answer["reason"] == "20 of 1000 users (2 %) are rejected; 0.5 % are tolerated"


def test_the_first_failures_are_told_in_bounded_words() -> None:
    failures = [
        {"chunk": n, "group": 7, "state": "Call API", "error": "TimeoutError", "cause": "x" * 90}
        for n in range(20)
    ]
    answer = Stage()(10, tally={"retry_later": 10}, failed_groups=20, failures=failures)

    assert "20 groups failed; Call API 0/7: TimeoutError xxx" in answer["reason"]
    assert len(answer["reason"]) == REASON_BYTES


def test_the_groups_that_failed_are_logged_with_their_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = io.StringIO()
    for handler in logger.handlers:
        monkeypatch.setattr(handler, "stream", lines)
    failure = {"chunk": 1, "group": 7, "state": "Call API", "error": "Runtime.ExitError"}
    Stage()(
        10,
        tally={"retry_later": 10},
        failed_groups=2,
        failures=[{**failure, "cause": "canary"}],
        awaited=["", "00" * 7 + "----"],
    )

    (told,) = [json.loads(line) for line in lines.getvalue().splitlines() if "groups" in line]
    unnamed = {"chunk": 1, "group": 8, "state": None, "error": None}
    assert (told["level"], told["count"], told["groups"]) == ("ERROR", 2, [failure, unnamed])
    assert "canary" not in lines.getvalue()


def test_a_map_that_failed_as_a_whole_is_told() -> None:
    failure = {"state": "For Each Chunk", "error": "States.DataLimitExceeded", "cause": "too big"}
    answer = Stage()(10, failures=[failure])

    assert answer["status"] == "failed"
    assert "For Each Chunk: States.DataLimitExceeded too big" in answer["reason"]


def test_the_run_is_closed_and_its_lease_given_back() -> None:
    stage = Stage()
    stage(10, tally={"unchanged": 9})

    closed = stage.database.runs[RUN].ending
    assert closed is not None
    assert (closed.status, closed.tally) == ("failed", Tally(unchanged=9))
    assert "unaccounted" in closed.reason
    assert stage.database.expires_at == 0


def test_an_attempt_that_lost_the_run_does_not_end_it() -> None:
    stage = Stage()
    stage.database.runs[RUN].fence = 2
    stage.database.runs[RUN].status = "completed"

    answer = stage(10, tally={"retry_later": 10})

    assert (answer["status"], answer["reason"]) == ("failed", SUPERSEDED)
    assert stage.database.runs[RUN].status == "completed"
    assert stage.database.runs[RUN].ending is None


def test_the_ledger_learns_how_long_the_calls_took_and_who_was_stopped() -> None:
    stage = Stage()
    stage(10, tally={"unchanged": 10}, called=10, api_ms=740, stopped=3)

    ending = stage.database.runs[RUN].ending
    assert ending is not None
    assert (ending.called, ending.api_ms, ending.stopped) == (10, 740, 3)


def test_the_next_run_begins_with_those_who_were_carried_over() -> None:
    stage = Stage()
    stage(10, tally={"unchanged": 10})

    assert stage.database.next_user == 900


def late_group(stage: Stage, at: int = 1) -> list[dict[str, Any]]:
    """The second group of a chunk, from a place on late; its first user is 11."""
    body, groups, stride = pack([serialise({"user_id": n}) for n in range(1, 26)], 10)
    chunk = Chunk(0, 25, groups, stride, "")
    run = Run(RUN, 1, 1, 10, 0, 0)
    etag = stage.store.put(chunk.key(run), body, metadata={})
    return [{"chunk": replace(chunk, etag=etag).to_json(), "group": 1, "at": at}]


def test_the_next_run_begins_with_the_first_user_whose_turn_never_came() -> None:
    stage = Stage()
    stage(10, tally={"unchanged": 10}, late=late_group(stage, at=4))

    assert stage.database.next_user == 14


def test_a_late_user_who_cannot_be_looked_up_does_not_keep_the_run_from_its_end() -> None:
    stage = Stage()
    late = late_group(stage)
    stage.store.objects.clear()

    assert stage(10, tally={"unchanged": 10}, late=late)["status"] == "completed"
    assert stage.database.next_user == 900


def test_users_held_back_on_purpose_are_tolerated() -> None:
    held_back = {"backing_off": 30, "quarantined": 20, "carried_over": 40}

    answer = Stage()(100, tally={"unchanged": 10, "skipped": 90}, held_back=held_back)

    assert answer["status"] == "completed"


def test_users_not_asked_because_the_api_failed_count_as_left_for_the_next_run() -> None:
    held_back = {"backing_off": 0, "quarantined": 5, "carried_over": 0}
    tally = {"unchanged": 70, "retry_later": 10, "skipped": 20}

    answer = Stage()(100, tally=tally, held_back=held_back)

    assert answer["status"] == "failed"
    assert (
        "25 of 100 users (25 %) are left for the next run; 20 % are tolerated" in answer["reason"]
    )
    assert "15 of them were not asked" in answer["reason"]


def test_old_runs_are_forgotten() -> None:
    stage = Stage()
    stage.database.runs["demo-20251201T100000Z"] = FakeRun("x", "c0de", -31 * 86_400)
    stage(0)

    assert set(stage.database.runs) == {RUN}


def test_a_run_is_finished_even_when_old_ones_cannot_be_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: FakeRunLedger, *, keep_days: int) -> None:
        raise TransientDatabaseError(f"2013: keeping {keep_days} days")

    monkeypatch.setattr(FakeRunLedger, "forget", fail)

    assert Stage()(0)["status"] == "completed"


# --- a run that has a fault as a whole --------------------------------------------------------


def faulted(answer: dict[str, Any], stage: Stage) -> str | None:
    """The fault of a run, which the answer, its reason and the ledger tell alike."""
    ending = stage.database.runs[RUN].ending
    assert ending is not None
    assert ending.fault == (answer.get("error") or "")
    if ending.fault:
        assert answer["status"] == "failed"
        assert answer["reason"].startswith(f"{ending.fault}: ")
    return ending.fault or None


@pytest.mark.parametrize(
    ("tally", "event", "fault"),
    [
        ({"unchanged": 100}, {"called": 100}, None),
        # Nearly everyone: nine of ten, from ten users on.
        ({"unchanged": 10, "rejected": 90}, {"called": 100}, "nearly_all_rejected"),
        ({"unchanged": 11, "rejected": 89}, {"called": 100}, None),
        ({"rejected": 10, "skipped": 90}, {"called": 10}, "nearly_all_rejected"),
        ({"rejected": 9, "skipped": 91}, {"called": 9}, None),
        # Who got no answer says nothing about the answers.
        ({"rejected": 50, "retry_later": 50}, {"called": 100}, "nearly_all_rejected"),
        # An API that is down keeps the run from its users ...
        ({"retry_later": 6, "skipped": 94}, {"called": 6, "stopped": 100}, "api_unreachable"),
        ({"unchanged": 70, "skipped": 30}, {"called": 70, "stopped": 30}, "api_unreachable"),
        # ... unless hardly anybody lost a turn by it.
        ({"unchanged": 80, "skipped": 20}, {"called": 80, "stopped": 20}, None),
        ({"rejected": 5, "skipped": 95}, {"called": 0}, "nobody_asked"),
        ({"retry_later": 100}, {"called": 0, "failed_groups": 10}, None),
    ],
)
def test_a_run_is_judged_as_a_whole(
    tally: dict[str, int], event: dict[str, Any], fault: str | None
) -> None:
    stage = Stage(rejected=100, retry_later=20)

    assert faulted(stage(100, tally=tally, **event), stage) == fault


def test_who_is_held_back_on_purpose_does_not_dilute_an_outage() -> None:
    stage = Stage()
    tally = {"retry_later": 62, "skipped": 938}

    answer = stage(1_000, tally=tally, called=62, stopped=62, held_back={"carried_over": 938})

    assert faulted(answer, stage) == "api_unreachable"
    assert "62 of 62 users were not served" in answer["reason"]


def test_however_much_is_tolerated_an_api_that_serves_nobody_is_a_fault() -> None:
    stage = Stage(retry_later=100)

    answer = stage(100, tally={"retry_later": 10, "skipped": 90}, called=10, stopped=100)

    assert faulted(answer, stage) == "api_unreachable"


def test_a_run_of_which_nobody_was_due_is_not_at_fault() -> None:
    stage = Stage()

    answer = stage(50, tally={"skipped": 50}, held_back={"quarantined": 30, "backing_off": 20})

    assert (answer["status"], faulted(answer, stage)) == ("completed", None)
