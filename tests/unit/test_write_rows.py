"""Write Rows: from the records of a batch to rows, whatever the records hold."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core.codec import compress, dump_json
from batch_core.errors import (
    AccessError,
    DatabaseError,
    SchemaError,
    TransientDatabaseError,
    UnknownDatabaseError,
)
from batch_core.job import Table
from batch_core.limits import TRANSACTION_ROWS
from batch_core.observability import logger, pseudonym
from batch_core.outcomes import Outcome
from batch_core.records import Record, RejectedRow, encode
from batch_core.write_rows import (
    ATTEMPT_SECONDS,
    RECORDS_TO_GIVE_UP,
    SEARCH_AFTER_SECONDS,
    RowWriter,
    batches,
)
from tests.support.event_source_mapping import Settings
from tests.support.fakes import FakeDatabase, FakePayloadStore, FakeRowStore

TABLE = Table("note", columns=("text",))
RUN = "demo-20260131T100000Z"


def record(group: int = 0, rows: int = 1, **changes: Any) -> Record:
    values: dict[str, Any] = {
        "tenant": "demo",
        "run_id": RUN,
        "chunk": 3,
        "group": group,
        "version": 1_769_853_600_000,
        "trace_id": f"1-697dd3e0-{group:024x}",
        "segment_id": "53995c3f42cd8ad8",
        "part": 0,
        "columns": ("user_id", "text"),
        "rows": tuple((group * 1_000 + n, f"text {n}") for n in range(rows)),
    }
    return Record(**values | changes)


def delivery(data: bytes | str, n: int = 0) -> dict[str, Any]:
    return {
        "eventID": f"shardId-000000000000:{4_000 + n}",
        "kinesis": {
            "sequenceNumber": str(4_000 + n),
            "partitionKey": "p",
            "data": data if isinstance(data, str) else b64encode(data).decode(),
        },
    }


def event(*records: Record | bytes | str) -> dict[str, Any]:
    return {
        "Records": [
            delivery(encode(each) if isinstance(each, Record) else each, n)
            for n, each in enumerate(records)
        ]
    }


class Stage:
    """A writer on fakes."""

    def __init__(self, database: FakeDatabase | None = None) -> None:
        self.database = database or FakeDatabase()
        self.store = FakePayloadStore()
        self.stores_made = 0
        self.rows = FakeRowStore(self.database)
        self.pauses: list[float] = []
        self.write = RowWriter("demo", TABLE, self.rows, self._quarantine, sleep=self.pauses.append)

    def _quarantine(self) -> FakePayloadStore:
        self.stores_made += 1
        return self.store

    def put_aside(self) -> dict[str, Any]:
        return {key: json.loads(body) for key, body in self.store.objects.items()}


DONE: dict[str, Any] = {"batchItemFailures": []}


def test_the_rows_of_all_records_are_stored() -> None:
    stage = Stage()

    assert stage.write(event(record(0, 2), record(1, 3))) == DONE
    assert set(stage.database.table) == {0, 1, 1_000, 1_001, 1_002}
    assert stage.stores_made == 0


def test_a_batch_is_one_transaction_while_it_is_small() -> None:
    stage = Stage()
    stage.write(event(*(record(n) for n in range(100))))

    assert [len(batch) for batch in stage.rows.writes] == [100]


@given(st.lists(st.integers(0, 1_500), max_size=30))
def test_records_are_gathered_whole_into_transactions(sizes: list[int]) -> None:
    records = [record(n, size) for n, size in enumerate(sizes)]
    made = list(batches(records))

    assert [each for batch in made for each in batch] == records
    assert all(
        len(batch) == 1 or sum(len(each.rows) for each in batch) <= TRANSACTION_ROWS
        for batch in made
    )


def fields(**changes: Any) -> bytes:
    plain = {
        "v": 1,
        "tenant": "demo",
        "run": RUN,
        "chunk": 0,
        "group": 0,
        "version": 1,
        "trace": "",
        "segment": "",
        "part": 0,
        "columns": ["user_id", "text"],
        "rows": [[1, "one"]],
    }
    return compress(dump_json(plain | changes))


POISON = {
    "not base64": "%%%",
    "not compressed": b"plain",
    "cut short": encode(record(9))[:-5],
    "not JSON": compress(b"{"),
    "not an object": compress(b"[1,2]"),
    "of another version": fields(v=99),
    "without its run": fields(run=""),
    "of another tenant": encode(record(9, tenant="other")),
    "of another table": fields(columns=["customer_id", "text"]),
    "without columns": fields(columns=[], rows=[[]]),
    "with a column that is no name": fields(columns=["user_id", "text`"]),
    "with a column twice": fields(columns=["user_id", "text", "TEXT"], rows=[[1, "a", "b"]]),
    "with a version in its rows": fields(columns=["user_id", "version"]),
    "with rows too short": fields(rows=[[1]]),
    "with a run of too long a name": fields(run="r" * 65),
    "with a chunk below zero": fields(chunk=-1),
    "with a group beyond the ledger": fields(group=65_536),
    "with a version beyond the table": fields(version=2**63),
    "with text for a number": fields(part="many"),
    "with no rows at all": fields(rows=None),
}


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON.keys())
def test_a_record_that_cannot_be_read_is_put_aside_and_the_others_are_stored(
    poison: bytes | str,
) -> None:
    stage = Stage()

    assert stage.write(event(record(0), poison, record(1))) == DONE

    assert set(stage.database.table) == {0, 1_000}
    (key,) = stage.store.objects
    assert key == "quarantine/records/4001.json"
    assert stage.put_aside()[key]["data"] == delivery(poison)["kinesis"]["data"]
    assert stage.put_aside()[key]["error"]


def test_a_batch_of_nothing_but_poison_does_not_stop_the_shard() -> None:
    stage = Stage()

    assert stage.write(event(b"x", b"y")) == DONE
    assert stage.rows.writes == []
    assert len(stage.store.objects) == 2


def test_rejected_rows_are_put_aside_with_their_error_and_place() -> None:
    stage = Stage(
        FakeDatabase(refuses=lambda row: "1406: too long" if row["user_id"] == 1 else None)
    )

    assert stage.write(event(record(0, 3), record(7, 2))) == DONE

    assert stage.put_aside() == {
        f"quarantine/{RUN}/3-0-0.json": {
            "tenant": "demo",
            "run": RUN,
            "chunk": 3,
            "group": 0,
            "part": 0,
            "version": 1_769_853_600_000,
            "columns": ["user_id", "text"],
            "rejected": [{"row": [1, "text 1"], "error": "1406: too long"}],
        }
    }
    assert stage.store.metadata[f"quarantine/{RUN}/3-0-0.json"] == {"run-id": RUN}


def test_a_record_that_is_delivered_again_is_put_aside_under_the_same_name() -> None:
    stage = Stage(FakeDatabase(refuses=lambda _: "1406: too long"))
    for _ in range(2):
        stage.write(event(record(0, 3)))

    assert list(stage.store.objects) == [f"quarantine/{RUN}/3-0-0.json"]


def test_a_user_that_is_gone_is_not_put_aside() -> None:
    stage = Stage(FakeDatabase(parents={1}))

    assert stage.write(event(record(0, 3))) == DONE
    assert stage.stores_made == 0
    assert set(stage.database.table) == {1}


@pytest.mark.parametrize(
    "outage", [TransientDatabaseError("2013"), SchemaError("1054"), AccessError("1045")]
)
def test_a_database_that_cannot_take_the_batch_raises_and_nothing_is_put_aside(
    outage: Exception,
) -> None:
    stage = Stage(FakeDatabase(outages=[outage]))  # type: ignore[list-item]

    with pytest.raises(type(outage)):
        stage.write(event(record(0)))
    assert stage.stores_made == 0

    assert stage.write(event(record(0))) == DONE
    assert set(stage.database.table) == {0}


class OddGroup(FakeRowStore):
    """A database that fails with these records, until it is asked to search them."""

    def __init__(self, database: FakeDatabase, odd: set[int], error: DatabaseError) -> None:
        super().__init__(database)
        self.odd = odd
        self.error = error

    def write(
        self, table: Table, records: Sequence[Record], *, search: bool = False
    ) -> list[RejectedRow]:
        self.searches.append(search)
        odd = [record for record in records if record.group in self.odd]
        if odd and not search:
            raise self.error
        rejected = [
            RejectedRow(record, row, Outcome.REJECTED, "7777: odd")
            for record in odd
            for row in record.rows
        ]
        super().write(table, [record for record in records if record not in odd])
        return rejected


def odd_stage(*odd: int, error: DatabaseError) -> Stage:
    stage = Stage()
    stage.write = replace(stage.write, rows=OddGroup(stage.database, set(odd), error))
    return stage


EITHERS = [UnknownDatabaseError("7777"), SchemaError("1146"), AccessError("1142")]


@pytest.mark.parametrize("error", EITHERS)
def test_a_record_that_may_be_at_fault_holds_up_no_other_record_of_its_batch(
    error: DatabaseError,
) -> None:
    stage = odd_stage(3, error=error)

    with pytest.raises(type(error)):
        stage.write(event(*(record(n) for n in range(9))))

    assert set(stage.database.table) == {n * 1_000 for n in range(9) if n != 3}
    assert stage.stores_made == 0


def test_a_database_that_fails_with_one_record_after_the_other_is_not_tried_with_all() -> None:
    stage = odd_stage(*range(50), error=UnknownDatabaseError("7777"))

    with pytest.raises(UnknownDatabaseError):
        stage.write(event(*(record(n) for n in range(50))))

    assert isinstance(stage.write.rows, OddGroup)
    assert len(stage.write.rows.searches) == 1 + RECORDS_TO_GIVE_UP


@pytest.mark.parametrize(
    ("age", "searched"),
    [(0, False), (SEARCH_AFTER_SECONDS - 1, False), (SEARCH_AFTER_SECONDS, True), (3_000, True)],
)
def test_a_record_is_searched_once_it_has_been_on_the_stream_for_a_while(
    age: float, searched: bool
) -> None:
    stage = odd_stage(0, error=UnknownDatabaseError("7777"))
    stage.write = replace(stage.write, now=lambda: 10_000.0)
    delivered = event(record(0))
    delivered["Records"][0]["kinesis"]["approximateArrivalTimestamp"] = 10_000.0 - age

    if searched:
        assert stage.write(delivered) == DONE
        assert list(stage.store.objects) == [f"quarantine/{RUN}/3-0-0.json"]
    else:
        with pytest.raises(UnknownDatabaseError):
            stage.write(delivered)
        assert stage.stores_made == 0


@pytest.mark.parametrize("error", EITHERS)
def test_an_attempt_in_vain_takes_its_share_of_the_hour_that_the_mapping_tries_for(
    error: DatabaseError,
) -> None:
    stage = odd_stage(0, error=error)
    times = iter([100.0, 100.0, 105.0])
    stage.write = replace(stage.write, now=lambda: next(times, 105.0))

    with pytest.raises(type(error)):
        stage.write(event(record(0)))

    assert stage.pauses == [ATTEMPT_SECONDS - 5]
    mapping = Settings.of_write_rows()
    attempts, age = mapping.maximum_retry_attempts, mapping.maximum_record_age_in_seconds
    assert attempts * ATTEMPT_SECONDS >= age


def test_an_outage_is_never_searched_however_old_the_records_are() -> None:
    stage = odd_stage(0, error=TransientDatabaseError("2013"))
    stage.write = replace(stage.write, now=lambda: 10_000.0)
    delivered = event(record(0))
    delivered["Records"][0]["kinesis"]["approximateArrivalTimestamp"] = 0.0

    with pytest.raises(TransientDatabaseError):
        stage.write(delivered)


def test_the_log_joins_the_run_its_groups_and_its_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = io.StringIO()
    for handler in logger.handlers:
        monkeypatch.setattr(handler, "stream", lines)
    other = replace(record(2), run_id="demo-20260131T100500Z")

    Stage().write(event(record(0, 2), record(1), other))

    logged = [json.loads(line) for line in lines.getvalue().splitlines()]
    received = {line["run_id"]: line for line in logged if line["message"] == "records received"}
    assert set(received) == {RUN, other.run_id}
    assert received[RUN]["groups"] == ["3-0-0", "3-1-0"]
    assert received[RUN]["rows"] == 3
    assert received[RUN]["traces"] == [record(0).trace_id, record(1).trace_id]


def test_what_the_rows_hold_is_never_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = io.StringIO()
    for handler in logger.handlers:
        monkeypatch.setattr(handler, "stream", lines)
    stage = Stage(FakeDatabase(refuses=lambda row: f"1366: Incorrect value: {row['text']}"))
    canary = replace(record(0), rows=((1, "canary"),))

    stage.write(event(canary, encode(replace(canary, tenant="other"))))

    assert "record put aside" in lines.getvalue()
    assert "canary" not in lines.getvalue()
    logged = [json.loads(line) for line in lines.getvalue().splitlines()]
    (told,) = [line for line in logged if line["message"] == "users without a row"]
    assert (told["run_id"], told["chunk"], told["group"]) == (RUN, 3, 0)
    assert told["object"] == f"quarantine/{RUN}/3-0-0.json"
    (failure,) = told["failures"]
    assert (failure["outcome"], failure["error"], failure["users"]) == ("rejected", "mysql_1366", 1)
    assert failure["examples"] == [pseudonym("demo", 1)]


def test_the_function_starts_without_what_only_a_quarantine_or_a_secret_needs() -> None:
    code = (
        "import sys, functions.write_rows.app\n"
        "needless = {'boto3', 'pycurl', 'batch_core.adapters.s3', 'batch_core.adapters.secrets'}\n"
        "print(needless & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")
