"""The way of a row from Process Users to the table, with a model of what must come out.

Rows are put on a stream in memory by the real Process Users, delivered by the mapping of the
template, and stored by the real Write Rows in a real MariaDB; S3 is moto's.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import boto3
import pytest

from batch_core import claims
from batch_core.adapters.mysql import connect
from batch_core.adapters.mysql_ledger import MySqlRunLedger
from batch_core.adapters.s3 import S3PayloadStore
from batch_core.answers import Answered
from batch_core.chunks import Chunk
from batch_core.job import Response, Row
from batch_core.outcomes import Tally
from batch_core.ports import RecordStream, RowStore
from batch_core.process_users import process_users
from batch_core.run import Run
from batch_core.settings.write_rows import WriteRowsSettings
from batch_core.write_rows import RowWriter
from functions.migrate import app as migrate
from functions.write_rows import app as write_rows
from job import JOB
from tests.support.answers import gathered
from tests.support.databases import Schema
from tests.support.event_source_mapping import (
    Clock,
    EventSourceMapping,
    Function,
    MemoryStream,
    Settings,
)
from tests.support.fakes import FakePayloadStore
from tests.support.functions import CONTEXT, execution_environments, secret
from tests.support.ledger import Total

USERS = 1_000
FIRST_VERSION = 1_769_854_800_000

type Rows = Mapping[int, Row]


def row(note: str, **changes: Any) -> Row:
    """A row of the shipped job's table."""
    usual = {
        "action": "login",
        "occurred_at": "2026-01-31 10:00:00.000",
        "score": 1.5,
        "country": "JP",
        "devices": [],
        "note": note,
        "etag": None,
    }
    return usual | changes


def run_of(version: int) -> Run:
    """A run whose rows carry this version."""
    return Run(
        id=f"demo-{version}",
        version=version,
        fence=1,
        group_size=100,
        requests_per_second=0,
        ends_at=2_000_000_000,
    )


def write_rows_function(event: dict[str, Any]) -> Any:
    """Write Rows as Lambda calls it."""
    return write_rows.lambda_handler(event, CONTEXT)


def row_store() -> RowStore:
    """The store that Write Rows uses."""
    return write_rows.writer().rows


def writing_to(rows: RowStore) -> Function:
    """Write Rows with another store."""
    return replace(write_rows.writer(), rows=rows)


@dataclass(frozen=True, slots=True)
class Group:
    """What one invocation of Process Users puts on the stream."""

    version: int
    number: int
    rows: Rows

    def put(self, stream: RecordStream) -> Tally:
        users = len(self.rows)
        answers = gathered(Answered({"user_id": user}, 0, Response(200, b"")) for user in self.rows)
        run, store = run_of(self.version), FakePayloadStore()
        tally = process_users(
            {
                "run": run.to_json(),
                "chunk": Chunk(n=0, users=users, groups=1, stride=1, etag="e").to_json(),
                "group": self.number,
                "claim": claims.put(answers, run=run, name="0/0", store=store),
                "tally": Tally().to_json(),
            },
            tenant="demo",
            job=replace(JOB, process=lambda user, _: self.rows[user["user_id"]]),
            store=store,
            stream=stream,
        )
        return Tally.from_json(tally)


