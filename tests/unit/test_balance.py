"""What was put on the stream against what was written, group by group."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from batch_core.balance import FAILED, awaited_rows, balance
from batch_core.outcomes import Tally
from batch_core.ports import Written

USERS = 1_000


def written(chunk: int, group: int, rows: int) -> Written:
    return Written(chunk, group, rows, Tally(stored=rows))


def test_a_group_is_told_in_two_characters() -> None:
    event = {"awaited": ["00rs--", "01"]}

    assert awaited_rows(event) == {(0, 0): 0, (0, 1): USERS, (0, 2): None, (1, 0): 1}
    assert awaited_rows({"awaited": []}) == awaited_rows({}) == {}


def test_without_a_word_about_groups_everything_written_counts() -> None:
    found = balance({}, 0, [written(0, 0, 7), written(3, 9, 5)])

    assert (found.arrived.stored, found.missing, found.complete) == (12, -12, True)


def test_of_two_attempts_that_do_not_agree_the_one_that_was_promised_counts() -> None:
    attempts = [written(0, 0, rows) for rows in (148, 150, 75)]

    assert balance({(0, 0): 148}, 148, attempts).arrived.stored == 148
    assert balance({(0, 0): 149}, 149, attempts).silent == [(0, 0)]


groups = st.fixed_dictionaries(
    {
        "users": st.integers(1, USERS),
        "share": st.floats(0, 1),
        "failed": st.booleans(),
        # How many rows of the counted attempt are not there yet, and what others left.
        "delayed": st.integers(0, 3),
        "left_over": st.lists(st.integers(0, USERS), max_size=3),
    }
)


@given(st.lists(groups, max_size=6))
def test_a_run_balances_exactly_if_every_group_does(drawn: list[dict[str, Any]]) -> None:
    """Leftovers of superseded attempts neither hide a row that is missing nor count as one."""
    awaited: dict[tuple[int, int], int | None] = {}
    lines: list[Written] = []
    queued = late = retry_later = from_failed = 0
    for n, group in enumerate(drawn):
        place = (n // 2, n % 2)
        rows = round(group["users"] * group["share"])
        here = max(rows - group["delayed"], 0)
        if group["failed"]:
            awaited[place] = None
            retry_later += group["users"]
            lines += [written(*place, here)]
            from_failed += here
            continue
        awaited[place] = rows
        queued += rows
        late += rows - here
        # No attempt leaves as many rows behind as the one that counts still lacks.
        leftovers = [left for left in group["left_over"] if left < here or left > rows]
        lines += [written(*place, left) for left in leftovers]
        lines += [written(*place, here)] if here else []
    promised = Tally(queued=queued, retry_later=retry_later)

    found = balance(awaited, queued, lines)
    tally = found.settle(promised)

    assert (found.missing, found.complete) == (late, late == 0)
    assert tally.queued == 0
    assert tally.settled == queued + retry_later - late
    assert tally.stored == queued - late + from_failed
    assert tally.retry_later == retry_later - from_failed


def test_what_the_workflow_writes_for_a_failed_group_is_no_number() -> None:
    assert FAILED == "--"
    assert USERS < 36**2
