"""The job's table, in memory and in real databases."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch_core.errors import SchemaError
from batch_core.outcomes import Outcome, Tally
from batch_core.ports import Ending, Written
from batch_core.records import Record
from batch_core.run import Run, Slot
from batch_core.user_state import Mark
from tests.support.ledger import Total
from tests.support.world import TABLE, FakeWorld, MySqlWorld, World

RUN = "demo-20260131T100000Z"
_groups = count()


def record(
    version: int,
    texts: dict[int, str],
    *,
    run_id: str = RUN,
    group: int | None = None,
    data: object = None,
) -> Record:
    return Record(
        tenant="demo",
        run_id=run_id,
        chunk=0,
        group=next(_groups) % 65_536 if group is None else group,
        version=version,
        trace_id="",
        segment_id="",
        part=0,
        columns=("user_id", "text", "data"),
        rows=tuple((user, text, data) for user, text in texts.items()),
    )


def test_rows_are_stored_with_their_version(world: World) -> None:
    world.people(1, 2)

    assert world.rows.write(TABLE, [record(5, {1: "one", 2: "two"})]) == []
    assert world.notes() == {1: (5, "one"), 2: (5, "two")}


def test_a_newer_row_replaces_an_older(world: World) -> None:
    world.people(1)
    world.rows.write(TABLE, [record(5, {1: "old"})])
    world.rows.write(TABLE, [record(6, {1: "new"})])

    assert world.notes() == {1: (6, "new")}


def test_an_older_row_never_replaces_a_newer(world: World) -> None:
    world.people(1)
    world.rows.write(TABLE, [record(6, {1: "new"})])

    assert world.rows.write(TABLE, [record(5, {1: "old"})]) == []
    assert world.notes() == {1: (6, "new")}


def test_only_rows_that_were_written_are_stored_and_those_kept_out_are_unchanged(
    world: World,
) -> None:
    world.people(*range(1, 9))
    world.rows.write(TABLE, [record(6, {3: "new", 4: "new", 9: "nobody"}, run_id="newer")])
    world.rows.write(TABLE, [record(4, {5: "old", 6: "old"}, run_id="older")])
    mixed = {user: "x" * 21 if user == 8 else "mine" for user in range(1, 10)}

    world.rows.write(TABLE, [record(5, mixed, group=3)])

    (line,) = world.ledger.written(RUN, 0)
    tally = Tally(stored=5, unchanged=2, rejected=1, gone=1)
    assert line == Written(0, 3, 9, tally, kept=2)
    written = {user for user, (version, _) in world.notes().items() if version == 5}
    assert written == {1, 2, 5, 6, 7}


def test_of_one_write_only_the_newest_row_of_a_user_is_stored(world: World) -> None:
    world.people(1, 2)

    world.rows.write(
        TABLE,
        [
            record(5, {1: "five", 2: "five"}, run_id="five"),
            record(6, {1: "six"}, run_id="six"),
        ],
    )

    assert Total.of(world.ledger, "five") == Total(2, Tally(stored=1, unchanged=1))
    assert Total.of(world.ledger, "six") == Total(1, Tally(stored=1))


def test_two_attempts_at_one_group_store_the_same_rows(world: World) -> None:
    world.people(1, 2)
    first = record(5, {1: "one", 2: "two"}, group=0)
    again = replace(first, attempt=1)

    world.rows.write(TABLE, [first, again])
    world.rows.write(TABLE, [replace(first, attempt=2)])

    lines = world.ledger.written(RUN, 0)
    assert lines == [Written(0, 0, 2, Tally(stored=2))] * 3


def test_a_record_delivered_again_does_not_turn_stored_into_kept(world: World) -> None:
    world.people(1, 2)
    first = record(5, {1: "one", 2: "two"}, group=0)
    world.rows.write(TABLE, [first])
    world.rows.write(TABLE, [record(6, {1: "newer"}, run_id="newer")])

    for _ in range(2):
        world.rows.write(TABLE, [first])

    assert world.ledger.written(RUN, 0) == [Written(0, 0, 2, Tally(stored=2))]


def test_a_row_that_was_kept_out_stays_so_when_its_record_is_delivered_again(
    world: World,
) -> None:
    world.people(1, 2)
    world.rows.write(TABLE, [record(6, {1: "newer"}, run_id="newer")])
    mine = record(5, {1: "one", 2: "two"}, group=0)

    for _ in range(2):
        world.rows.write(TABLE, [mine])

    assert world.ledger.written(RUN, 0) == [Written(0, 0, 2, Tally(stored=1, unchanged=1), kept=1)]


def test_the_newest_of_one_write_wins_wherever_it_stands(world: World) -> None:
    world.people(1)
    world.rows.write(
        TABLE, [record(5, {1: "five"}), record(7, {1: "seven"}), record(6, {1: "six"})]
    )

    assert world.notes() == {1: (7, "seven")}


def test_a_row_that_does_not_fit_is_rejected_alone(world: World) -> None:
    world.people(*range(1, 8))
    bad = record(5, {user: "x" * 21 if user == 4 else "fits" for user in range(1, 8)})

    (rejected,) = world.rows.write(TABLE, [bad])

    assert (rejected.outcome, rejected.row[0]) == (Outcome.REJECTED, 4)
    assert rejected.error.startswith("1406")
    assert set(world.notes()) == {1, 2, 3, 5, 6, 7}
    assert Total.of(world.ledger, RUN) == Total(7, Tally(stored=6, rejected=1))


@pytest.mark.parametrize("key", [None, True, 1.5, [1], {"a": 1}])
def test_a_row_without_a_proper_key_is_rejected_alone(world: World, key: object) -> None:
    world.people(1, 2)
    odd = replace(record(5, {}), rows=((1, "one", None), (key, "odd", None), (2, "two", None)))

    (rejected,) = world.rows.write(TABLE, [odd])

    assert (rejected.outcome, rejected.row[0]) == (Outcome.REJECTED, key)
    assert set(world.notes()) == {1, 2}
    assert Total.of(world.ledger, RUN) == Total(3, Tally(stored=2, rejected=1))


def test_when_the_newest_row_does_not_fit_the_one_before_it_is_stored(world: World) -> None:
    world.people(1)
    rejected = world.rows.write(
        TABLE, [record(5, {1: "fits"}), record(6, {1: "x" * 21}), record(4, {1: "too old"})]
    )

    assert [row.record.version for row in rejected] == [6]
    assert world.notes() == {1: (5, "fits")}


def test_a_deleted_user_is_never_resurrected(world: World) -> None:
    world.people(1, 2)
    world.rows.write(TABLE, [record(5, {1: "one", 2: "two"})])
    world.forsake(1)

    (gone,) = world.rows.write(TABLE, [record(6, {1: "again", 2: "again"})])

    assert (gone.outcome, gone.row[0]) == (Outcome.GONE, 1)
    assert world.notes() == {2: (6, "again")}
    assert Total.of(world.ledger, RUN).tally == Tally(stored=3, gone=1)


def test_a_record_that_is_delivered_again_counts_once(world: World) -> None:
    world.people(1)
    delivered = record(5, {1: "x" * 21, 2: "nobody"})
    for _ in range(3):
        world.rows.write(TABLE, [delivered])

    assert Total.of(world.ledger, RUN) == Total(2, Tally(rejected=1, gone=1))


def test_a_record_that_is_twice_in_one_write_counts_once(world: World) -> None:
    world.people(1)
    twice = record(5, {1: "x" * 21})

    assert len(world.rows.write(TABLE, [twice, twice])) == 1
    assert Total.of(world.ledger, RUN) == Total(1, Tally(rejected=1))


def test_a_record_without_rows_is_entered_too(world: World) -> None:
    world.rows.write(TABLE, [record(5, {}, group=3)])

    assert Total.of(world.ledger, RUN) == Total(0, Tally())


def test_the_rows_of_a_replayed_record_are_stored_and_its_runs_account_stays_closed(
    world: World,
) -> None:
    world.people(1, 2)
    world.rows.write(TABLE, [record(5, {1: "one", 2: "x" * 21}, group=3)])

    world.rows.write(TABLE, [replace(record(5, {2: "two"}, group=3), replayed=True)])

    assert world.notes() == {1: (5, "one"), 2: (5, "two")}
    assert Total.of(world.ledger, RUN) == Total(2, Tally(stored=1, rejected=1))


def test_a_replayed_row_never_replaces_a_newer(world: World) -> None:
    world.people(1)
    world.rows.write(TABLE, [record(6, {1: "new"})])

    assert world.rows.write(TABLE, [replace(record(5, {1: "old"}), replayed=True)]) == []
    assert world.notes() == {1: (6, "new")}


def test_a_record_and_what_is_replayed_of_it_do_not_count_as_one(world: World) -> None:
    world.people(1, 2)
    whole = record(5, {1: "one", 2: "x" * 21}, group=3)
    replayed = replace(record(5, {2: "y" * 21}, group=3), replayed=True)

    rejected = world.rows.write(TABLE, [whole, replayed])

    assert len(rejected) == 2
    assert world.notes() == {1: (5, "one")}
    assert Total.of(world.ledger, RUN) == Total(2, Tally(stored=1, rejected=1))


def a_later_run(world: World, *, unchanged: int, closes: bool = True) -> None:
    """Let a run come that begins after that of version 5, with so many users unchanged."""
    slot = Slot("demo", datetime(2026, 1, 31, 10, 5, tzinfo=UTC))
    lease = world.ledger.open(slot, owner="a", started=slot.at, seconds=300, code="c0de")
    run = Run(slot.run_id, lease.version, lease.fence, 100, 0, 0)
    if closes:
        world.ledger.close(run, Ending("completed", Tally(unchanged=unchanged), ""))


@pytest.mark.parametrize("closes", [True, False])
def test_a_replayed_row_is_not_written_where_a_later_run_may_have_found_nothing_new(
    world: World, closes: bool
) -> None:
    world.people(1, 2)
    world.rows.write(TABLE, [record(4, {1: "current"})])
    world.rows.write(TABLE, [replace(record(5, {}), marks=(Mark(1, 7, "mysql_1406"),))])
    a_later_run(world, unchanged=1, closes=closes)

    refused = replace(record(5, {1: "older, refused", 2: "never stored"}), replayed=True)
    assert world.rows.write(TABLE, [refused]) == []

    assert world.notes() == {1: (4, "current")}
    # Both are asked by the next run, whatever they failed before.
    assert {user: failures for user, (_, failures, _) in world.known().items()}["1"] == 0


def test_a_replayed_row_is_written_if_no_later_run_found_anybody_unchanged(world: World) -> None:
    world.people(1)
    a_later_run(world, unchanged=0)

    world.rows.write(TABLE, [replace(record(5, {1: "replayed"}), replayed=True)])

    assert world.notes() == {1: (5, "replayed")}


def test_a_record_that_comes_when_its_run_is_over_gives_way_to_a_later_run_too(
    world: World,
) -> None:
    world.people(1, 2)
    world.rows.write(TABLE, [record(4, {1: "current"})])
    a_later_run(world, unchanged=1)

    world.rows.write(TABLE, [record(5, {1: "late", 2: "late"}, group=3, run_id="late")])

    assert world.notes() == {1: (4, "current")}
    assert world.ledger.written("late", 0) == [Written(0, 3, 2, Tally(unchanged=2), kept=2)]


def test_a_record_that_comes_in_time_asks_nobody(world: World) -> None:
    world.people(1)
    a_later_run(world, unchanged=1)
    now = int(time.time() * 1000)

    world.rows.write(TABLE, [record(now, {1: "in time"})])

    assert world.notes() == {1: (now, "in time")}


deliveries = st.lists(
    st.tuples(
        st.integers(1, 5),  # version
        st.dictionaries(st.integers(1, 4), st.just("fits"), max_size=4),
    ),
    min_size=1,
    max_size=6,
)


def converges(world: World, sent: list[tuple[int, dict[int, str]]], random: Random) -> None:
    """Deliver in any order, any number of times, in any batches: the newest of each user stays."""
    world.people(1, 2, 3)
    records = [
        record(version, {user: f"{user} at {version}" for user in texts}, group=group)
        for group, (version, texts) in enumerate(sent)
    ]
    newest: dict[object, tuple[int, str]] = {}
    for version, texts in sorted(sent, key=lambda delivery: delivery[0]):
        newest |= {user: (version, f"{user} at {version}") for user in texts if user != 4}
    delivered = records + random.choices(records, k=random.randrange(4))
    random.shuffle(delivered)
    while delivered:
        cut = random.randint(1, len(delivered))
        world.rows.write(TABLE, delivered[:cut])
        delivered = delivered[cut:]

    assert world.notes() == newest
    written = Total.of(world.ledger, RUN)
    assert written.rows == sum(len(texts) for _, texts in sent)
    assert written.rows == written.tally.settled


@given(sent=deliveries, random=st.randoms(use_true_random=False))
def test_any_delivery_converges_to_the_newest_in_memory(
    sent: list[tuple[int, dict[int, str]]], random: Random
) -> None:
    converges(FakeWorld(), sent, random)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sent=deliveries, random=st.randoms(use_true_random=False))
def test_any_delivery_converges_to_the_newest_in_the_database(
    mysql_world: MySqlWorld, sent: list[tuple[int, dict[int, str]]], random: Random
) -> None:
    mysql_world.empty()
    mysql_world.database.ask(lambda session: session.execute("DELETE FROM batch_record"))
    converges(mysql_world, sent, random)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(max_size=20), data=st.recursive(st.text(), st.lists, max_leaves=4))
def test_any_text_comes_back_as_it_was_sent(
    mysql_world: MySqlWorld, text: str, data: object
) -> None:
    mysql_world.empty()
    mysql_world.people(1)

    assert mysql_world.rows.write(TABLE, [record(1, {1: text}, data={"in": data})]) == []

    rows = mysql_world.database.ask(
        lambda s: s.rows("SELECT text, JSON_UNQUOTE(JSON_EXTRACT(data, '$.in')) FROM note")
    )
    assert rows[0][0] == text
    if isinstance(data, str):
        assert rows[0][1] == data


@pytest.mark.parametrize(
    "text", ["\\", "\\'", "'; DROP TABLE note; --", "\0", "%s", "😀\\😀", "\x1a"]
)
def test_text_that_means_something_to_sql_is_only_text(mysql_world: MySqlWorld, text: str) -> None:
    mysql_world.people(1)
    mysql_world.rows.write(TABLE, [record(1, {1: text[:20]})])

    assert mysql_world.notes() == {1: (1, text[:20])}


def test_a_table_that_is_not_as_expected_stores_nothing(mysql_world: MySqlWorld) -> None:
    mysql_world.people(1)
    mysql_world.database.ask(lambda session: session.execute("ALTER TABLE note DROP COLUMN data"))

    with pytest.raises(SchemaError, match="data"):
        mysql_world.rows.write(TABLE, [record(1, {1: "one"})])
    assert mysql_world.notes() == {}
    assert Total.of(mysql_world.ledger, RUN).rows == 0


def test_records_of_two_versions_of_a_job_are_stored_side_by_side(mysql_world: MySqlWorld) -> None:
    mysql_world.people(1, 2)
    old = record(1, {1: "one"})
    new = replace(record(1, {}), columns=("user_id", "text"), rows=((2, "two"),))

    assert mysql_world.rows.write(TABLE, [old, new]) == []
    assert mysql_world.notes() == {1: (1, "one"), 2: (1, "two")}


def test_marks_are_remembered_with_the_rows(world: World) -> None:
    world.people(1)
    marked = replace(record(5, {1: "one"}), marks=(Mark(7, 2, "http_500"), Mark("a'b", 1, "dns")))

    world.rows.write(TABLE, [marked])

    assert world.known() == {"7": (5, 2, "http_500"), "a'b": (5, 1, "dns")}


def test_a_record_without_rows_carries_marks_alone(world: World) -> None:
    world.rows.write(TABLE, [replace(record(5, {}), marks=(Mark(7, 2, "http_500"),))])

    assert world.known() == {"7": (5, 2, "http_500")}
    assert Total.of(world.ledger, RUN) == Total(0, Tally())


def test_who_is_stored_again_has_recovered(world: World) -> None:
    world.people(1, 2)
    world.rows.write(TABLE, [replace(record(5, {}), marks=(Mark(1, 2, "http_500"),))])

    world.rows.write(TABLE, [replace(record(6, {1: "one", 2: "two"}), failures=((1, 2),))])

    assert world.known() == {"1": (6, 0, "")}


def test_a_row_that_the_database_refuses_is_one_more_failure(world: World) -> None:
    world.people(1)

    world.rows.write(TABLE, [replace(record(6, {1: "x" * 21}), failures=((1, 2),))])

    assert world.known() == {"1": (6, 3, "mysql_1406")}


@given(st.permutations(range(1, 6)), st.integers(1, 5))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_newest_mark_wins_in_whatever_order_and_batches_they_arrive(
    world: World, order: list[int], size: int
) -> None:
    user = next(_groups)
    marked = [
        replace(record(version, {}), marks=(Mark(user, version, f"error {version}"),))
        for version in order
    ]

    for start in range(0, len(marked), size):
        world.rows.write(TABLE, marked[start : start + size])
        world.rows.write(TABLE, marked[start : start + size])

    assert world.known()[str(user)] == (5, 5, "error 5")
