"""Call API: each user of a group ends in the claim or in the tally, exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batch_core import claims
from batch_core.answers import Answered, Answers, Gathering, read_part
from batch_core.breaker import Breakers
from batch_core.call_api import (
    MARGIN_SECONDS,
    SHARED_READ_BELOW,
    ChunkReader,
    call_api,
    idempotency_key,
)
from batch_core.chunks import Chunk, pack, serialise
from batch_core.codec import dump_json, parse_json
from batch_core.errors import PayloadAlteredError, PayloadMissingError
from batch_core.job import Job, RejectError, Request, Response, Table, User
from batch_core.observability import pseudonym
from batch_core.outcomes import Outcome, Tally
from batch_core.ports import LATE, Answer, Failure
from batch_core.run import Run
from batch_core.user_state import Mark
from tests.support.etags import bound
from tests.support.fakes import FakePayloadStore
from tests.support.fakes_api import FakeApi, Served

NOW = 1_000_000.0


def request(user: User) -> Request:
    return Request(f"/users/{user['user_id']}", etag=user.get("etag"))


def new(user: int) -> str:
    """The ETag that the fake API gives for a user."""
    return bound('"new"', Request(f"/users/{user}"), base_url="")


def job(request: Callable[[User], Request] = request) -> Job:
    return Job(
        users="SELECT 1", table=Table("t", columns=("c",)), request=request, process=lambda *_: None
    )


JOB = job()


class World:
    """One chunk of users in a bucket, and an API that knows every user.

    `failures` says how often users failed before, by position.
    """

    def __init__(
        self,
        users: Sequence[User],
        *,
        group_size: int = 100,
        failures: Mapping[int, int] | None = None,
    ) -> None:
        self.run = Run(
            id="demo-20260131T102000Z",
            version=1,
            fence=1,
            group_size=group_size,
            requests_per_second=2.5,
            ends_at=NOW + 60,
        )
        self.store = FakePayloadStore()
        before = failures or {}
        listed = [serialise(user, before.get(n, 0)) for n, user in enumerate(users)]
        body, groups, stride = pack(listed, group_size)
        etag = self.store.put(f"{self.run.prefix}/chunks/4", body, metadata={})
        self.chunk = Chunk(n=4, users=len(users), groups=groups, stride=stride, etag=etag)
        self.api = FakeApi()
        for user in users:
            path = f"/users/{user['user_id']}"
            self.api.serve(path, Served(body=b'{"id":%d}' % user["user_id"], etag='"new"'))
        self.reader = ChunkReader(self.store)
        self.now = NOW
        self.breakers = Breakers(lambda: self.now)
        self.late = self.api_ms = self.called = self.stopped = -1
        self.marks: Sequence[Mark] = ()

    def call(
        self, group: int = 0, *, job: Job = JOB, seconds: float = 30.0
    ) -> tuple[list[Any], Tally]:
        output = call_api(
            {"run": self.run.to_json(), "chunk": self.chunk.to_json(), "group": group},
            tenant="demo",
            job=job,
            reader=self.reader,
            store=self.store,
            api=self.api,
            breakers=self.breakers,
            seconds=seconds,
            now=lambda: self.now,
        )
        assert output.keys() == {"claim", "tally", "called", "api_ms", "late", "stopped"}
        self.late, self.api_ms = output["late"], output["api_ms"]
        self.called, self.stopped = output["called"], output["stopped"]
        answers = Answers.from_json(claims.redeem(output["claim"], run=self.run, store=self.store))
        self.marks = answers.marks
        parts = [claims.redeem(claim, run=self.run, store=self.store) for claim in answers.spilled]
        self.spilled = len(parts)
        told = [
            (answered.user, answered.response)
            for part in (*parts, answers.last)
            for answered in read_part(part)
        ]
        claimed = [[user, r.status, r.etag, r.body] for user, r in told]
        return claimed, Tally.from_json(output["tally"])


def users(count: int) -> list[User]:
    return [{"user_id": n, "name": f"user {n}"} for n in range(count)]


def test_each_answer_is_claimed_with_its_user() -> None:
    world = World(users(3))
    claimed, tally = world.call()
    assert claimed == [
        [{"user_id": n, "name": f"user {n}"}, 200, new(n), b'{"id":%d}' % n] for n in range(3)
    ]
    assert tally == Tally()


def test_a_group_is_its_slice_of_the_chunk_and_nothing_else() -> None:
    world = World(users(25), group_size=10)
    read = [[user["user_id"] for user, *_ in world.call(group)[0]] for group in range(3)]
    assert read == [list(range(10)), list(range(10, 20)), list(range(20, 25))]
    key = f"{world.run.prefix}/chunks/4"
    assert world.store.reads == [(key, world.chunk.span(group)) for group in range(3)]


def test_small_groups_share_one_read_of_their_chunk() -> None:
    world = World(users(5), group_size=1)
    for group in range(5):
        assert [user["user_id"] for user, *_ in world.call(group)[0]] == [group]
    assert world.store.reads == [(f"{world.run.prefix}/chunks/4", None)]


def test_from_ten_users_on_a_group_reads_its_own_slice() -> None:
    for size, span in ((SHARED_READ_BELOW - 1, False), (SHARED_READ_BELOW, True)):
        world = World(users(30), group_size=size)
        world.call()
        assert [bool(span) for _, span in world.store.reads] == [span]


@pytest.mark.parametrize("group_size", [1, 100])
def test_a_chunk_that_was_replaced_is_an_error_and_never_old_data(group_size: int) -> None:
    world = World(users(3), group_size=group_size)
    world.call()
    world.chunk = Chunk(n=4, users=3, groups=3, stride=world.chunk.stride, etag="other")
    with pytest.raises(PayloadAlteredError):
        world.call()


def test_a_chunk_that_is_gone_is_an_error() -> None:
    world = World(users(3))
    world.store.objects.clear()
    with pytest.raises(PayloadMissingError):
        world.call()


def test_what_the_api_has_not_changed_is_unchanged() -> None:
    world = World([{"user_id": 1, "etag": new(1)}, {"user_id": 2, "etag": '"old"'}])
    claimed, tally = world.call()
    assert [user["user_id"] for user, *_ in claimed] == [2]
    assert tally == Tally(unchanged=1)


def test_a_failure_is_its_users_own() -> None:
    world = World(users(4))
    world.api.serve("/users/1", Served(404))
    world.api.serve("/users/2", Served(503))
    claimed, tally = world.call()
    assert [user["user_id"] for user, *_ in claimed] == [0, 3]
    assert tally == Tally(rejected=1, retry_later=1)


def keys_of(world: World) -> list[str]:
    """The idempotency keys that the job is given for the users of a group."""

    def with_key(user: User) -> Request:
        return Request(f"/users/{user['user_id']}", headers={"Key": user["idempotency_key"]})

    world.call(job=replace(JOB, request=with_key))
    asked, world.api.asked = world.api.asked, []
    return [request.headers["Key"] for request in asked]


def test_each_attempt_of_a_run_has_the_same_key_for_a_user_and_the_next_run_another() -> None:
    world = World(users(3))
    keys = keys_of(world)
    assert len(set(keys)) == 3
    # The workflow starts the function again, or the whole listing.
    assert keys_of(world) == keys
    assert [idempotency_key(replace(world.run, fence=9), user) for user in range(3)] == keys
    other = replace(world.run, id="demo-20260131T103000Z")
    assert {idempotency_key(other, user) for user in range(3)}.isdisjoint(keys)


def test_what_must_not_be_sent_twice_is_not_sent_by_a_second_attempt_of_the_run() -> None:
    """The first attempt died: all that is left of it is what it wrote to S3."""

    def mixed(user: User) -> Request:
        method, keyed = [("GET", False), ("POST", False), ("POST", True)][user["user_id"]]
        return Request(f"/users/{user['user_id']}", method=method, repeatable=keyed)

    world = World(users(3))
    _, tally = world.call(job=job(mixed))
    assert (tally, len(world.api.asked)) == (Tally(), 3)

    claimed, tally = world.call(job=job(mixed))
    assert [user["user_id"] for user, *_ in claimed] == [0, 2]
    assert (tally, world.called) == (Tally(retry_later=1), 2)
    assert [request.path for request in world.api.asked[3:]] == ["/users/0", "/users/2"]
    assert world.marks == []


def test_who_has_nothing_that_must_not_be_sent_twice_leaves_no_trace_in_s3() -> None:
    world = World(users(3))
    world.call()
    assert [key for key in world.store.objects if "/asked/" in key] == []


@given(st.integers(0, 2**64) | st.text(st.characters(exclude_categories=["Cs"])))
def test_a_key_is_a_uuid_like_any_random_one(user_id: int | str) -> None:
    key = idempotency_key(World(users(1)).run, user_id)
    assert (str(UUID(key)), UUID(key).version) == (key, 4)


def test_a_column_of_the_query_wins_over_the_key_of_the_run() -> None:
    assert keys_of(World([{"user_id": 1, "idempotency_key": "its own"}])) == ["its own"]


@given(st.binary() | st.text().map(str.encode))
@example("\N{PILE OF POO} \x00 \u2028 \u00e9".encode())
@example(b"\xff")
def test_a_body_arrives_as_it_was_sent_whatever_it_holds(body: bytes) -> None:
    world = World(users(1))
    world.api.serve("/users/0", Served(body=body))
    claimed, _ = world.call()
    assert claimed[0][3] == body


@pytest.mark.parametrize("error", [RejectError("no"), KeyError("name"), RecursionError()])
def test_a_job_that_raises_for_one_user_rejects_that_user(error: Exception) -> None:
    def picky(user: User) -> Request:
        if user["user_id"] == 1:
            raise error
        return request(user)

    claimed, tally = World(users(3)).call(job=job(picky))
    assert [user["user_id"] for user, *_ in claimed] == [0, 2]
    assert tally == Tally(rejected=1)


@pytest.mark.parametrize("nothing", [None, "/users/1", {"path": "/users/1"}])
def test_a_job_that_gives_no_request_rejects_the_user(nothing: Any) -> None:
    world = World(users(2))
    claimed, tally = world.call(job=job(lambda _: nothing))
    assert claimed == []
    assert tally == Tally(rejected=2)
    assert world.api.asked == []


def test_a_request_that_must_not_be_sent_rejects_the_user() -> None:
    _, tally = World(users(2)).call(job=job(lambda _: Request("/../admin")))
    assert tally == Tally(rejected=2)


# --- time -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "ends_in", "budget"),
    [(30, 60, 30 - MARGIN_SECONDS), (300, 60, 60), (63, 60, 60)],
)
def test_the_api_gets_what_is_left_of_the_invocation_and_of_the_run(
    seconds: float, ends_in: float, budget: float
) -> None:
    world = World(users(1))
    assert world.run.ends_at == NOW + ends_in
    world.call(seconds=seconds)
    assert world.api.budgets == [(budget, 2.5)]


@pytest.mark.parametrize(("seconds", "ends_in"), [(MARGIN_SECONDS, 60), (30, 0), (30, -5)])
def test_without_time_nothing_is_read_or_asked_and_nobody_is_lost(
    seconds: float, ends_in: float
) -> None:
    world = World(users(25), group_size=10)
    world.run = Run.from_json({**world.run.to_json(), "ends_at": NOW + ends_in})
    claimed, tally = world.call(2, seconds=seconds)
    assert (claimed, tally) == ([], Tally(retry_later=5))
    assert (world.late, world.api_ms) == (1, 0)
    assert world.store.reads == []
    assert world.api.budgets == []


def test_the_first_user_whom_the_time_did_not_reach_is_told_by_place() -> None:
    world = World(users(6))
    failed = Failure(Outcome.RETRY_LATER, "timeout")
    answers: list[Answer] = [None, None, LATE, None, LATE, failed]
    world.api.call = lambda requests, **_: iter(enumerate(answers))  # type: ignore[method-assign]

    _, tally = world.call()

    assert (world.late, tally) == (3, Tally(unchanged=3, retry_later=3))


def test_a_user_without_a_request_does_not_move_the_place_of_the_first_late_one() -> None:
    world = World(users(3))
    world.api.call = lambda requests, **_: iter(enumerate([None, LATE]))  # type: ignore[method-assign]

    def some(user: User) -> Request:
        if user["user_id"] == 0:
            raise RejectError("not this one")
        return request(user)

    world.call(job=job(some))

    assert world.late == 3


def slowly(world: World, seconds: float, *, hangs: int = 0) -> None:
    """Let the calls of a group take so long, and some that are never answered far longer."""
    answer = world.api.call

    def call(requests: Sequence[Request], **how: Any) -> Iterator[tuple[int, Answer]]:
        world.now += seconds
        for place, answered in answer(requests[hangs:], **how):
            yield place + hangs, answered
        world.now += 10.0
        for place in range(hangs):
            yield place, Failure(Outcome.RETRY_LATER, "timeout")

    world.api.call = call  # type: ignore[method-assign]


def test_the_time_of_the_calls_is_told_in_whole_milliseconds() -> None:
    world = World(users(2))
    slowly(world, 1.25)
    world.call()
    assert (world.api_ms, world.late) == (1250, 0)


def test_calls_that_are_never_answered_do_not_make_users_seem_slow() -> None:
    world = World(users(10))
    slowly(world, 0.8, hangs=2)
    world.call()
    # Eight in 0.8 s are the pace of ten.
    assert (world.called, world.api_ms) == (10, 1_000)


def test_a_group_in_which_nobody_is_served_tells_nothing_of_the_pace() -> None:
    world = World(users(5))
    world.call()
    for n in range(5):
        world.api.serve(f"/users/{n}", Served(404))
    world.now += 10
    world.call()
    assert (world.called, world.api_ms) == (5, 0)


# --- the breaker ------------------------------------------------------------------------------

FIRST_CALLS = 10  # of a run that does not say


def failing(count: int, status: int = 503, **world: Any) -> World:
    made = World(users(count), **world)
    for n in range(count):
        made.api.serve(f"/users/{n}", Served(status))
    return made


@pytest.mark.parametrize("status", [500, 401, 403, 404, 302])
def test_when_the_api_fails_for_everyone_nobody_is_rejected_and_all_are_stopped(
    status: int,
) -> None:
    world = failing(50, status)

    claimed, tally = world.call()

    assert (claimed, tally) == ([], Tally(retry_later=FIRST_CALLS, skipped=50 - FIRST_CALLS))
    assert (world.called, world.stopped) == (FIRST_CALLS, 50)


def test_a_group_behind_it_is_neither_read_nor_asked_about_but_for_a_trickle() -> None:
    world = failing(60, group_size=20)
    world.run = replace(world.run, later_calls=0.5)
    tallies = [world.call(group)[1] for group in range(3)]

    assert tallies[1:] == [Tally(skipped=20), Tally(retry_later=1, skipped=19)]
    assert len(world.store.reads) == 2
    assert (world.called, world.stopped) == (1, 20)


def test_a_user_who_is_refused_among_others_who_are_not_is_rejected_and_marked() -> None:
    world = World(users(30))
    for n in range(1, 30, 3):
        world.api.serve(f"/users/{n}", Served(403))

    _, tally = world.call()

    assert tally == Tally(rejected=10)
    assert [mark.user_id for mark in world.marks] == list(range(1, 30, 3))
    assert world.stopped == 0


@pytest.mark.parametrize(("count", "marked"), [(9, 0), (10, 10)])
def test_whose_fault_it_is_that_all_fail_the_run_can_tell_from_ten_users_on(
    count: int, marked: int
) -> None:
    world = failing(count, 404)

    world.call()

    assert len(world.marks) == marked


def test_a_user_without_a_request_is_at_fault_whatever_the_api_does() -> None:
    world = World(users(1))

    _, tally = world.call(job=job(lambda _: 7))  # type: ignore[arg-type, return-value]

    assert tally == Tally(rejected=1)
    assert list(world.marks) == [Mark(0, 1, "no_request")]


def test_those_known_to_fail_are_named_to_the_client() -> None:
    world = World(users(5), failures={1: 2, 3: 1})
    told: list[Any] = []
    answer = world.api.call
    world.api.call = lambda requests, **how: told.append(how) or answer(requests, **how)  # type: ignore[method-assign, func-returns-value]

    world.call()

    assert told[0]["doubtful"] == [1, 3]
    assert told[0]["fair_seconds"] == world.run.fair_seconds


# --- all together -----------------------------------------------------------------------------


@given(st.lists(st.sampled_from([200, 204, 304, 400, 404, 500, 503, -1]), max_size=60))
def test_every_user_is_accounted_for_exactly_once(statuses: list[int]) -> None:
    listed: list[User] = [
        {"user_id": n, "etag": new(n) if status == 304 else None}
        for n, status in enumerate(statuses)
    ]
    world = World(listed, group_size=100)
    for n, status in enumerate(statuses):
        world.api.serve(f"/users/{n}", Served(max(status, 0), b"{}", '"new"'))

    def some(user: User) -> Request:
        if statuses[user["user_id"]] == -1:
            raise RejectError("not this one")
        return request(user)

    if not listed:
        return
    claimed, tally = world.call(job=job(some))
    assert len(claimed) + tally.settled == len(listed)
    if tally.skipped or world.stopped:
        return
    assert tally == Tally(
        unchanged=statuses.count(304),
        rejected=sum(statuses.count(s) for s in (400, 404, -1)),
        retry_later=sum(statuses.count(s) for s in (500, 503)),
    )


def test_a_retry_of_the_invocation_overwrites_its_claim() -> None:
    world = World(users(90))
    for n in range(90):
        world.api.serve(f"/users/{n}", Served(body=Random(n).randbytes(500).hex().encode()))
    first = world.call()
    kept = dict(world.store.objects)
    assert world.call() == first
    assert world.store.objects.keys() == kept.keys()
    assert (
        set(kept) == {f"{world.run.prefix}/chunks/4", f"{world.run.prefix}/claims/4/0"}
        or len(kept) == 1
    )


def test_the_log_names_the_failures_but_not_the_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logged: list[Mapping[str, Any]] = []
    monkeypatch.setattr(
        "batch_core.failures.logger.warning", lambda _, **fields: logged.append(fields)
    )
    world = World(users(2))
    world.api.serve("/users/1", Served(404))
    world.call()
    (line,) = logged
    assert line["failures"] == [
        {
            "outcome": "rejected",
            "error": "http_404",
            "users": 1,
            "examples": [pseudonym("demo", 1)],
        }
    ]


def test_users_whose_own_calls_fail_are_marked_and_those_who_are_well_again_too() -> None:
    world = World([{"user_id": n, "etag": new(n) if n == 2 else None} for n in range(5)],
                  failures={1: 3, 2: 4, 3: 5})  # fmt: skip
    world.api.serve("/users/0", Served(500))
    world.api.serve("/users/1", Served(404))

    claimed, tally = world.call()

    assert list(world.marks) == [Mark(2, 0), Mark(0, 1, "http_500"), Mark(1, 4, "http_404")]
    assert tally == Tally(retry_later=1, rejected=1, unchanged=1)
    # Whether the third recovers, Process Users and the writer will see.
    assert [user["user_id"] for user, *_ in claimed] == [3, 4]


def test_users_that_the_run_had_no_time_for_are_not_marked() -> None:
    world = World(users(3), failures={1: 2})

    world.call(seconds=MARGIN_SECONDS)

    assert list(world.marks) == []
    assert (world.called, world.late, world.stopped) == (0, 1, 0)


# --- parts ------------------------------------------------------------------------------------


def test_answers_that_are_too_much_for_one_part_go_to_s3_as_they_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("batch_core.answers.ANSWERS_PART_BYTES", 1000)
    world = World(users(20))
    stored_at: list[int] = []

    def watched(requests: Sequence[Request], **how: Any) -> Iterator[tuple[int, Answer]]:
        for place, answer in FakeApi.call(world.api, requests, **how):
            yield place, answer
            stored_at.append(len(world.store.objects))

    for n in range(20):
        world.api.serve(f"/users/{n}", Served(body=b"%d" % n * 200))
    world.api.call = watched  # type: ignore[method-assign]
    claimed, tally = world.call()

    assert [body for *_, body in claimed] == [b"%d" % n * 200 for n in range(20)]
    assert tally == Tally()
    # What is spilled is no longer held while the next are asked.
    assert world.spilled > 3
    assert stored_at[10] > stored_at[0]
    parts = [key for key in world.store.objects if "/claims/" in key]
    assert min(parts) == f"{world.run.prefix}/claims/4/0/0"


@given(st.lists(st.integers(0, 3000), max_size=30), st.integers(1, 3000))
def test_a_part_is_no_larger_than_allowed_unless_one_answer_is(
    sizes: list[int], allowed: int
) -> None:
    parts: list[bytes] = []

    def spill(number: int, part: bytes) -> dict[str, Any]:
        assert number == len(parts)
        parts.append(part)
        return {"n": number}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("batch_core.answers.ANSWERS_PART_BYTES", allowed)
        gathering = Gathering(spill)
        for n, size in enumerate(sizes):
            gathering.add(Answered({"user_id": n}, 0, Response(200, b"x" * size)))
        told = parse_json(dump_json(gathering.to_json()))

    assert told["spilled"] == [{"n": n} for n in range(len(parts))]
    parts.append(dump_json(told["answers"]))
    read = [list(read_part(parse_json(part))) for part in parts]
    assert [answered.user["user_id"] for part in read for answered in part] == [*range(len(sizes))]
    for part, answered in zip(parts, read, strict=True):
        # Brackets and commas apart.
        assert len(part) <= allowed + 1 + len(answered) or len(answered) == 1