class StreamLab:
    """One tenant's stream, writer and schema, and the model: the newest row of each user."""

    def __init__(self, schema: Schema) -> None:
        self.clock = Clock()
        self.stream = MemoryStream(self.clock)
        self.bucket = FakePayloadStore()
        self.newest: dict[int, tuple[int, str]] = {}
        self.groups: list[Group] = []
        self._schema = schema
        self._database = connect(WriteRowsSettings.from_env())
        self._ledger = MySqlRunLedger(self._database)
        self.reset()

    def close(self) -> None:
        """Give back the connection."""
        self._database.discard()

    def put(self, group: Group, *, stream: RecordStream | None = None) -> None:
        """Put a group on the stream, and expect its rows in the table unless newer ones are."""
        assert group.put(stream or self.stream) == Tally(queued=len(group.rows))
        self.groups.append(group)
        for user, values in group.rows.items():
            mine = (group.version, str(values["note"]))
            self.newest[user] = max(self.newest.get(user, mine), mine)

    def put_many(self, groups: int, *, users: int = 5, version: int = FIRST_VERSION) -> None:
        """Put groups of users of their own on the stream."""
        for n in range(groups):
            members = range(n * users + 1, (n + 1) * users + 1)
            self.put(Group(version, n, {user: row(f"{version}/{user}") for user in members}))

    def mapping(
        self, function: Function = write_rows_function, *, settings: Settings | None = None
    ) -> EventSourceMapping:
        """The mapping that is deployed, unless other settings are given."""
        if isinstance(function, RowWriter):
            function = self.timed(function)
        return EventSourceMapping(
            self.stream,
            function,
            settings=settings or Settings.of_write_rows(),
            clock=self.clock,
            destination=self.bucket,
        )

    def timed(self, writer: RowWriter) -> RowWriter:
        """The writer, living in the laboratory's time."""
        return replace(writer, now=lambda: self.clock.now, sleep=self.clock.advance)

    def replay(self) -> int:
        """Put everything that was given up on the stream again; gives how many records that are."""
        given_up = [json.loads(body) for body in self.bucket.objects.values()]
        events = [json.loads(told["payload"]) for told in given_up]
        records = [
            (record["kinesis"]["partitionKey"], b64decode(record["kinesis"]["data"]))
            for event in events
            for record in event["Records"]
        ]
        self.bucket.objects.clear()
        self.stream.put(records)
        return len(records)

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        """Run a statement in the tenant's schema."""
        with self._schema.connect() as connection, connection.cursor() as cursor:
            cursor.execute(text)
            return list(cursor.fetchall())

    def reset(self) -> None:
        """Begin anew, with empty tables and an empty stream."""
        for table in ("user_activity", "batch_record"):
            self.sql(f"DELETE FROM {table}")
        self.stream = MemoryStream(self.clock)
        self.newest.clear()
        self.groups.clear()

    @property
    def rows_put(self) -> int:
        return sum(len(group.rows) for group in self.groups)

    @property
    def tally(self) -> Tally:
        """What the ledger says of all the runs."""
        runs = {run_of(group.version).id for group in self.groups}
        return sum((Total.of(self._ledger, run, fence=1).tally for run in runs), Tally())

    @property
    def stored(self) -> dict[int, tuple[int, str]]:
        return {
            user: (version, note)
            for user, version, note in self.sql("SELECT user_id, version, note FROM user_activity")
        }

    @property
    def lost(self) -> int:
        """Rows that differ from the model, missing ones and those too many included."""
        stored = self.stored
        return sum(stored.get(user) != self.newest.get(user) for user in stored | self.newest)

    @property
    def quarantine(self) -> dict[str, Any]:
        """What Write Rows has put aside."""
        bucket = S3PayloadStore("payloads")
        return {key: json.loads(bucket.get(key)) for key in _keys("quarantine/")}


@contextmanager
def environment(schema: Schema, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the functions find their AWS and this schema."""
    variables = {
        "DATABASE_ENDPOINT": schema.host,
        "DATABASE_PORT": str(schema.port),
        "DATABASE_NAME": schema.name,
        "DATABASE_USER": schema.user,
        "DATABASE_CA_FILE": str(schema.ca_file),
    }
    with execution_environments(monkeypatch, variables):
        login = json.dumps({"username": schema.user, "password": schema.password})
        monkeypatch.setenv("DATABASE_SECRET_ARN", secret("database", login))
        yield


def prepare(schema: Schema) -> None:
    """Migrate the schema and let users 1 to `USERS` exist."""
    migrate.lambda_handler({}, CONTEXT)
    values = ",".join(f"({n}, 'u-{n}')" for n in range(1, USERS + 1))
    with schema.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO users (user_id, account) VALUES {values}")


def _keys(prefix: str) -> list[str]:
    answer = boto3.client("s3").list_objects_v2(Bucket="payloads", Prefix=prefix)
    return [item["Key"] for item in answer.get("Contents", [])]
