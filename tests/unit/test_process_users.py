"""Process Users: answers become rows on the stream, or a word in the tally."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from math import inf, nan
from random import Random
from string import ascii_letters
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core import claims
from batch_core.answers import Answered
from batch_core.chunks import Chunk
from batch_core.codec import dump_json
from batch_core.errors import PayloadAlteredError, PayloadMissingError, StreamError
from batch_core.job import Job, RejectError, Request, Response, Row, Table, User
from batch_core.limits import ERROR_TEXT_BYTES, PUT_UNIT_BYTES, ROW_BYTES
from batch_core.outcomes import Tally
from batch_core.process_users import process_users
from batch_core.records import Record, decode
from batch_core.run import Run
from batch_core.user_state import Mark
from tests.support.answers import gathered
from tests.support.fakes import FakePayloadStore
from tests.support.fakes_api import FakeStream

RUN = Run(
    id="demo-20260131T102000Z",
    version=1769854800000,
    fence=3,
    group_size=100,
    requests_per_second=0,
    ends_at=0,
)
CHUNK = Chunk(n=4, users=100, groups=2, stride=10, etag="e")

NOTHING = Tally()

type Process = Callable[[User, Response], Row | None]


class World:
    def __init__(self) -> None:
        self.store = FakePayloadStore()
        self.stream = FakeStream()

    def process(
        self,
        process: Process,
        answers: list[list[Any]],
        *,
        parts: int = 0,
        tally: Tally = NOTHING,
        marks: Sequence[Mark] = (),
        failures: Mapping[int, int] | None = None,
    ) -> Tally:
        """Process answers `[user, status, etag, body]`.

        Of these `parts` are spilled, one by one; `failures` says how often users failed.
        """
        before = failures or {}
        answered = [
            Answered(user, before.get(n, 0), Response(status, body.encode(), etag))
            for n, (user, status, etag, body) in enumerate(answers)
        ]
        claimed = gathered(answered[parts:], marks) | {
            "spilled": [
                claims.spill(
                    dump_json(gathered([each])["answers"]),
                    run=RUN,
                    name=f"4/1/{n}",
                    store=self.store,
                )
                for n, each in enumerate(answered[:parts])
            ]
        }
        job = Job(
            users="SELECT 1",
            table=Table("t", columns=("name", "data")),
            request=lambda _: Request("/"),
            process=lambda user, response: whole(process(user, response)),
        )
        event = {
            "run": RUN.to_json(),
            "chunk": CHUNK.to_json(),
            "group": 1,
            "claim": claims.put(claimed, run=RUN, name="4/1", store=self.store),
            "tally": tally.to_json(),
        }
        result = process_users(event, tenant="demo", job=job, store=self.store, stream=self.stream)
        assert result.keys() == {*Tally().to_json(), "called", "api_ms", "late", "stopped"}
        return Tally.from_json(result)

    @property
    def records(self) -> list[Record]:
        return [decode(data) for _, data in self.stream.records]


def whole(row: Any) -> Any:
    """Fill in the columns that a test has nothing to say of."""
    return {"name": None, "data": None, **row} if isinstance(row, dict) and row else row


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any]]:
    lines: list[Mapping[str, Any]] = []
    monkeypatch.setattr(
        "batch_core.failures.logger.warning", lambda _, **fields: lines.append(fields)
    )
    return lines


def answers(count: int) -> list[list[Any]]:
    return [[{"user_id": n}, 200, None, "{}"] for n in range(count)]


def name(user: User, _response: Response) -> Row:
    return {"name": f"user {user['user_id']}"}


@given(st.integers(0, 5))
def test_parts_that_were_spilled_are_processed_like_the_last(parts: int) -> None:
    world = World()
    assert world.process(name, answers(5), parts=parts) == Tally(queued=5)
    (record,) = world.records
    assert record.rows == tuple((n, f"user {n}", None) for n in range(5))


def test_a_part_that_is_gone_fails_its_group_before_anything_is_put_on_the_stream(
    world: World,
) -> None:
    world.store.put = lambda *_, **__: "e"  # type: ignore[method-assign]
    with pytest.raises(PayloadMissingError):
        world.process(name, answers(5), parts=1)
    assert world.stream.records == []


@pytest.mark.parametrize("number", [2**64, -(10**64), Decimal("12345678901234.56789")])
def test_a_number_of_many_digits_is_put_on_the_stream_as_it_is(world: World, number: Any) -> None:
    def told(user: User, response: Response) -> Row:
        return {"name": response.json()["n"], "data": number}

    answer = [[{"user_id": 2**63 - 1}, 200, None, f'{{"n": {number}}}']]
    assert world.process(told, answer) == Tally(queued=1)
    (record,) = world.records
    assert record.rows == ((2**63 - 1, number, number),)


def test_a_group_becomes_one_record(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-abc;Parent=def;Sampled=1")
    assert world.process(name, answers(2)) == Tally(queued=2)
    (record,) = world.records
    assert record.attempt
    assert [record] == [
        Record(
            tenant="demo",
            run_id=RUN.id,
            chunk=4,
            group=1,
            version=RUN.version,
            trace_id="1-abc",
            segment_id="def",
            part=0,
            columns=("user_id", "name", "data"),
            rows=((0, "user 0", None), (1, "user 1", None)),
            fence=RUN.fence,
            attempt=record.attempt,
        )
    ]
    assert [key for key, _ in world.stream.records] == [f"{RUN.id}/4/1/0"]


def test_the_job_sees_the_answer_as_it_was(world: World) -> None:
    seen: list[tuple[User, Response]] = []

    def look(user: User, response: Response) -> None:
        seen.append((user, response))

    world.process(look, [[{"user_id": 1, "x": 2}, 201, '"e"', "caf\u00e9"]])
    assert seen == [({"user_id": 1, "x": 2}, Response(201, "caf\u00e9".encode(), '"e"'))]


def test_a_job_that_has_nothing_new_writes_nothing(world: World) -> None:
    assert world.process(lambda *_: None, answers(3)) == Tally(unchanged=3)
    assert world.stream.records == []


def test_without_answers_there_is_nothing_to_put(world: World) -> None:
    assert world.process(name, []) == Tally()
    assert world.stream.records == []


def test_the_tally_of_the_calls_is_carried_on(world: World) -> None:
    before = Tally(unchanged=5, rejected=2, retry_later=1)
    assert world.process(name, answers(2), tally=before) == before + Tally(queued=2)


@pytest.mark.parametrize(
    "error", [RejectError("no"), KeyError("x"), ZeroDivisionError(), RecursionError()]
)
def test_an_exception_rejects_its_user_and_nobody_else(world: World, error: Exception) -> None:
    def picky(user: User, response: Response) -> Row:
        if user["user_id"] == 1:
            raise error
        return name(user, response)

    assert world.process(picky, answers(3)) == Tally(queued=2, rejected=1)
    assert [row[0] for row in world.records[0].rows] == [0, 2]


@pytest.mark.parametrize("body", ["", "{", "NaN", "[Infinity]", '"\\ud800"', "[" * 100_000])
def test_an_answer_that_is_not_json_rejects_its_user(world: World, body: str) -> None:
    def parse(_user: User, response: Response) -> Row:
        return {"data": response.json()}

    assert world.process(parse, [[{"user_id": 1}, 200, None, body]]) == Tally(rejected=1)


@pytest.mark.parametrize(
    ("row", "error", "words"),
    [
        ({}, "column_left_out", "leaves out name, data; None stores NULL"),
        ({"nmae": 1}, "no_such_column", "no column 'nmae'"),
        ({"user_id": 2}, "no_such_column", "no column 'user_id'"),
        ({"version": 2}, "no_such_column", "no column 'version'"),
        ({1: 2}, "no_such_column", "no column 1"),
        ({"name": b"bytes"}, "no_json_form", "the column name"),
        ({"name": nan}, "no_json_form", "the column name got NaN or an infinity"),
        ({"data": -inf}, "no_json_form", "the column data got NaN or an infinity"),
        ({"data": {"x": {1, 2}}}, "no_json_form", "the column data"),
        ({"name": "\ud800"}, "no_json_form", "the column name"),
        ({"data": "x" * ROW_BYTES}, "row_too_large", "most in the column data"),
        (["name"], "no_row", "gave a list"),
        ("name", "no_row", "gave a str"),
        ({"data": {"x": [None, {"y": inf}]}}, "no_json_form", "the column data got NaN or an inf"),
        ({"data": [Decimal("NaN")]}, "no_json_form", "the column data"),
        ({"name": Decimal("-Infinity")}, "no_json_form", "the column name"),
        ({"data": {"x": [2**64]}}, "too_many_digits", "the column data got JSON with a number"),
        ({"data": [Decimal("1E-20")]}, "too_many_digits", "the column data got JSON with a number"),
        ({"name": 10**65}, "too_many_digits", "the column name got a number of 66 digits"),
        (
            {"name": Decimal("1E-31")},
            "too_many_digits",
            "a number of 1 digits before and 31",
        ),
    ],
)
def test_a_row_that_is_none_rejects_its_user_and_names_the_column(
    world: World, logged: list[Mapping[str, Any]], row: Any, error: str, words: str
) -> None:
    def one_bad(user: User, response: Response) -> Row:
        return row if user["user_id"] == 1 else name(user, response)

    assert world.process(one_bad, answers(2)) == Tally(queued=1, rejected=1)
    (failure,) = logged[0]["failures"]
    (mark,) = world.records[0].marks
    assert failure["error"] == mark.error == error
    assert words in mark.said


class Unspeakable(Exception):  # noqa: N818  the job's own
    def __str__(self) -> str:
        raise RuntimeError("not even that")


def raising(error: BaseException) -> Process:
    def process(_user: User, _response: Response) -> Row:
        raise error

    return process


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (RejectError("\ud800" * 5_000), "refused_by_job"),
        (RejectError("\N{WAVING HAND SIGN}" * 5_000), "refused_by_job"),
        (type("alice@example.com", (KeyError,), {})("alice@example.com"), "KeyError"),
        (Unspeakable(), "Exception"),
        (SystemExit("alice@example.com"), "unknown"),
    ],
)
def test_what_a_job_raises_is_one_word_in_the_log_and_a_short_text_in_the_mark(
    world: World, logged: list[Mapping[str, Any]], error: BaseException, word: str
) -> None:
    assert world.process(raising(error), answers(200)) == Tally(rejected=200)

    assert [failure["error"] for failure in logged[0]["failures"]] == [word]
    marks = [mark for record in world.records for mark in record.marks]
    assert {mark.error for mark in marks} == {word}
    assert len(marks) == 200
    assert max(len(mark.said.encode()) for mark in marks) <= ERROR_TEXT_BYTES


def test_refusals_of_a_whole_group_are_cut_into_records_of_the_unit_that_is_billed(
    world: World,
) -> None:
    noise = Random(1)

    def refuse(_user: User, _response: Response) -> Row:
        raise RejectError("".join(noise.choice(ascii_letters) for _ in range(8_000)))

    world.process(refuse, answers(1_000))

    assert len(world.records) > 1
    assert max(len(data) for _, data in world.stream.records) <= PUT_UNIT_BYTES
    told = [mark.user_id for record in world.records for mark in record.marks]
    assert told == list(range(1_000))


def test_an_answer_with_a_key_twice_tells_the_log_nothing_of_what_it_holds(
    world: World, logged: list[Mapping[str, Any]]
) -> None:
    body = '{"alice@example.com": 1, "alice@example.com": 2}'

    world.process(lambda _, response: response.json(), [[{"user_id": 1}, 200, None, body]])

    assert [failure["error"] for failure in logged[0]["failures"]] == ["not_json"]
    assert "alice" not in str(logged)


@pytest.mark.parametrize("user", [{}, {"user_id": None}])
def test_a_user_without_its_key_is_rejected(
    world: World, logged: list[Mapping[str, Any]], user: User
) -> None:
    assert world.process(lambda *_: {"name": "x"}, [[user, 200, None, ""]]) == Tally(rejected=1)
    assert "user_id" in logged[0]["failures"][0]["error"]


def test_the_limit_of_a_row_is_exact(world: World) -> None:
    # As JSON: the key 0, null for name, and two quotes.
    longest = "x" * (ROW_BYTES - len('0null""'))
    assert world.process(lambda *_: {"data": longest}, answers(1)) == Tally(queued=1)
    assert world.process(lambda *_: {"data": longest + "x"}, answers(1)) == Tally(rejected=1)


def test_values_that_json_writes_as_text_are_rows(world: World) -> None:
    moment = datetime(2026, 1, 31, tzinfo=UTC)
    assert world.process(lambda *_: {"data": moment}, answers(1)) == Tally(queued=1)
    assert world.records[0].rows[0][2] == "2026-01-31T00:00:00+00:00"


def test_a_large_group_is_cut_at_the_unit_that_is_billed(world: World) -> None:
    def wide(user: User, _response: Response) -> Row:
        letters = Random(user["user_id"]).choices(ascii_letters, k=3000)  # hardly compressible
        return {"data": "".join(letters)}

    assert world.process(wide, answers(100)) == Tally(queued=100)
    assert len(world.records) > 1
    assert all(len(key) + len(data) <= PUT_UNIT_BYTES for key, data in world.stream.records)
    assert [record.part for record in world.records] == list(range(len(world.records)))
    assert [row[0] for record in world.records for row in record.rows] == list(range(100))


def test_a_retry_puts_the_same_records_again(world: World) -> None:
    world.process(name, answers(10))
    world.process(name, answers(10))
    first, second = world.stream.records
    assert first == second


def test_records_that_the_stream_refuses_fail_the_invocation(world: World) -> None:
    world.stream.refusals[f"{RUN.id}/4/1/0"] = 1
    with pytest.raises(StreamError):
        world.process(name, answers(1))


def test_a_claim_that_was_altered_fails_the_invocation(world: World) -> None:
    with pytest.raises(PayloadAlteredError):
        process_users(
            {
                "run": RUN.to_json(),
                "chunk": CHUNK.to_json(),
                "group": 1,
                "claim": {"kind": "zlib", "data": "", "sha256": ""},
                "tally": {},
            },
            tenant="demo",
            job=Job("", Table("t", columns=()), lambda _: Request("/"), lambda *_: None),
            store=world.store,
            stream=world.stream,
        )


ends = st.sampled_from(["row", "none", "reject", "raise", "column", "list"])


@given(st.lists(ends, max_size=60), st.builds(Tally, unchanged=st.integers(0, 9)))
def test_every_answer_is_accounted_for_exactly_once(kinds: list[str], before: Tally) -> None:
    def process(user: User, response: Response) -> Any:
        match kinds[user["user_id"]]:
            case "row":
                return name(user, response)
            case "none":
                return None
            case "reject":
                raise RejectError
            case "raise":
                raise LookupError
            case "column":
                return {"wrong": 1}
            case _:
                return []

    world = World()
    own = world.process(process, answers(len(kinds)), tally=before)
    assert own == before + Tally(
        queued=kinds.count("row"),
        unchanged=kinds.count("none"),
        rejected=len(kinds) - kinds.count("row") - kinds.count("none"),
    )
    assert sum(len(record.rows) for record in world.records) == own.queued


def test_users_that_the_job_rejects_are_marked_with_one_failure_more(world: World) -> None:
    def process(user: User, _response: Response) -> Row:
        if user["user_id"] == 1:
            raise RejectError("no name")
        return name(user, _response)

    world.process(process, answers(3), failures={1: 6})

    (record,) = world.records
    assert (record.marks, record.failures) == ((Mark(1, 7, "refused_by_job", "no name"),), ())


def test_the_writer_is_told_which_rows_would_be_a_recovery(world: World) -> None:
    world.process(name, answers(3), failures={0: 0, 2: 4})

    (record,) = world.records
    assert (record.marks, record.failures) == ((), ((2, 4),))


def test_a_user_with_nothing_new_has_recovered(world: World) -> None:
    tally = world.process(lambda *_: None, answers(2), failures={1: 4})

    (record,) = world.records
    assert (record.rows, record.marks) == ((), (Mark(1, 0),))
    assert tally == Tally(unchanged=2)


def test_what_call_api_marked_is_put_on_the_stream_even_without_rows(world: World) -> None:
    world.process(name, [], marks=[Mark(9, 2, "http_500")])

    (record,) = world.records
    assert (record.rows, record.marks) == ((), (Mark(9, 2, "http_500"),))


def test_a_group_without_rows_and_marks_puts_nothing_on_the_stream(world: World) -> None:
    world.process(lambda *_: None, answers(3))

    assert world.records == []


def test_marks_are_told_once_however_often_a_group_is_cut(world: World) -> None:
    noise = Random(1)

    def wide(*_: object) -> Row:
        return {"data": "".join(noise.choice(ascii_letters) for _ in range(10_000))}

    marks = [Mark(99, 1, "http_500")]
    world.process(wide, answers(6), marks=marks, failures={0: 1, 5: 2})

    assert len(world.records) > 1
    assert [mark for record in world.records for mark in record.marks] == marks
    told = [entry for record in world.records for entry in record.failures]
    assert sorted(told) == [(0, 1), (5, 2)]
