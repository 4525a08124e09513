"""The run's account, in memory and in real databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batch_core.limits import USER_ID_CHARS
from batch_core.outcomes import Tally
from batch_core.ports import Candidate, Ending, HeldBack, LastRun, Lease, Listing, Written
from batch_core.records import Record
from batch_core.run import Run, Slot
from batch_core.user_state import Mark
from tests.support.ledger import Total
from tests.support.world import TABLE, World

TEN = Slot("demo", datetime(2026, 1, 31, 10, tzinfo=UTC))
LATER = Slot("demo", TEN.at + timedelta(minutes=5))
THIRD = Slot("demo", TEN.at + timedelta(minutes=10))


def opened(world: World, slot: Slot, owner: str, *, started: datetime = TEN.at) -> Lease:
    """Ask for the lease for five minutes."""
    return world.ledger.open(slot, owner=owner, started=started, seconds=300, code="c0de")


def run(fence: int, slot: Slot = TEN) -> Run:
    """The run of a slot, under a lease."""
    return Run(slot.run_id, slot.version, fence, 100, 0.0, 0.0)


def listing(users: int, **changes: Any) -> Listing:
    return replace(Listing(users, groups=[1], held_back=HeldBack()), **changes)


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
    assert opened(world, TEN, "a") == Lease(granted=True, fence=1, version=TEN.version)


def test_the_same_execution_gets_it_again_with_a_higher_fence_and_version(world: World) -> None:
    opened(world, TEN, "a")

    assert opened(world, TEN, "a") == Lease(granted=True, fence=2, version=TEN.version + 1)


def test_another_execution_of_the_same_slot_is_a_duplicate(world: World) -> None:
    opened(world, TEN, "a")

    assert opened(world, TEN, "b") == Lease(False, reason="duplicate")


def test_another_execution_of_the_same_name_is_a_duplicate_too(world: World) -> None:
    opened(world, TEN, "a")

    again = opened(world, TEN, "a", started=TEN.at + timedelta(milliseconds=1))
    assert again == Lease(False, reason="duplicate")
    assert opened(world, TEN, "a").granted


def test_a_slot_that_was_opened_is_a_duplicate_for_ever(world: World) -> None:
    opened(world, TEN, "a")
    world.ledger.close(run(1), Ending("completed", Tally(), ""))
    world.wait(900)

    assert opened(world, TEN, "b") == Lease(False, reason="duplicate")


def test_a_slot_is_skipped_while_another_is_processed(world: World) -> None:
    opened(world, TEN, "a")

    assert opened(world, LATER, "b") == Lease(False, reason="skipped")


def test_a_skipped_slot_may_be_taken_once_the_other_has_ended(world: World) -> None:
    opened(world, TEN, "a")
    opened(world, LATER, "b")
    world.ledger.close(run(1), Ending("completed", Tally(), ""))

    assert opened(world, LATER, "c") == Lease(granted=True, fence=2, version=LATER.version)


def test_an_expired_lease_is_taken_over(world: World) -> None:
    opened(world, TEN, "a")
    world.wait(301)

    assert opened(world, LATER, "b") == Lease(granted=True, fence=2, version=LATER.version)


def test_who_lost_the_lease_does_not_get_it_back_by_asking_again(world: World) -> None:
    opened(world, TEN, "a")
    world.wait(301)
    opened(world, LATER, "b")

    assert opened(world, TEN, "a") == Lease(False, reason="skipped")


def test_who_lost_the_lease_does_not_end_that_of_the_next(world: World) -> None:
    opened(world, TEN, "a")
    world.wait(301)
    opened(world, LATER, "b")
    world.ledger.close(run(1), Ending("failed", Tally(), ""))

    assert opened(world, THIRD, "c") == Lease(False, reason="skipped")


def test_a_lease_has_a_higher_version_than_the_one_before_whatever_its_slot(world: World) -> None:
    future = Slot("demo", TEN.at + timedelta(days=365))
    opened(world, future, "a")
    world.ledger.close(run(1, future), Ending("completed", Tally(), ""))

    for n, slot in enumerate((LATER, TEN, THIRD), start=1):
        assert opened(world, slot, "b").version == future.version + n
        world.ledger.close(run(n + 1, slot), Ending("completed", Tally(), ""))


def test_an_attempt_whose_lease_was_given_again_neither_lists_nor_closes(world: World) -> None:
    opened(world, TEN, "a")
    opened(world, TEN, "a")
    assert world.ledger.listed(run(2), listing(500, next_user=900))
    assert world.ledger.listed(run(2), listing(500, next_user=900))
    assert world.ledger.close(run(2), Ending("completed", Tally(stored=500), "", called=500))

    assert not world.ledger.listed(run(1), listing(7, next_user=1))
    assert not world.ledger.close(run(1), Ending("failed", Tally(), "too late", stopped=1))
    assert opened(world, LATER, "b").last == LastRun(user_ms=0.0, listed=500)


def test_a_run_that_is_not_known_is_not_closed(world: World) -> None:
    assert not world.ledger.listed(run(1), listing(7))
    assert not world.ledger.close(run(1), Ending("completed", Tally(), ""))


def test_the_most_that_the_last_ten_runs_listed_is_known(world: World) -> None:
    assert world.ledger.lately_listed() == 0

    for number, users in enumerate([500, 7, *[3] * 9]):
        slot = Slot("demo", TEN.at + timedelta(minutes=5 * number))
        lease = opened(world, slot, "a", started=slot.at)
        now = Run(slot.run_id, lease.version, lease.fence, 100, 0.0, 0.0)
        world.ledger.listed(now, listing(users))
        world.ledger.close(now, Ending("SUCCEEDED", Tally(), ""))

    assert world.ledger.lately_listed() == 7


def test_records_are_summed_for_their_run_alone(world: World) -> None:
    world.people(1, 2, 3)
    world.rows.write(TABLE, [record(0, [1, 2]), record(1, [3, 99])])

    assert Total.of(world.ledger, TEN.run_id) == Total(4, Tally(stored=3, gone=1))
    assert Total.of(world.ledger, LATER.run_id) == Total(0, Tally())


def test_each_attempt_at_each_group_is_told_apart(world: World) -> None:
    world.people(*range(10))
    whole = record(1, [2, 3])
    world.rows.write(
        TABLE,
        [
            record(0, [1]),
            replace(whole, rows=whole.rows[:1], attempt=7),
            replace(whole, rows=whole.rows[1:], attempt=7, part=1),
            replace(whole, attempt=8),
            record(1, [5], chunk=1),
        ],
    )

    lines = sorted(world.ledger.written(TEN.run_id, 1), key=lambda each: (each.chunk, each.group))
    assert lines == [
        Written(0, 0, 1, Tally(stored=1)),
        Written(0, 1, 2, Tally(stored=2)),
        Written(0, 1, 2, Tally(stored=2)),
        Written(1, 1, 1, Tally(stored=1)),
    ]


def test_what_was_written_under_another_lease_is_left_out(world: World) -> None:
    world.people(1, 2)
    world.rows.write(
        TABLE,
        [replace(record(0, [1, 2]), fence=1, part=1), replace(record(0, [1]), fence=2)],
    )

    assert world.ledger.written(TEN.run_id, 2) == [Written(0, 0, 1, Tally(stored=1))]
    assert world.ledger.written("unheard-of", 2) == []


@pytest.mark.parametrize("user", [4711, "4711", "o'neill"])
def test_the_next_run_begins_with_the_first_user_carried_over(
    world: World, user: int | str
) -> None:
    opened(world, TEN, "a")
    world.ledger.listed(run(1), listing(500, next_user=user))
    assert opened(world, TEN, "a").start is None
    world.ledger.listed(run(2), listing(500, next_user=user))

    world.ledger.close(run(2), Ending("completed", Tally(), ""))

    assert opened(world, LATER, "b").start == user


def test_a_user_whose_turn_never_came_is_first_in_the_next_run(world: World) -> None:
    opened(world, TEN, "a")
    world.ledger.listed(run(1), listing(500, next_user=900))

    world.ledger.close(run(1), Ending("failed", Tally(), "", late_user=42))

    assert opened(world, LATER, "b").start == 42


def test_the_beginning_moves_back_to_the_first_user_when_all_had_their_turn(world: World) -> None:
    opened(world, TEN, "a")
    world.ledger.listed(run(1), listing(500, next_user=900))
    world.ledger.close(run(1), Ending("completed", Tally(), ""))
    opened(world, LATER, "b")
    world.ledger.listed(run(2, LATER), listing(500))

    world.ledger.close(run(2, LATER), Ending("completed", Tally(), ""))

    assert opened(world, THIRD, "c").start is None


def test_a_run_that_listed_nobody_leaves_the_beginning_where_it_was(world: World) -> None:
    opened(world, TEN, "a")
    world.ledger.listed(run(1), listing(500, next_user=900))
    world.ledger.close(run(1), Ending("completed", Tally(), ""))
    opened(world, LATER, "b")

    world.ledger.close(run(2, LATER), Ending("failed", Tally(), "the query is wrong"))

    assert opened(world, THIRD, "c").start == 900


def test_what_an_earlier_holder_of_the_lease_listed_is_not_taken(world: World) -> None:
    opened(world, TEN, "a")
    opened(world, TEN, "a")
    world.ledger.listed(run(2), listing(500, next_user=900))

    world.ledger.listed(run(1), listing(500, next_user=1))

    world.ledger.close(run(2), Ending("completed", Tally(), ""))
    assert opened(world, LATER, "b").start == 900


def test_a_run_learns_how_long_users_took_in_the_last_one(world: World) -> None:
    assert opened(world, TEN, "a").last is None
    world.ledger.listed(run(1), listing(250))
    world.ledger.close(run(1), Ending("completed", Tally(), "", called=200, api_ms=5_000))

    assert opened(world, LATER, "b").last == LastRun(user_ms=25.0, listed=250)


def test_a_run_that_had_a_fault_teaches_nothing_of_how_long_users_take(world: World) -> None:
    opened(world, TEN, "a")
    world.ledger.close(run(1), Ending("completed", Tally(), "", called=10, api_ms=400))
    opened(world, LATER, "b")
    timeouts = Ending("failed", Tally(), "", called=6, api_ms=30_000, fault="api_unreachable")
    world.ledger.close(run(2, LATER), timeouts)

    assert opened(world, THIRD, "c").last == LastRun(user_ms=40.0, listed=0)


def test_a_run_that_called_nobody_teaches_nothing(world: World) -> None:
    opened(world, TEN, "a")
    world.ledger.close(run(1), Ending("completed", Tally(), "", called=10, api_ms=400))
    opened(world, LATER, "b")
    world.ledger.close(run(2, LATER), Ending("failed", Tally(), ""))

    assert opened(world, THIRD, "c").last == LastRun(user_ms=40.0, listed=0)


def test_old_runs_are_forgotten_with_their_records(world: World) -> None:
    world.people(1)
    opened(world, TEN, "a")
    world.rows.write(TABLE, [record(0, [1])])
    world.wait(3 * 86_400)
    opened(world, LATER, "b")

    world.ledger.forget(keep_days=4)
    assert Total.of(world.ledger, TEN.run_id).rows == 1

    world.ledger.forget(keep_days=2)
    assert Total.of(world.ledger, TEN.run_id).rows == 0
    assert opened(world, LATER, "c") == Lease(False, reason="duplicate")


# --- marks, by the end of their run -----------------------------------------------------------


def failed(user: int, failures: int, slot: Slot) -> Record:
    """What a run tells of a user whose calls failed so many times in a row."""
    return replace(
        record(0, []),
        run_id=slot.run_id,
        version=slot.version,
        marks=(Mark(user, failures, "http_404"),),
    )


def test_a_mark_counts_once_its_run_has_closed(world: World) -> None:
    world.people(7)
    opened(world, TEN, "a")
    world.rows.write(TABLE, [failed(7, 1, TEN)])
    before = world.listed()
    world.ledger.close(run(1), Ending("failed", Tally(), "6 % are rejected"))

    assert before == [Candidate({"user_id": 7}, failures=0, failed_at=TEN.version)]
    assert world.listed() == [Candidate({"user_id": 7}, failures=1, failed_at=TEN.version)]


def test_a_run_with_a_fault_as_a_whole_leaves_no_marks(world: World) -> None:
    world.people(7, 8)
    opened(world, TEN, "a")
    world.rows.write(TABLE, [failed(7, 1, TEN)])
    world.ledger.close(run(1), Ending("completed", Tally(), ""))
    opened(world, LATER, "b")
    world.rows.write(TABLE, [replace(failed(7, 2, LATER), group=1), failed(8, 1, LATER)])
    world.ledger.close(run(2, LATER), Ending("failed", Tally(), "", fault="api_unreachable"))

    # What was known before is still known.
    assert [candidate.failures for candidate in world.listed()] == [1, 0]


def test_who_recovered_in_a_run_with_a_fault_has_recovered(world: World) -> None:
    world.people(7)
    opened(world, TEN, "a")
    world.rows.write(TABLE, [failed(7, 0, TEN)])
    world.ledger.close(run(1), Ending("failed", Tally(), "", fault="api_unreachable"))

    assert [candidate.failures for candidate in world.listed()] == [0]


def test_marks_of_a_run_that_the_ledger_has_forgotten_still_count(world: World) -> None:
    world.people(7)
    world.rows.write(TABLE, [failed(7, 3, TEN)])

    assert [candidate.failures for candidate in world.listed()] == [3]


def test_what_is_replayed_after_its_run_was_forgotten_is_forgotten_with_the_next(
    world: World,
) -> None:
    world.people(1)
    opened(world, TEN, "a")
    world.wait(3 * 86_400)
    opened(world, LATER, "b")
    world.ledger.forget(keep_days=2)

    world.rows.write(TABLE, [record(0, [1])])
    assert Total.of(world.ledger, TEN.run_id).rows == 1
    world.wait(3 * 86_400)
    opened(world, THIRD, "c")
    world.ledger.forget(keep_days=2)

    assert Total.of(world.ledger, TEN.run_id).rows == 0


@pytest.mark.parametrize("character", ["x", '"', "\\", "\x01", "\N{WAVING HAND SIGN}", "\u5e74"])
def test_a_run_may_begin_with_the_longest_id_whatever_it_is_made_of(
    world: World, character: str
) -> None:
    longest = character * USER_ID_CHARS
    lease = opened(world, TEN, "a")
    own = replace(run(lease.fence), version=lease.version)
    listing = Listing(listed=1, groups=[1], held_back=HeldBack(carried_over=1), next_user=longest)

    assert world.ledger.listed(own, listing)
    assert world.ledger.close(own, Ending("completed", Tally(), ""))

    assert opened(world, LATER, "b").start == longest
