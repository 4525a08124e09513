"""The state machine executed with the real functions."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest

from batch_core.limits import STATE_BYTES
from tests.support.tenant import Tenant, account, judged


def test_every_user_is_stored_and_the_next_run_finds_them_unchanged(tenant: Tenant) -> None:
    tenant.seed(430)

    first, second = tenant.run(), tenant.run()

    assert (first.status, first.output["outcomes"]["stored"]) == ("SUCCEEDED", 430)
    assert second.output["outcomes"]["unchanged"] == 430
    assert tenant.sql("SELECT COUNT(*), COUNT(DISTINCT version) FROM user_activity") == [(430, 1)]
    assert first.max_state_bytes < STATE_BYTES


def test_a_run_leaves_the_line_that_alarms_and_the_table_of_runs_are_made_of(
    tenant: Tenant, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant.seed(20)
    tenant.api.script({account(1): [{"status": 404, "repeat": True}]})

    execution = tenant.run()

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line[:1] == "{"]
    (told,) = (line for line in lines if "_aws" in line)
    assert (told["message"], told["run_id"]) == ("run account", execution.output["run_id"])
    assert (told["status"], told["stored"], told["rejected"]) == ("completed", 19, 1)
    assert (told["RunCompleted"], told["Coverage"], told["coverage"]) == ([1.0], [95.0], 95.0)


def test_one_user_per_invocation_is_a_matter_of_the_runs_input(tenant: Tenant) -> None:
    tenant.seed(12)

    execution = tenant.run(group_size=1)

    assert execution.output["outcomes"]["stored"] == 12
    assert execution.visited.count("Call API") == 12


@pytest.mark.parametrize("group_size", [1, 200])
def test_keys_that_no_double_holds_survive_every_state(tenant: Tenant, group_size: int) -> None:
    keys = [2**53 + 1, 2**63 - 1, 2**64 - 1]
    tenant.sql(
        "INSERT INTO users (user_id, account) VALUES "
        + ",".join(f"({key}, '{account(n)}')" for n, key in enumerate(keys))
    )
    numbers: list[float] = []
    tenant.before["process_users"] = lambda payload: numbers.extend(numbers_in(payload))

    execution = tenant.run(group_size=group_size)

    assert execution.output["outcomes"]["stored"] == 3
    assert tenant.sql("SELECT user_id FROM user_activity ORDER BY user_id") == [
        (key,) for key in keys
    ]
    # The workflow's language reads numbers as doubles: no state holds one that they would round.
    assert numbers
    assert max(map(abs, numbers)) < 2**53


def numbers_in(value: Any) -> list[float]:
    match value:
        case bool():
            return []
        case int() | float():
            return [value]
        case dict():
            return [number for inner in value.values() for number in numbers_in(inner)]
        case list():
            return [number for inner in value for number in numbers_in(inner)]
    return []


def test_nobody_to_process_is_a_completed_run(tenant: Tenant) -> None:
    execution = tenant.run()

    assert (execution.status, execution.output["listed"]) == ("SUCCEEDED", 0)


def test_more_trouble_than_is_tolerated_fails_the_run_and_still_accounts_for_everybody(
    tenant: Tenant,
) -> None:
    tenant.seed(100)
    tenant.api.script({account(n): [{"status": 404, "repeat": True}] for n in range(1, 31)})

    execution = tenant.run()

    assert execution.status == "FAILED"
    told = judged(execution)
    assert told["unaccounted"] == 0
    assert (told["outcomes"]["stored"], told["outcomes"]["rejected"]) == (70, 30)
    assert "30 of 100 users (30 %) are rejected; 5 % are tolerated" in told["reason"]


def test_a_chunk_that_is_gone_is_left_for_the_next_run(tenant: Tenant) -> None:
    tenant.configure(MAX_RETRY_LATER_PERCENT="50")
    tenant.seed(430)
    tenant.before["call_api"] = delete_the_last_chunk

    execution = tenant.run()

    assert execution.status == "SUCCEEDED"
    assert execution.output["outcomes"] == {
        "stored": 300, "unchanged": 0, "rejected": 0, "retry_later": 130, "skipped": 0, "gone": 0,
    }  # fmt: skip


def test_a_user_deleted_between_the_call_and_the_write_is_gone(tenant: Tenant) -> None:
    tenant.seed(10)
    tenant.before["finish_run"] = lambda _: tenant.sql("DELETE FROM users WHERE user_id = 4")

    execution = tenant.run()

    assert execution.output["outcomes"]["gone"] == 1
    assert execution.output["outcomes"]["stored"] == 9
    assert tenant.sql("SELECT 1 FROM user_activity WHERE user_id = 4") == []


def test_a_wrong_users_query_fails_the_run_and_says_what_the_database_said(
    tenant: Tenant,
) -> None:
    tenant.sql("DROP TABLE user_activity")

    execution = tenant.run()

    assert execution.status == "FAILED"
    assert execution.error == "SchemaError"
    assert "user_activity" in execution.cause


def test_rows_that_never_reach_the_writer_fail_the_run_as_unaccounted(
    tenant: Tenant,
) -> None:
    tenant.seed(10)
    tenant.delivers = False

    execution = tenant.run()

    assert execution.status == "FAILED"
    told = judged(execution)
    assert told["unaccounted"] == 10
    assert "10 rows that were put on the stream have not reached the database" in told["reason"]


def delete_the_last_chunk(payload: Any) -> None:
    chunk, run = payload["chunk"], payload["run"]
    if chunk["n"] == 2:
        key = f"runs/{run['id']}/{run['fence']}/chunks/2"
        boto3.client("s3").delete_object(Bucket="payloads", Key=key)
