"""List Users: the lease, the chunks, the users that cannot be processed."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Generator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core import chunks
from batch_core.chunks import Chunk
from batch_core.cursor import Cursor
from batch_core.errors import ConfigurationError, JobError, SchemaError, TransientDatabaseError
from batch_core.job import User
from batch_core.limits import CHUNKS_PER_RUN, GROUPS_PER_CHUNK
from batch_core.list_users import UserLister
from batch_core.observability import logger, pseudonym
from batch_core.outcomes import Tally
from batch_core.ports import Candidate, Ending, HeldBack, Listing
from batch_core.run import Run
from batch_core.settings.list_users import ListUsersSettings
from tests.support.fakes import FakeDatabase, FakePayloadStore, FakeRunLedger, FakeUserSource

RUN_ID = "demo-20260131T100000Z"


def event(scheduled_time: Any = "2026-01-31T10:00:00Z", **changes: Any) -> dict[str, Any]:
    """What List Users is asked by an execution that starts as scheduled."""
    return {
        "scheduled_time": scheduled_time,
        "started_at": scheduled_time,
        "execution": "execution-1",
        "group_size": None,
    } | changes


def configured(**changes: Any) -> ListUsersSettings:
    values: dict[str, Any] = {
        "tenant_id": "demo",
        "aws_region": "eu-west-1",
        "database_endpoint": "",
        "database_port": 3306,
        "database_name": "",
        "database_user": "",
        "database_secret_arn": "",
        "database_ca_file": "",
        "payload_bucket": "",
        "schedule_minutes": 5,
        "chunk_size": 10,
        "users_per_invocation": 4,
        "chunk_concurrency": 2,
        "group_concurrency": 3,
        "api_requests_per_second": 0.0,
        "quarantine_after": 5,
        "quarantine_hours": 24,
    }
    return ListUsersSettings(**values | changes)


class Stage:
    """A lister on fakes."""

    def __init__(
        self,
        users: list[User],
        *,
        fault: Exception | None = None,
        known: dict[object, tuple[int, int]] | None = None,
        **settings: Any,
    ):
        self.database = FakeDatabase()
        self.ledger = FakeRunLedger(self.database)
        self.store = FakePayloadStore()
        self.source = FakeUserSource(users, fault=fault, known=known)
        self.list = UserLister(
            settings=configured(**settings),
            query="SELECT",
            code="c0de",
            users=self.source,
            ledger=self.ledger,
            store=self.store,
        )

    def end(self, answer: dict[str, Any], **figures: Any) -> None:
        """End the run, as Finish Run does."""
        run = Run.from_json(answer["run"])
        self.ledger.close(run, Ending("completed", Tally(), "", **figures))

    def listed(self, answer: dict[str, Any]) -> list[User]:
        """Read back every group of every chunk, in the order in which the Maps begin them."""
        run, at_once = Run.from_json(answer["run"]), answer["lanes"]["chunks"]
        pointers = [Chunk.from_json(pointer) for pointer in answer["chunks"]]
        places = [(c.n // at_once, group, c.n) for c in pointers for group in range(c.groups)]
        return [
            listed.user
            for _, group, n in sorted(places)
            for listed in self._group(run, pointers[n], group)
        ]

    def _group(self, run: Run, chunk: Chunk, group: int) -> list[chunks.Listed]:
        body = self.store.get(chunk.key(run), etag=chunk.etag, span=chunk.span(group))
        return chunks.unpack(body, expected=chunk.users_in(group, run.group_size))


def people(count: int) -> list[User]:
    return [{"user_id": n, "account": f"a{n}"} for n in range(count)]


def test_every_user_is_in_one_group_of_one_chunk() -> None:
    stage = Stage(people(23))

    answer = stage.list(event())

    assert answer["decision"] == "process"
    assert answer["listed"] == 23
    # Ten users are two whole groups of four and a half one: a chunk takes eight.
    assert [(c["n"], c["users"], c["groups"]) for c in answer["chunks"]] == [
        (0, 8, 2),
        (1, 8, 2),
        (2, 7, 2),
    ]
    assert stage.listed(answer) == people(23)
    assert set(answer["tally"].values()) == {0}


@given(
    users=st.integers(0, 60),
    chunk_size=st.integers(1, 50),
    group_size=st.integers(1, 50),
)
def test_whatever_the_sizes_no_user_is_lost_or_doubled(
    users: int, chunk_size: int, group_size: int
) -> None:
    stage = Stage(people(users), chunk_size=chunk_size, users_per_invocation=group_size)

    answer = stage.list(event())

    assert stage.listed(answer) == people(users)
    assert all(c["groups"] <= GROUPS_PER_CHUNK for c in answer["chunks"])
    # Only the last group may be short.
    assert sum(c["users"] % group_size > 0 for c in answer["chunks"]) <= 1


def test_objects_carry_the_run_and_the_fence_in_key_and_metadata() -> None:
    stage = Stage(people(9))
    stage.list(event())
    stage.store.objects.clear()

    stage.list(event())

    assert set(stage.store.objects) == {f"runs/{RUN_ID}/2/chunks/0", f"runs/{RUN_ID}/2/chunks/1"}
    assert stage.store.metadata[f"runs/{RUN_ID}/2/chunks/0"] == {"run-id": RUN_ID, "fence": "2"}


def test_the_run_that_is_handed_on_is_complete() -> None:
    started = "2026-01-31T10:00:02.500Z"
    answer = Stage(people(1)).list(event(group_size=3, started_at=started))

    assert answer["run"] == {
        "id": RUN_ID,
        "version": 1769853600000,
        "fence": 1,
        "group_size": 3,
        "requests_per_second": 0.0,
        # 10:00:02.5, plus 285 seconds for the run, less 60 for its end
        "ends_at": 1769853602.5 + 225,
        "first_calls": 99,
        "later_calls": 1.0,
        "fair_seconds": 200.0,
    }


def test_what_is_handed_on_grows_only_by_a_pointer_per_chunk() -> None:
    few = Stage(people(400), chunk_size=100).list(event())
    many = Stage(people(4_000), chunk_size=1_000).list(event())

    assert len(few["chunks"]) == len(many["chunks"]) == 4
    assert len(json.dumps(many)) <= len(json.dumps(few)) + 20


def test_no_users_are_an_empty_run() -> None:
    stage = Stage([])

    answer = stage.list(event())

    assert (answer["decision"], answer["listed"], answer["chunks"]) == ("process", 0, [])
    assert stage.database.runs[RUN_ID].listing == Listing(0, [], HeldBack())
    assert stage.store.objects == {}


def test_the_ledger_learns_what_was_listed() -> None:
    stage = Stage([*people(23), {"user_id": None}])
    stage.list(event())

    assert stage.database.runs[RUN_ID].listing == Listing(24, [2, 2, 2], HeldBack())
    assert stage.database.runs[RUN_ID].code == "c0de"


@pytest.mark.parametrize(
    "user",
    [
        {"user_id": None, "account": "x"},
        {"user_id": 7, "account": b"\xff"},
        {"user_id": 7, "account": "x" * 5_000},
    ],
)
def test_a_user_that_cannot_be_processed_is_rejected_alone(
    user: User, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Stage([*people(3), user, *people(6)[3:]])

    answer = stage.list(event())

    assert answer["listed"] == 7
    assert answer["tally"]["rejected"] == 1
    assert stage.listed(answer) == people(6)


def test_the_log_never_tells_who_was_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = io.StringIO()
    for handler in logger.handlers:
        monkeypatch.setattr(handler, "stream", lines)
    Stage([{"user_id": 4711_0815, "account": "canary" * 1_000}]).list(event())

    assert "users without a row" in lines.getvalue()
    assert pseudonym("demo", 4711_0815) in lines.getvalue()
    assert "47110815" not in lines.getvalue()
    assert "canary" not in lines.getvalue()


def test_database_types_become_text() -> None:
    stage = Stage(
        [
            {
                "user_id": 1,
                "at": datetime(2026, 1, 31, 9, 5, tzinfo=UTC),
                "on": date(2026, 1, 31),
                "n": Decimal("1.50"),
            }
        ]
    )

    assert stage.listed(stage.list(event())) == [
        {"user_id": 1, "at": "2026-01-31T09:05:00+00:00", "on": "2026-01-31", "n": "1.50"}
    ]


def test_a_query_without_a_user_id_is_the_jobs_error() -> None:
    stage = Stage([{"id": 1}])

    with pytest.raises(JobError, match="user_id"):
        stage.list(event())


def test_a_second_execution_of_the_slot_is_a_duplicate() -> None:
    stage = Stage(people(3))
    stage.list(event())

    answer = stage.list(event(execution="execution-2"))

    assert (answer["decision"], answer["listed"], answer["chunks"]) == ("duplicate", 0, [])
    assert answer["run"]["id"] == RUN_ID
    assert len(stage.source.queries) == 1


def test_the_next_slot_is_skipped_while_this_one_runs() -> None:
    stage = Stage(people(3))
    stage.list(event())

    answer = stage.list(event(scheduled_time="2026-01-31T10:05:00Z", execution="execution-2"))

    assert (answer["decision"], answer["listed"]) == ("skipped", 0)


def test_the_lease_outlives_the_execution_but_not_the_next_slot_by_much() -> None:
    stage = Stage(people(1))
    stage.list(event())

    assert 285 <= stage.database.expires_at <= 300


@pytest.mark.parametrize("size", [0, -1, 1001, 2.5, "4", True])
def test_a_group_size_out_of_bounds_is_refused_before_anything_happens(size: object) -> None:
    stage = Stage(people(3))

    with pytest.raises(ConfigurationError, match=r"group_size .* 1 to 1000"):
        stage.list(event(group_size=size))
    assert stage.database.runs == {}


@pytest.mark.parametrize(
    ("field", "value"), [("everyone", "yes"), ("everyone", 1), ("max_age_minutes", 0)]
)
def test_an_input_that_cannot_be_meant_is_refused(field: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=field):
        Stage(people(3)).list(event(**{field: value}))


def test_a_start_delivered_too_late_is_left_to_a_later_run() -> None:
    stage = Stage(people(3))
    late = event(started_at="2026-01-31T10:05:00.001Z", max_age_minutes=5)

    assert (stage.list(late)["decision"], stage.database.runs) == ("late", {})


def test_a_start_delivered_just_in_time_is_processed() -> None:
    in_time = event(started_at="2026-01-31T10:05:00Z", max_age_minutes=5)

    assert Stage(people(3)).list(in_time)["decision"] == "process"


def test_a_start_by_hand_may_stand_for_any_time() -> None:
    assert Stage(people(3)).list(event(started_at="2026-03-01T00:00:00Z"))["decision"] == "process"


def test_more_users_than_a_run_takes_are_carried_over_to_the_next() -> None:
    stage = Stage(people(CHUNKS_PER_RUN + 5), chunk_size=1, users_per_invocation=1)

    first = stage.list(event())
    stage.end(first)
    second = stage.list(event(scheduled_time="2026-01-31T10:05:00Z"))

    assert (first["listed"], first["tally"]["skipped"]) == (105, 5)
    assert first["held_back"] == {"backing_off": 0, "quarantined": 0, "carried_over": 5}
    assert stage.listed(second)[:6] == [*people(105)[100:], *people(1)]


def test_every_user_has_a_turn_however_few_fit_into_a_run() -> None:
    stage = Stage(people(50), chunk_size=100, api_requests_per_second=0.1)
    asked: Counter[object] = Counter()

    for minute in range(0, 25, 5):
        answer = stage.list(event(scheduled_time=f"2026-01-31T10:{minute:02}:00Z"))
        asked.update(user["user_id"] for user in stage.listed(answer))
        stage.end(answer)

    # 0.1 per second are 22 users in 225 seconds.
    assert asked.total() == 5 * 22
    assert set(asked) == set(range(50))
    assert max(asked.values()) - min(asked.values()) <= 1


def test_a_user_who_failed_is_asked_less_and_less_often() -> None:
    version = 1769853600000
    known = {1: (1, version - 300_000), 2: (2, version - 300_000), 3: (7, version - 3_600_000)}
    stage = Stage(people(5), known=known)  # type: ignore[arg-type]

    answer = stage.list(event())

    assert [user["user_id"] for user in stage.listed(answer)] == [0, 1, 4]
    assert answer["tally"]["skipped"] == 2
    assert answer["held_back"] == {"backing_off": 1, "quarantined": 1, "carried_over": 0}


def test_breaks_are_counted_by_the_slots_time_and_by_the_clock_where_versions_are_ahead() -> None:
    version = 1769853600000
    known: dict[object, tuple[int, int]] = {1: (3, version - 300_000)}

    late = Stage(people(2), known=known).list(event(started_at="2026-01-31T12:00:00Z"))
    assert late["held_back"]["backing_off"] == 1

    ahead = Stage(people(2), known={1: (3, version + 86_400_000)})
    ahead.database.version = version + 86_400_000
    assert ahead.list(event())["held_back"]["backing_off"] == 0


def test_everyone_is_asked_when_somebody_says_so() -> None:
    version = 1769853600000
    stage = Stage(people(5), known={2: (2, version - 300_000), 3: (7, version - 3_600_000)})

    assert stage.listed(stage.list(event(everyone=True))) == people(5)


def test_what_is_known_of_a_user_travels_with_the_user() -> None:
    stage = Stage(people(3), known={1: (1, 0)})

    answer = stage.list(event())

    chunk = Chunk.from_json(answer["chunks"][0])
    body = stage.store.get(chunk.key(Run.from_json(answer["run"])))
    assert [listed.failures for listed in chunks.unpack(body, expected=3)] == [0, 1, 0]


def test_after_a_run_in_which_the_api_failed_everyone_is_asked() -> None:
    stage = Stage(people(300), chunk_size=500, users_per_invocation=50)
    stage.end(stage.list(event()), stopped=300, fault="api_unreachable", called=6, api_ms=90_000)

    healed = stage.list(event(scheduled_time="2026-01-31T10:05:00Z"))

    assert len(stage.listed(healed)) == 300


def test_a_run_says_what_may_be_asked_before_the_api_answers_and_what_a_group_may_take() -> None:
    stage = Stage(
        people(3_000),
        chunk_size=5_000,
        users_per_invocation=200,
        chunk_concurrency=1,
        group_concurrency=5,
    )

    run = Run.from_json(stage.list(event())["run"])

    # 100 calls: five environments, and 15 groups.
    assert (run.first_calls, run.later_calls) == (17, 1.0)
    assert run.fair_seconds == pytest.approx(200 / 3, abs=0.1)


def test_a_run_is_no_wider_than_what_may_be_called_in_vain() -> None:
    stage = Stage(
        people(300),
        chunk_size=5_000,
        users_per_invocation=1,
        chunk_concurrency=4,
        group_concurrency=40,
    )

    assert stage.list(event())["lanes"] == {"chunks": 4, "groups": 25}


def test_a_connection_lost_while_listing_costs_the_listing_and_nothing_else() -> None:
    stage = Stage(people(30))
    whole = stage.source.users
    broken = iter([TransientDatabaseError("2013: lost")])

    def first_breaks(query: str, *, start: Cursor | None = None) -> Generator[Candidate]:
        yield from list(whole(query, start=start))[:17]
        if (error := next(broken, None)) is not None:
            raise error
        yield from list(whole(query, start=start))[17:]

    stage.source.users = first_breaks  # type: ignore[method-assign]

    answer = stage.list(event())

    assert (answer["listed"], stage.listed(answer)) == (30, people(30))


@pytest.mark.parametrize("fault", [SchemaError("1054"), TransientDatabaseError("2013")])
def test_a_listing_that_fails_gives_its_lease_back(fault: Exception) -> None:
    stage = Stage(people(30), fault=fault)

    with pytest.raises(type(fault)):
        stage.list(event())

    assert stage.database.runs[RUN_ID].status == "failed"
    ending = stage.database.runs[RUN_ID].ending
    assert ending is not None
    assert "List Users" in ending.reason
    stage.source.fault = None
    later = event(scheduled_time="2026-01-31T10:05:00Z", execution="execution-2")
    assert stage.list(later)["decision"] == "process"


def test_when_the_lease_cannot_be_given_back_the_first_error_is_told() -> None:
    stage = Stage(people(30), fault=SchemaError("1054: the first"))
    stage.source.users = breaking(stage)  # type: ignore[method-assign]

    with pytest.raises(SchemaError, match="the first"):
        stage.list(event())


def breaking(stage: Stage) -> Any:
    def users(_query: str, *, start: object) -> Generator[Candidate]:
        stage.database.outages.append(TransientDatabaseError("2006: the second"))
        raise SchemaError("1054: the first")
        yield  # makes it a generator

    return users


@pytest.mark.parametrize(
    ("users", "rate"),
    [
        (4, 60.0),  # one group alone
        (8, 30.0),  # two groups of one chunk
        (16, 15.0),  # two chunks of two groups
        (40, 15.0),  # five chunks, of which two run at once
    ],
)
def test_the_groups_that_run_at_once_share_the_tenants_rate(users: int, rate: float) -> None:
    stage = Stage(people(users), chunk_size=8, api_requests_per_second=60.0)

    assert stage.list(event())["run"]["requests_per_second"] == rate


def test_the_rate_is_shared_by_no_more_groups_than_the_map_runs() -> None:
    stage = Stage(people(40), chunk_size=40, api_requests_per_second=60.0)

    assert stage.list(event())["run"]["requests_per_second"] == 20.0


def test_a_chunk_that_cannot_be_written_ends_the_reading_and_closes_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(people(1_000), chunk_size=10, users_per_invocation=10)
    read: list[int] = []
    ended: list[str] = []
    close = FakeRunLedger.close

    def close_run(ledger: FakeRunLedger, run: Run, ending: Ending) -> bool:
        ended.append("the run")
        return close(ledger, run, ending)

    def users(query: str, *, start: Cursor | None = None) -> Generator[Candidate]:
        try:
            for candidate in FakeUserSource(people(1_000)).users(query, start=start):
                read.append(1)
                yield candidate
        finally:
            ended.append("the reading")

    def refuse(*_: Any, **__: Any) -> str:
        raise OSError("S3 says no")

    monkeypatch.setattr(stage.source, "users", users)
    monkeypatch.setattr(stage.store, "put", refuse)
    monkeypatch.setattr(FakeRunLedger, "close", close_run)

    with pytest.raises(OSError, match="S3 says no"):
        stage.list(event())

    assert len(read) < 30
    assert ended == ["the reading", "the run"]
    (run,) = stage.database.runs.values()
    assert run.ending is not None
    assert run.ending.reason == "List Users: OSError: S3 says no"
