"""One tenant with the real functions, and the workflow that runs them: the fixture `tenant`.

Expressions run on the reference engine, rows go to a real MariaDB, calls to a real HTTP server, and
S3 and Kinesis are moto's. What the local cloud does not enforce is measured here.
"""

from __future__ import annotations

import json
import os
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final

import pytest

from functions.call_api import app as call_api
from functions.finish_run import app as finish_run
from functions.list_users import app as list_users
from functions.migrate import app as migrate
from functions.process_users import app as process_users
from functions.write_rows import app as write_rows
from sampleapi.activity import answer
from sampleapi.admin import SampleApiAdmin
from tests.support.asl import TASK_SECONDS, Duration, Execution, Machine, render
from tests.support.databases import Schema
from tests.support.etags import plain
from tests.support.functions import (
    CONTEXT,
    execution_environments,
    fresh_environments,
    on_the_stream,
    secret,
)
from tests.support.jsonata import Jsonata
from tests.support.sample_api import sample_api

PERIOD: Final = timedelta(minutes=5)
FUNCTIONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "list_users": list_users.lambda_handler,
    "call_api": call_api.lambda_handler,
    "process_users": process_users.lambda_handler,
    "finish_run": finish_run.lambda_handler,
}


class Tenant:
    """One tenant's functions, stream and schema, and the machine that runs them.

    Attributes
    ----------
    before, after
        Called with a function's payload before or after its invocation; what they raise is what the
        workflow sees.
    takes
        How long a function takes, in the workflow's modelled time.
    delivers
        Whether the stream hands the writer what is on it.
    stream_seconds
        How long a record is on the stream before the writer gets it.
    started
        When the last execution was started.
    """

    def __init__(
        self, jsonata: Jsonata, schema: Schema, api: SampleApiAdmin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.api = api
        self.before: dict[str, Callable[[Any], object]] = {}
        self.after: dict[str, Callable[[Any], object]] = {}
        self.takes: Duration = lambda _function, _payload: TASK_SECONDS
        self.delivers = True
        self.stream_seconds = 0
        self.started = datetime.now(UTC)
        self._jsonata = jsonata
        self._schema = schema
        self._monkeypatch = monkeypatch
        self._delivered = 0
        self._executions = 0

    def run(self, **given: Any) -> Execution:
        """Execute the workflow once, in a slot of its own."""
        self.started += PERIOD
        return self.start(**{"scheduled_time": self.started.isoformat(), **given})

    def start(self, **given: Any) -> Execution:
        """Execute the workflow once, with this input and no other."""
        self._executions += 1
        widths = {
            "ChunkConcurrency": os.environ["CHUNK_CONCURRENCY"],
            "GroupConcurrency": os.environ["GROUP_CONCURRENCY"],
        }
        machine = Machine(render(**widths), self._jsonata, self.invoke, self._seconds)
        return machine.execute(
            given,
            name=f"execution-{self._executions}",
            started=self.started.isoformat(timespec="milliseconds"),
        )

    def configure(self, **variables: str) -> None:
        """Deploy again, with other values in the functions' environments."""
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)
        fresh_environments()

    def variable(self, name: str) -> str:
        """What the functions' environments hold now."""
        return os.environ[name]

    def seed(self, users: int, *, first: int = 1) -> None:
        """Let users `first` to `users` exist."""
        values = ",".join(f"({n}, '{account(n)}')" for n in range(first, users + 1))
        self.sql(f"REPLACE INTO users (user_id, account) VALUES {values}")

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        """Run a statement in the tenant's schema."""
        with self._schema.connect() as connection, connection.cursor() as cursor:
            cursor.execute(text)
            return list(cursor.fetchall())

    @property
    def version(self) -> int:
        """The version of the last slot's rows."""
        return (self.started - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)

    @property
    def versions(self) -> dict[int, int]:
        """The version of each stored row."""
        return dict(self.sql("SELECT user_id, version FROM user_activity"))

    @property
    def lost(self) -> int:
        """Of how many users the table does not hold what the API serves now."""
        revisions = self.api.revisions()
        served = {
            name: answer("demo", name, revisions.get(name, 0))[0]
            for (name,) in self.sql("SELECT account FROM users")
        }
        stored = dict(
            self.sql("SELECT account, etag FROM user_activity JOIN users USING (user_id)")
        )
        return sum(plain(stored.get(name)) != etag for name, etag in served.items())

    def invoke(self, function: str, payload: Any) -> Any:
        """Invoke a function as the workflow does."""
        self.before.get(function, lambda _: None)(payload)
        context = CONTEXT
        if function == "finish_run":
            if self.delivers:
                self.deliver()
            # It waits as long as it may for rows that do not come: not for long, in a test.
            brief = {"get_remaining_time_in_millis": lambda: 6_000}
            context = SimpleNamespace(**{**vars(CONTEXT), **brief})
        answer = FUNCTIONS[function](payload, context)
        self.after.get(function, lambda _: None)(payload)
        return answer

    def deliver(self, *, again: bool = False) -> None:
        """Hand the writer what is new on the stream, or all of it, as its mapping does."""
        data = on_the_stream()
        first = 0 if again else self._delivered
        write(*data[first:], seconds=self.stream_seconds)
        self._delivered = len(data)

    def _seconds(self, function: str, payload: Any) -> float:
        return self.takes(function, payload)


