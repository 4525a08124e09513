"""What is published of a finished run."""

from __future__ import annotations

from typing import Any

import pytest

from batch_core.run_metrics import RunMetrics, coverage_of
from tests.support.finishing import RUN, STARTED_AT, Stage


def published(stage: Stage, listed: int, **event: Any) -> RunMetrics:
    answer = stage(listed, **event)
    return RunMetrics.of(Stage.event(listed, **event), answer, now=STARTED_AT + 31.5)


def test_a_good_run_is_complete_covers_everybody_and_lost_nothing() -> None:
    stage = Stage()
    stage.arrive(0, 0, stored=8, gone=1)

    run = published(stage, 12, tally={"queued": 9, "unchanged": 3})

    assert run.counts == {
        "RunCompleted": 1,
        "UsersListed": 12,
        "UsersQuarantined": 0,
        "UsersStopped": 0,
        "UsersUnaccounted": 0,
        "RowsPutAside": 0,
    }
    assert run.percents == {"Coverage": 100.0}


def test_the_line_beside_them_is_the_runs_whole_account_and_names_no_user() -> None:
    stage = Stage()
    stage.arrive(0, 0, stored=8, rejected=1)

    run = published(
        stage,
        20,
        tally={"queued": 9, "retry_later": 5, "skipped": 6},
        held_back={"backing_off": 1, "quarantined": 2, "carried_over": 3},
        failed_groups=1,
        awaited=["09--"],
        failures=[{"state": "Call API", "error": "E", "cause": "of user 4711"}],
    )

    assert run.account == {
        "message": "run account",
        "run_id": RUN,
        "status": "failed",
        "seconds": 31.5,
        "coverage": 44.444,
        "listed": 20,
        "stored": 8,
        "unchanged": 0,
        "rejected": 1,
        "retry_later": 5,
        "skipped": 6,
        "gone": 0,
        "kept": 0,
        "unaccounted": 0,
        "backing_off": 1,
        "quarantined": 2,
        "carried_over": 3,
        "failed_groups": 1,
    }


def test_rows_that_the_writer_put_aside_are_not_the_users_whom_the_states_rejected() -> None:
    stage = Stage()
    stage.arrive(0, 0, stored=7, rejected=2)

    run = published(stage, 20, tally={"queued": 9, "rejected": 4, "unchanged": 7})

    assert run.counts["RowsPutAside"] == 2


def test_outcomes_too_many_are_as_unaccounted_as_outcomes_too_few() -> None:
    few = published(Stage(), 10, tally={"unchanged": 8})
    many = published(Stage(), 10, tally={"unchanged": 12})

    assert (few.counts["UsersUnaccounted"], many.counts["UsersUnaccounted"]) == (2, 2)
    assert (few.account["unaccounted"], many.account["unaccounted"]) == (2, -2)


@pytest.mark.parametrize(
    ("listed", "outcomes", "quarantined", "percent"),
    [
        (0, {}, 0, 100.0),
        (3, {"skipped": 3}, 3, 100.0),
        (100, {"stored": 50, "unchanged": 44, "gone": 1, "rejected": 5}, 0, 95.0),
        # Whoever is backing off, carried over or waits for an API that is down is behind, too.
        (100, {"stored": 60, "skipped": 30, "retry_later": 10}, 0, 60.0),
        (100, {"stored": 90, "skipped": 10}, 10, 100.0),
    ],
)
def test_coverage_is_the_share_of_those_who_are_up_to_date(
    listed: int, outcomes: dict[str, int], quarantined: int, percent: float
) -> None:
    whole = dict.fromkeys(("stored", "unchanged", "rejected", "retry_later", "skipped", "gone"), 0)

    assert coverage_of(listed, whole | outcomes, quarantined=quarantined) == percent
