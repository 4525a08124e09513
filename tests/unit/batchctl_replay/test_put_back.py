"""From the bucket to the table, killed at any moment, twice, and by two people."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

import pytest

from batch_core.errors import StreamError
from batch_core.job import Table
from batch_core.records import Record, encode
from batch_core.write_rows import RowWriter
from batchctl.replay.put_back import put_back, survey
from tests.support.fakes import FakeDatabase, FakePayloadStore, FakeRowStore
from tests.support.fakes_api import FakeStream
from tests.support.put_aside import (
    BATCH_KEY,
    RECORD_KEY,
    ROWS_KEY,
    RUN,
    FakeBucket,
    batch_object,
    record,
    record_object,
    rows_object,
)


class KilledError(Exception):
    """The end of the command."""


class Stage:
    """A tenant's bucket, stream, writer and table, with one object of every kind put aside.

    The database refuses the users in `refused`.
    """

    def __init__(self) -> None:
        self.refused: set[object] = set()
        self.database = FakeDatabase(
            refuses=lambda row: "1406: too long" if row["user_id"] in self.refused else None
        )
        store = FakePayloadStore()
        self.bucket = FakeBucket(store.objects)
        self.stream = FakeStream()
        self._writer = RowWriter(
            "demo", Table("note", columns=("text",)), FakeRowStore(self.database), lambda: store
        )
        self._delivered = 0
        self.bucket.objects[ROWS_KEY] = rows_object([1, "one"])
        self.bucket.objects[RECORD_KEY] = record_object(encode(record((2, "two"), group=8)))
        batch = ("key", encode(record((3, "three"), group=9)))
        self.bucket.objects[BATCH_KEY] = batch_object(batch, as_text=True)

    def write(self, *records: Record) -> None:
        """Let the writer have these records."""
        self._deliver([("key", encode(each)) for each in records])

    def deliver(self) -> None:
        """Let the writer have what is new on the stream."""
        records = self.stream.records[self._delivered :]
        self._delivered = len(self.stream.records)
        self._deliver(records)

    def _deliver(self, records: list[tuple[str, bytes]]) -> None:
        deliveries = [
            {"kinesis": {"sequenceNumber": f"{n}", "data": b64encode(data).decode()}}
            for n, (_, data) in enumerate(records)
        ]
        self._writer({"Records": deliveries})

    def replay(self, run: str | None = None) -> int:
        found = survey(self.bucket, run).found
        return sum(put_back(self.bucket, self.stream, each.key) for each in found)

    def texts(self) -> dict[object, object]:
        return {user: values["text"] for user, (_, values) in self.database.table.items()}

    def put_aside(self) -> list[str]:
        return sorted(key for key in self.bucket.objects if not key.startswith("replayed/"))


ALL = {1: "one", 2: "two", 3: "three"}


def test_everything_is_stored_and_kept_as_replayed() -> None:
    stage = Stage()
    before = dict(stage.bucket.objects)

    assert stage.replay() == 3
    stage.deliver()

    assert stage.texts() == ALL
    assert stage.bucket.objects == {f"replayed/{key}": body for key, body in before.items()}


def test_a_second_replay_finds_nothing() -> None:
    stage = Stage()
    stage.replay()
    stage.deliver()

    assert stage.replay() == 0
    assert len(stage.stream.records) == 3


def test_replaying_the_same_again_changes_nothing() -> None:
    stage = Stage()
    aside = dict(stage.bucket.objects)
    stage.replay()
    stage.deliver()
    stored = dict(stage.database.table)

    stage.bucket.objects |= aside
    stage.replay()
    stage.deliver()

    assert stage.database.table == stored
    assert stage.put_aside() == []


def test_a_newer_row_is_not_replaced() -> None:
    stage = Stage()
    newer = record((1, "newer"), run_id="demo-20260131T101000Z", version=1_769_854_200_000)
    stage.write(newer)

    stage.replay()
    stage.deliver()

    assert stage.texts() == {**ALL, 1: "newer"}


def test_the_account_of_a_closed_run_does_not_change_when_its_rejected_rows_are_stored() -> None:
    stage = Stage()
    stage.refused = {1}
    stage.write(record((1, "one"), (5, "five")))
    account = dict(stage.database.records)
    stage.refused = set()

    stage.replay()
    stage.deliver()

    place = (RUN, 0, 3, 7, 0, 0)
    assert stage.database.records[place] == account[place]
    assert stage.texts() == {**ALL, 5: "five"}


def test_what_still_cannot_be_stored_is_put_aside_again() -> None:
    stage = Stage()
    stage.refused = {1}

    stage.replay()
    stage.deliver()

    assert stage.put_aside() == [ROWS_KEY]
    stage.refused = set()
    assert stage.replay() == 1
    stage.deliver()
    assert stage.texts() == ALL


def at_once(stage: Stage) -> Callable[[list[tuple[str, bytes]]], None]:
    """A stream whose writer is done before the put returns."""
    put = stage.stream.put

    def put_and_deliver(records: list[tuple[str, bytes]]) -> None:
        put(records)
        stage.deliver()

    return put_and_deliver


def test_what_is_put_aside_again_before_the_replay_is_done_stays_put_aside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage()
    stage.refused = {1}
    monkeypatch.setattr(stage.stream, "put", at_once(stage))

    stage.replay()

    assert stage.put_aside() == [ROWS_KEY]


@pytest.mark.parametrize("moment", range(12))
def test_a_kill_at_any_moment_loses_nothing_and_the_next_replay_ends_it(
    moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage()
    steps = iter(range(12))

    def killed_at_the_moment() -> None:
        if next(steps) == moment:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(stage.bucket, "before", killed_at_the_moment)
        with pytest.raises(KilledError):
            stage.replay()

    stage.replay()
    stage.deliver()

    assert stage.texts() == ALL
    assert stage.put_aside() == []


def test_what_the_stream_refuses_is_put_back_by_the_next_replay() -> None:
    stage = Stage()
    stage.stream.refusals["key"] = 1
    with pytest.raises(StreamError):
        stage.replay()

    assert stage.put_aside() == [f"replaying/{BATCH_KEY}"]
    assert stage.replay() == 1
    stage.deliver()
    assert stage.texts() == ALL


def test_what_somebody_else_put_back_meanwhile_is_left_to_them() -> None:
    stage = Stage()
    found = survey(stage.bucket).found
    stage.replay()

    assert [put_back(stage.bucket, stage.stream, each.key) for each in found] == [False] * 3
    assert len(stage.stream.records) == 3


def test_one_run_only_is_put_back() -> None:
    stage = Stage()
    other = "demo-20260131T101000Z"
    key = f"quarantine/{other}/0-0-0.json"
    stage.bucket.objects[key] = rows_object([4, "four"], run=other)
    stage.bucket.objects["quarantine/records/9.json"] = record_object(b"of no run")

    assert [each.key for each in survey(stage.bucket, other).found] == [key]
    assert stage.replay(other) == 1
    assert stage.replay(RUN) == 3
    assert stage.put_aside() == ["quarantine/records/9.json"]


def test_what_cannot_be_read_is_named_and_left_where_it_is() -> None:
    stage = Stage()
    stage.bucket.objects["quarantine/notes.txt"] = b"remember the milk"

    seen = survey(stage.bucket)

    assert list(seen.unreadable) == ["quarantine/notes.txt"]
    assert stage.replay() == 3
    assert stage.put_aside() == ["quarantine/notes.txt"]


def test_what_runs_keep_in_the_bucket_is_none_of_it() -> None:
    stage = Stage()
    stage.bucket.objects["runs/demo/1/chunks/0"] = b"{}"

    seen = survey(stage.bucket)

    assert {each.key for each in seen.found} == {ROWS_KEY, RECORD_KEY, BATCH_KEY}
    assert seen.unreadable == {}