def judged(execution: Execution) -> dict[str, Any]:
    """What the run says of itself at its end, whether it completed or failed."""
    told = execution.output if execution.status == "SUCCEEDED" else json.loads(execution.cause)
    assert isinstance(told, dict)
    return told


def accounted(*executions: Execution) -> int:
    """How many users have an outcome in these runs."""
    return sum(sum(judged(execution)["outcomes"].values()) for execution in executions)


def write(*data: bytes, seconds: int = 0) -> None:
    """Hand the writer records as they have lain on the stream for some seconds."""
    arrived = time.time() - seconds
    records = [
        {
            "eventID": f"shardId-000000000000:{n}",
            "kinesis": {
                "sequenceNumber": str(n),
                "data": b64encode(item).decode(),
                "approximateArrivalTimestamp": arrived,
            },
        }
        for n, item in enumerate(data)
    ]
    if records:
        write_rows.lambda_handler({"Records": records}, CONTEXT)


def account(user: int) -> str:
    """How the API knows a user."""
    return f"u-{user:06d}"


def is_group(payload: Any, chunk: int, group: int) -> bool:
    """Whether a payload is about this group."""
    return bool((payload["chunk"]["n"], payload["group"]) == (chunk, group))


@pytest.fixture
def tenant(jsonata: Jsonata, schema: Schema, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tenant]:
    """Deploy a tenant with 50 users to a group, 200 to a chunk, and none yet."""
    with sample_api() as url:
        variables = {
            "DATABASE_ENDPOINT": schema.host,
            "DATABASE_PORT": str(schema.port),
            "DATABASE_NAME": schema.name,
            "DATABASE_USER": schema.user,
            "DATABASE_CA_FILE": str(schema.ca_file),
            "SCHEDULE_MINUTES": "5",
            "CHUNK_SIZE": "200",
            "USERS_PER_INVOCATION": "50",
            "CHUNK_CONCURRENCY": "4",
            "GROUP_CONCURRENCY": "10",
            "API_REQUESTS_PER_SECOND": "0",
            "QUARANTINE_AFTER": "5",
            "QUARANTINE_HOURS": "24",
            "API_BASE_URL": f"{url}/demo",
            "API_SECRET_ARN": "",
            "API_CONCURRENCY": "20",
            "API_TIMEOUT_SECONDS": "10",
            "API_ALLOW_PRIVATE_ADDRESSES": "true",
            "MAX_REJECTED_PERCENT": "5",
            "MAX_RETRY_LATER_PERCENT": "20",
            "LEDGER_RETENTION_DAYS": "30",
        }
        with execution_environments(monkeypatch, variables):
            login = json.dumps({"username": schema.user, "password": schema.password})
            monkeypatch.setenv("DATABASE_SECRET_ARN", secret("database", login))
            migrate.lambda_handler({}, CONTEXT)
            yield Tenant(jsonata, schema, SampleApiAdmin(url, "demo"), monkeypatch)
