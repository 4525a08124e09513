"""The state machine executed with the real functions.

Expressions run on the reference engine, rows go to a real MariaDB, calls to a real HTTP server, and
S3 and Kinesis are moto's. What the local cloud does not enforce is measured here.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from batch_core.limits import STATE_BYTES
from functions.call_api import app as call_api
from functions.finish_run import app as finish_run
from functions.list_users import app as list_users
from functions.migrate import app as migrate
from functions.process_users import app as process_users
from functions.write_rows import app as write_rows
from sampleapi.admin import SampleApiAdmin
from tests.support.asl import Execution, Machine, render
from tests.support.functions import CONTEXT, execution_environments, on_the_stream, secret
from tests.support.jsonata import Jsonata
from tests.support.mariadb import Schema
from tests.support.sample_api import sample_api

FUNCTIONS = {
    "list_users": list_users.lambda_handler,
    "call_api": call_api.lambda_handler,
    "process_users": process_users.lambda_handler,
    "finish_run": finish_run.lambda_handler,
}


class Deployed:
    """One tenant's functions, stream and schema, and the machine that runs them."""

    def __init__(self, jsonata: Jsonata, schema: Schema, api: SampleApiAdmin) -> None:
        self.api = api
        self.before: dict[str, Callable[[Any], object]] = {}
        self.delivers = True
        self._jsonata = jsonata
        self._schema = schema
        self._delivered = 0
        self._started = datetime.now(UTC)

    def run(self, **given: Any) -> Execution:
        """Execute the workflow once, in a slot of its own."""
        self._started += timedelta(minutes=5)
        started = self._started.isoformat(timespec="milliseconds")
        machine = Machine(render(), self._jsonata, self._invoke)
        return machine.execute({"scheduled_time": started, **given}, name=started, started=started)

    def seed(self, users: int) -> None:
        """Let users 1 to `users` exist."""
        values = ",".join(f"({n}, 'u-{n:06d}')" for n in range(1, users + 1))
        self.sql(f"REPLACE INTO users (user_id, account) VALUES {values}")

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        """Run a statement in the tenant's schema."""
        with self._schema.connect() as connection, connection.cursor() as cursor:
            cursor.execute(text)
            return list(cursor.fetchall())

    def _invoke(self, function: str, payload: Any) -> Any:
        self.before.get(function, lambda _: None)(payload)
        if function != "finish_run":
            return FUNCTIONS[function](payload, CONTEXT)
        if self.delivers:
            self._deliver()
        # It waits as long as it may for rows that do not come: not for long, in a test.
        brief = SimpleNamespace(**{**vars(CONTEXT), "get_remaining_time_in_millis": lambda: 3_000})
        return FUNCTIONS[function](payload, brief)

    def _deliver(self) -> None:
        """Hand the writer what is new on the stream, as the event source mapping does."""
        data = on_the_stream()
        records = [
            {"kinesis": {"sequenceNumber": str(n), "data": b64encode(item).decode()}}
            for n, item in enumerate(data[self._delivered :], start=self._delivered)
        ]
        if records:
            write_rows.lambda_handler({"Records": records}, CONTEXT)
        self._delivered = len(data)


@pytest.fixture
def deployed(
    jsonata: Jsonata, schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Deployed]:
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
            yield Deployed(jsonata, schema, SampleApiAdmin(url, "demo"))


def test_every_user_is_stored_and_the_next_run_finds_them_unchanged(deployed: Deployed) -> None:
    deployed.seed(430)

    first, second = deployed.run(), deployed.run()

    assert (first.status, first.output["outcomes"]["stored"]) == ("SUCCEEDED", 430)
    assert second.output["outcomes"]["unchanged"] == 430
    assert deployed.sql("SELECT COUNT(*), COUNT(DISTINCT version) FROM user_activity") == [(430, 1)]
    assert first.max_state_bytes < STATE_BYTES


def test_one_user_per_invocation_is_a_matter_of_the_runs_input(deployed: Deployed) -> None:
    deployed.seed(12)

    execution = deployed.run(group_size=1)

    assert execution.output["outcomes"]["stored"] == 12
    assert execution.visited.count("Call API") == 12


def test_nobody_to_process_is_a_completed_run(deployed: Deployed) -> None:
    execution = deployed.run()

    assert (execution.status, execution.output["listed"]) == ("SUCCEEDED", 0)


def test_more_trouble_than_is_tolerated_fails_the_run_and_still_accounts_for_everybody(
    deployed: Deployed,
) -> None:
    deployed.seed(100)
    deployed.api.script({f"u-{n:06d}": [{"status": 404, "repeat": True}] for n in range(1, 31)})

    execution = deployed.run()

    assert execution.status == "FAILED"
    judged = json.loads(execution.cause)
    assert judged["unaccounted"] == 0
    assert (judged["outcomes"]["stored"], judged["outcomes"]["rejected"]) == (70, 30)
    assert "30 of 100 users (30 %) are rejected; 5 % are tolerated" in judged["reason"]


def test_a_chunk_that_is_gone_is_left_for_the_next_run(deployed: Deployed) -> None:
    deployed.seed(430)
    deployed.before["call_api"] = delete_the_last_chunk

    execution = deployed.run()

    assert execution.status == "SUCCEEDED"
    assert execution.output["outcomes"] == {
        "stored": 400, "unchanged": 0, "rejected": 0, "retry_later": 30, "skipped": 0, "gone": 0,
    }  # fmt: skip


def test_a_user_deleted_between_the_call_and_the_write_is_gone(deployed: Deployed) -> None:
    deployed.seed(10)
    deployed.before["finish_run"] = lambda _: deployed.sql("DELETE FROM users WHERE user_id = 4")

    execution = deployed.run()

    assert execution.output["outcomes"]["gone"] == 1
    assert execution.output["outcomes"]["stored"] == 9
    assert deployed.sql("SELECT 1 FROM user_activity WHERE user_id = 4") == []


def test_a_wrong_users_query_fails_the_run_and_says_what_the_database_said(
    deployed: Deployed,
) -> None:
    deployed.sql("DROP TABLE user_activity")

    execution = deployed.run()

    assert execution.status == "FAILED"
    assert execution.error == "SchemaError"
    assert "user_activity" in execution.cause


def test_rows_that_never_reach_the_writer_fail_the_run_as_unaccounted(
    deployed: Deployed,
) -> None:
    deployed.seed(10)
    deployed.delivers = False

    execution = deployed.run()

    assert execution.status == "FAILED"
    judged = json.loads(execution.cause)
    assert judged["unaccounted"] == 10
    assert "10 rows that were put on the stream have not reached the database" in judged["reason"]


def delete_the_last_chunk(payload: Any) -> None:
    chunk, run = payload["chunk"], payload["run"]
    if chunk["n"] == 2:
        key = f"runs/{run['id']}/{run['fence']}/chunks/2"
        boto3.client("s3").delete_object(Bucket="payloads", Key=key)
