"""The functions that use the database, wired as they are deployed; S3 is moto's."""

from __future__ import annotations

import importlib
import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

import job
from batch_core.job import Response, User
from batch_core.records import Record, encode
from batch_core.run import Run
from functions.finish_run import app as finish_run
from functions.list_users import app as list_users
from functions.migrate import app as migrate
from functions.write_rows import app as write_rows
from sampleapi.activity import activity
from tests.support.databases import Schema
from tests.support.functions import CONTEXT, execution_environments, secret

START = {"scheduled_time": None, "started_at": "2026-01-31T10:02:00Z", "execution": "e-1"}


@pytest.fixture
def stack(schema: Schema, monkeypatch: pytest.MonkeyPatch) -> Iterator[Schema]:
    """Set what the template sets, for a tenant with three users."""
    variables = {
        "DATABASE_ENDPOINT": schema.host,
        "DATABASE_PORT": str(schema.port),
        "DATABASE_NAME": schema.name,
        "DATABASE_USER": schema.user,
        "DATABASE_CA_FILE": str(schema.ca_file),
        "SCHEDULE_MINUTES": "5",
        "CHUNK_SIZE": "1000",
        "USERS_PER_INVOCATION": "100",
        "CHUNK_CONCURRENCY": "2",
        "GROUP_CONCURRENCY": "8",
        "API_REQUESTS_PER_SECOND": "0",
        "QUARANTINE_AFTER": "5",
        "QUARANTINE_HOURS": "24",
        "MAX_REJECTED_PERCENT": "50",
        "MAX_RETRY_LATER_PERCENT": "50",
        "LEDGER_RETENTION_DAYS": "30",
    }
    with execution_environments(monkeypatch, variables):
        login = json.dumps({"username": schema.user, "password": schema.password})
        monkeypatch.setenv("DATABASE_SECRET_ARN", secret("database", login))
        migrate.lambda_handler({}, CONTEXT)
        with schema.connect() as connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO users (user_id, account) VALUES (1,'a'),(2,'b'),(3,'c')")
        yield schema


def batch(run: Run, answers: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """The event with the record that Process Users makes of the API's answers."""
    rows = tuple(
        (user_id, *(row[column] for column in job.JOB.table.columns))
        for user_id, row in answers.items()
    )
    record = Record(
        tenant="demo",
        run_id=run.id,
        chunk=0,
        group=0,
        version=run.version,
        trace_id="",
        segment_id="",
        part=0,
        columns=(job.JOB.table.key, *job.JOB.table.columns),
        rows=rows,
    )
    data = b64encode(encode(record)).decode()
    return {"Records": [{"kinesis": {"sequenceNumber": "1", "data": data}}]}


def row(user: User) -> dict[str, Any]:
    told = activity("demo", user["account"], 1)
    made = job.JOB.process(user, Response(200, json.dumps(told).encode(), '"e-1"'))
    assert made is not None
    return dict(made)


def test_a_run_from_listing_to_its_end(stack: Schema) -> None:
    listing = list_users.lambda_handler(START, CONTEXT)
    assert (listing["decision"], listing["listed"]) == ("process", 3)
    run = Run.from_json(listing["run"])
    assert run.id == "demo-20260131T100200Z"
    body = (
        boto3.client("s3")
        .get_object(Bucket="payloads", Key=f"{run.prefix}/chunks/0")["Body"]
        .read()
    )
    users = json.loads(body)
    assert users[0] == {"user_id": 1, "account": "a", "etag": None}

    rows = {user["user_id"]: row(user) for user in users}
    rows[2]["note"] = "x" * 501
    with stack.connect() as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM users WHERE user_id = 3")
    assert write_rows.lambda_handler(batch(run, rows), CONTEXT) == {"batchItemFailures": []}

    end = {"run": listing["run"], "listed": 3, "tally": {"queued": 3}, "failed_groups": 0}
    answer = finish_run.lambda_handler({**end, "failures": []}, CONTEXT)

    assert answer["status"] == "completed"
    assert {k: v for k, v in answer["outcomes"].items() if v} == {
        "stored": 1,
        "rejected": 1,
        "gone": 1,
    }
    kept = boto3.client("s3").get_object(Bucket="payloads", Key=f"quarantine/{run.id}/0-0-0.json")
    assert json.loads(kept["Body"].read())["rejected"][0]["row"][0] == 2
    with stack.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT user_id, note, devices, version, etag FROM user_activity")
        ((user_id, note, devices, version, etag),) = cursor.fetchall()
    assert (user_id, version, etag) == (1, run.version, '"e-1"')
    assert (note, json.loads(devices)) == (rows[1]["note"], rows[1]["devices"])


def test_the_next_run_lists_the_stored_etag(stack: Schema) -> None:
    first = list_users.lambda_handler(START, CONTEXT)
    run = Run.from_json(first["run"])
    write_rows.lambda_handler(batch(run, {1: row({"user_id": 1, "account": "a"})}), CONTEXT)
    end = {"run": first["run"], "listed": 3, "tally": {"queued": 1, "unchanged": 2}}
    assert finish_run.lambda_handler(end, CONTEXT)["status"] == "completed"

    second = list_users.lambda_handler(
        {**START, "started_at": "2026-01-31T10:07:00Z", "execution": "e-2"}, CONTEXT
    )

    prefix = Run.from_json(second["run"]).prefix
    body = boto3.client("s3").get_object(Bucket="payloads", Key=f"{prefix}/chunks/0")["Body"].read()
    assert [user["etag"] for user in json.loads(body)] == ['"e-1"', None, None]


def test_the_same_execution_twice_is_a_retry_and_another_a_duplicate(stack: Schema) -> None:
    assert list_users.lambda_handler(START, CONTEXT)["run"]["fence"] == 1
    assert list_users.lambda_handler(START, CONTEXT)["run"]["fence"] == 2
    other = list_users.lambda_handler({**START, "execution": "e-2"}, CONTEXT)
    assert other["decision"] == "duplicate"


def test_migrating_again_does_nothing(stack: Schema) -> None:
    again = migrate.lambda_handler({}, CONTEXT)

    assert again["applied"] == []
    assert again["already"] > 0


@pytest.mark.parametrize("name", ["list_users", "write_rows", "finish_run", "migrate"])
def test_a_function_can_be_imported_without_its_environment(name: str) -> None:
    assert callable(importlib.import_module(f"functions.{name}.app").lambda_handler)


def test_a_check_tells_what_the_database_is_and_applies_nothing(stack: Schema) -> None:
    with stack.connect() as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE batch_migration, batch_run")

    (told,) = migrate.lambda_handler({"check": True}, CONTEXT).values()

    facts = {"version", "sql_mode", "character_set", "collation", "rights", "role"}
    assert facts | {"listed"} == told.keys()
    assert "INSERT" in told["rights"]
    assert told["listed"] == 0
    with stack.connect() as connection, connection.cursor() as cursor:
        assert cursor.execute("SHOW TABLES LIKE 'batch_migration'") == 0


def test_a_check_of_a_database_that_lets_nobody_in_says_why(
    stack: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = json.dumps({"username": stack.user, "password": "wrong"})
    monkeypatch.setenv("DATABASE_SECRET_ARN", secret("another", login))

    (told,) = migrate.lambda_handler({"check": True}, CONTEXT).values()

    assert told.keys() == {"refused"}
    assert "Access denied" in told["refused"]
    assert "wrong" not in told["refused"]
