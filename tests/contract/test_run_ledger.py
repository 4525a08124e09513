"""The run's account, in memory and in MariaDB."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from batch_core.outcomes import Tally
from batch_core.ports import Lease, Written
from batch_core.records import Record
from batch_core.run import Slot
from tests.support.world import TABLE, World

TEN = Slot("demo", datetime(2026, 1, 31, 10, tzinfo=UTC))
LATER = Slot("demo", TEN.at + timedelta(minutes=5))


def record(group: int, users: list[int], *, chunk: int = 0, part: int = 0) -> Record:
    return Record(
        tenant="demo",
        run_id=TEN.run_id,
        chunk=chunk,
        group=group,
        version=TEN.version,
        trace_id="",
        segment_id="",
        part=part,
        columns=("user_id", *TABLE.columns),
        rows=tuple((user, "text", None) for user in users),
    )


def test_the_first_to_ask_gets_the_lease(world: World) -> None:
    assert world.ledger.open(TEN, owner="a", seconds=300) == Lease(granted=True, fence=1)


def test_the_same_execution_gets_it_again_with_a_higher_fence(world: World) -> None:
    world.ledger.open(TEN, owner="a", seconds=300)

    assert world.ledger.open(TEN, owner="a", seconds=300) == Lease(granted=True, fence=2)


def test_another_execution_of_the_same_slot_is_a_duplicate(world: World) -> None:
    world.ledger.open(TEN, owner="a", seconds=300)

    assert world.ledger.open(TEN, owner="b", seconds=300) == Lease(False, reason="duplicate")


def test_a_slot_that_was_opened_is_a_duplicate_for_ever(world: World) -> None:
    world.ledger.open(TEN, owner="a", seconds=300)
    world.ledger.close(TEN.run_id, status="completed", tally=Tally(), reason="")
    world.wait(900)

    assert world.ledger.open(TEN, owner="b", seconds=300) == Lease(False, reason="duplicate")


def test_a_slot_is_skipped_while_another_is_processed(world: World) -> None:
    world.ledger.open(TEN, owner="a", seconds=300)

    assert world.ledger.open(LATER, owner="b", seconds=300) == Lease(False, reason="skipped")


def test_a_skipped_slot_may_be_taken_once_the_other_has_ended(world: World) -> None:
    world.ledger.open(TEN, owner="a", seconds=300)
    world.ledger.open(LATER, owner="b", seconds=300)
    world.ledger.close(TEN.run_id, status="completed", tally=Tally(), reason="")

    assert world.ledger.open(LATER, owner="c", seconds=300) == Lease(granted=True, fence=2)


def test_an_expired_lease_is_taken_over(world: World) -> None:
    world.ledger.open(TEN, owner="a", seconds=300)
    world.wait(301)

    assert world.ledger.open(LATER, owner="b", seconds=300) == Lease(granted=True, fence=2)


def test_who_lost_the_lease_does_not_get_it_back_by_asking_again(world: World) -> None:
    world.ledger.open(TEN, owner="a", seconds=300)
    world.wait(301)
    world.ledger.open(LATER, owner="b", seconds=300)

    assert world.ledger.open(TEN, owner="a", seconds=300) == Lease(False, reason="skipped")


def test_who_lost_the_lease_does_not_end_that_of_the_next(world: World) -> None:
    world.ledger.open(TEN, owner="a", seconds=300)
    world.wait(301)
    world.ledger.open(LATER, owner="b", seconds=300)
    world.ledger.close(TEN.run_id, status="failed", tally=Tally(), reason="late")

    third = Slot("demo", LATER.at + timedelta(minutes=5))
    assert world.ledger.open(third, owner="c", seconds=300) == Lease(False, reason="skipped")


def test_records_are_summed_for_their_run_alone(world: World) -> None:
    world.people(1, 2, 3)
    world.rows.write(TABLE, [record(0, [1, 2]), record(1, [3, 99])])

    assert world.ledger.written(TEN.run_id) == Written(4, Tally(stored=3, gone=1))
    assert world.ledger.written(LATER.run_id) == Written(0, Tally())


def test_groups_can_be_left_out_of_the_sum(world: World) -> None:
    world.people(*range(10))
    world.rows.write(
        TABLE,
        [record(0, [1]), record(1, [2, 3]), record(1, [4], part=1), record(1, [5], chunk=1)],
    )

    assert world.ledger.written(TEN.run_id, excluding=[(0, 1)]) == Written(2, Tally(stored=2))
    assert world.ledger.written(TEN.run_id, excluding=[(0, 0), (1, 1)]) == Written(
        3, Tally(stored=3)
    )


def test_thousands_of_groups_can_be_left_out(world: World) -> None:
    world.people(*range(10))
    world.rows.write(TABLE, [record(0, [1]), record(1, [2, 3]), record(399, [4], chunk=4)])

    failed = [(chunk, group) for chunk in range(5) for group in range(1, 400)]
    assert world.ledger.written(TEN.run_id, excluding=failed) == Written(1, Tally(stored=1))


def test_groups_without_a_record_are_named(world: World) -> None:
    world.people(1, 2)
    world.ledger.open(TEN, owner="a", seconds=300)
    world.ledger.listed(TEN.run_id, 500, groups=[3, 2])
    world.rows.write(TABLE, [record(1, [1]), record(0, [2], chunk=1)])

    assert world.ledger.silent_groups(TEN.run_id) == [(0, 0), (0, 2), (1, 1)]


def test_a_run_that_never_listed_has_no_groups_to_name(world: World) -> None:
    world.ledger.open(TEN, owner="a", seconds=300)

    assert world.ledger.silent_groups(TEN.run_id) == []
    assert world.ledger.silent_groups("unheard-of") == []


def test_old_runs_are_forgotten_with_their_records(world: World) -> None:
    world.people(1)
    world.ledger.open(TEN, owner="a", seconds=300)
    world.rows.write(TABLE, [record(0, [1])])
    world.wait(3 * 86_400)
    world.ledger.open(LATER, owner="b", seconds=300)

    world.ledger.forget(keep_days=4)
    assert world.ledger.written(TEN.run_id).rows == 1

    world.ledger.forget(keep_days=2)
    assert world.ledger.written(TEN.run_id).rows == 0
    assert world.ledger.open(LATER, owner="c", seconds=300) == Lease(False, reason="duplicate")
