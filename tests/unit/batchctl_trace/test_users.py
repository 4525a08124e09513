"""One user, from the chunk that lists it to what became of it."""

from __future__ import annotations

import json

import pytest

from batch_core.chunks import pack, serialise
from batch_core.observability import pseudonym
from batchctl.errors import BatchctlError
from batchctl.run.collect import Collector
from batchctl.trace.users import Journey, Seat, find_user, follow, groups_of
from tests.support.express_log import EXECUTION
from tests.support.put_aside import FakeBucket
from tests.support.run_lines import RUN, FakeLogs, groups_failed, invocation, listed, received


def chunk(*users: int, group_size: int = 2) -> bytes:
    """A chunk as List Users writes it; every third user has failed before."""
    listed = [serialise({"user_id": u, "name": "ü" * u}, 2 if u % 3 == 0 else 0) for u in users]
    return pack(listed, group_size)[0]


OBJECTS = {
    f"runs/{RUN}/1/chunks/0": chunk(6, 7),
    f"runs/{RUN}/2/chunks/0": chunk(1, 2, 3),
    f"runs/{RUN}/2/chunks/10": chunk(4, 5, 6, 7, 8),
    f"runs/{RUN}/2/breaker": b"{}",
}


def lines(*more: tuple[str, str], rows: int = 2, arrived: bool = True) -> Collector:
    logs = FakeLogs()
    logs.write("List Users", listed(8, execution=EXECUTION), 1_000)
    logs.write("Call API", invocation("Call API", 1, 10, init_ms=400.0, duration_ms=200.0), 2_000)
    logs.write("Process Users", invocation("Process Users", 1, 10, rows=rows), 2_100)
    if arrived:
        logs.write("Write Rows", received(rows, (10, 1)), 2_300)
    for state, text in more:
        logs.write(state, text, 2_050)
    found = Collector(logs, RUN, since_ms=0, group_size=2)
    found.sweep()
    return found


def followed(user: str, found: Collector, **objects: bytes) -> Journey:
    put_aside = {f"quarantine/{RUN}/{name}.json": body for name, body in objects.items()}
    return follow(user, "demo", RUN, found, FakeBucket(OBJECTS | put_aside))


def without(error: str, *users: int) -> tuple[str, str]:
    examples = [pseudonym("demo", user) for user in users]
    failure = {"outcome": "rejected", "error": error, "users": 1, "examples": examples}
    line = {"message": "users without a row", "run_id": RUN, "state": "Call API", "chunk": 10}
    return "Call API", json.dumps(line | {"level": "WARNING", "group": 1, "failures": [failure]})


def test_a_chunk_is_read_group_by_group_whatever_its_users_carry() -> None:
    assert list(groups_of(chunk(1, 2, 3, 4, 5))) == [["1", "2"], ["3", "4"], ["5"]]
    assert list(groups_of(b"")) == []


def test_a_user_is_found_in_the_chunks_of_the_last_holder_of_the_lease() -> None:
    bucket = FakeBucket(dict(OBJECTS))
    assert find_user(bucket, RUN, "7") == Seat(10, 1, 2)
    assert find_user(bucket, RUN, "3") == Seat(0, 1, 1)
    assert find_user(bucket, RUN, "9") is None


def test_chunks_that_are_gone_are_named_with_what_the_logs_call_the_user() -> None:
    with pytest.raises(BatchctlError, match=pseudonym("demo", "7")):
        follow("7", "demo", RUN, lines(), FakeBucket({}))


def test_a_user_is_followed_from_the_listing_to_the_writer() -> None:
    journey = followed("7", lines())
    assert (journey.pseudonym, journey.chunk, journey.group) == (pseudonym("demo", "7"), 10, 1)
    assert [(stop.at_ms, stop.where, stop.what) for stop in journey.stops] == [
        (1_000, "List Users", "in chunk 10, group 1"),
        (1_800, "Call API", "200 ms, after a cold start of 400 ms"),
        (2_090, "Process Users", "10 ms"),
        (2_300, "Write Rows", "received the rows of the group"),
    ]
    assert (journey.outcome, journey.certain) == (
        "stored: nobody of the group failed",
        False,
    )


def test_a_user_that_the_log_names_by_pseudonym_has_that_outcome() -> None:
    found = lines(without("http_404", 7))
    journey = followed("7", found)
    assert (journey.outcome, journey.certain) == ("rejected: http_404", True)
    assert any(stop.what == "named without a row: rejected, http_404" for stop in journey.stops)


@pytest.mark.parametrize(
    ("rows", "arrived", "failed", "outcome", "certain"),
    [
        (0, False, False, "unchanged: there was nothing new for anyone of the group", True),
        (1, True, False, "stored or unchanged: nobody of the group failed", False),
        (
            2,
            False,
            False,
            "put on the stream, if there was anything new, and not received yet",
            False,
        ),
        (
            1,
            True,
            True,
            "stored, unless among those of the group that have no row: 1 rejected (http_404)",
            False,
        ),
        (
            0,
            False,
            True,
            "unchanged, unless among those of the group that have no row: 1 rejected (http_404)",
            False,
        ),
    ],
)
def test_of_a_user_whom_no_line_names_the_group_tells(
    rows: int, arrived: bool, failed: bool, outcome: str, certain: bool
) -> None:
    more = [without("http_404", 6)] if failed else []
    journey = followed("7", lines(*more, rows=rows, arrived=arrived))
    assert (journey.outcome, journey.certain) == (outcome, certain)


def test_a_row_that_was_put_aside_is_found_with_its_error() -> None:
    body = {"rejected": [{"row": [6, "x"], "error": "1048"}, {"row": [7, "y"], "error": "1406"}]}
    name = "10-1-0"
    journey = followed("7", lines(), **{name: json.dumps(body).encode()})
    told = f"put aside in quarantine/{RUN}/10-1-0.json: 1406"
    assert (journey.outcome, journey.certain) == (f"rejected: {told}", True)


def test_a_group_that_was_not_processed_leaves_its_users_for_the_next_run() -> None:
    journey = followed("1", lines())
    assert (journey.chunk, journey.group) == (0, 0)
    assert (journey.outcome, journey.certain) == ("retry_later: the group was not processed", False)


def test_a_user_of_a_group_that_failed_is_told_where_it_failed() -> None:
    told = groups_failed((0, 0, "Call API", "Runtime.ExitError"))
    journey = followed("1", lines(("Finish Run", told)))
    assert (journey.outcome, journey.certain) == (
        "retry_later: the group failed in Call API: Runtime.ExitError",
        True,
    )


def test_a_user_whom_no_chunk_lists_was_not_in_the_run() -> None:
    journey = followed("9", lines())
    assert (journey.chunk, journey.certain) == (None, True)
    assert journey.outcome.startswith("not in this run")
    assert [stop.what for stop in journey.stops] == ["in no chunk"]
