"""A run that was left alone does not bar the next one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

import batch_core
from batchctl.run.earlier import make_way

if TYPE_CHECKING:
    from batchctl.local.sql_server import Connection
    from tests.support.databases import Schema

LEDGER = Path(batch_core.__file__).parent / "schema" / "0001_ledger.sql"


class FakeStepFunctions:
    """Executions by what they answer, one answer after the other."""

    def __init__(self, **answers: list[str]) -> None:
        self._answers = answers

    def describe_execution(self, **asked: str) -> dict[str, Any]:
        answers = self._answers.get(asked["executionArn"])
        if not answers:
            raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")
        return {"status": answers.pop(0)}


@pytest.fixture
def ledger(schema: Schema) -> Iterator[Connection]:
    with schema.connect() as connection:
        with connection.cursor() as cursor:
            lines = LEDGER.read_text(encoding="utf-8").splitlines()
            sql = "\n".join(line for line in lines if not line.startswith("--"))
            for statement in filter(str.strip, sql.split(";")):
                cursor.execute(statement)
        yield connection


def hold(connection: Connection, run_id: str, seconds: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE batch_lease SET fence = fence + 1, run_id = %s,"
            " expires_at = UTC_TIMESTAMP(3) + INTERVAL %s SECOND",
            (run_id, seconds),
        )
        cursor.execute(
            "INSERT INTO batch_run (run_id, version, owner, fence, status, opened_at)"
            " VALUES (%s, 1, %s, 1, 'running', UTC_TIMESTAMP(3))",
            (run_id, f"execution_of_{run_id}"),
        )


def is_held(connection: Connection) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT expires_at > UTC_TIMESTAMP(3) FROM batch_lease")
        row = cursor.fetchone()
    assert row is not None
    return bool(row[0])


def give_back(connection: Connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE batch_lease SET expires_at = UTC_TIMESTAMP(3)")


def test_nobody_is_waited_for_when_nobody_holds_the_lease(ledger: Connection) -> None:
    said: list[str] = []
    make_way(ledger, FakeStepFunctions(), said.append)
    assert said == []


def test_the_lease_of_a_run_that_went_down_with_the_cloud_is_taken(ledger: Connection) -> None:
    hold(ledger, "gone", 300)
    make_way(ledger, FakeStepFunctions(), lambda _: None)
    assert not is_held(ledger)


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "ABORTED"])
def test_the_lease_of_a_run_that_ended_without_giving_it_back_is_taken(
    ledger: Connection, status: str
) -> None:
    hold(ledger, "ended", 300)
    make_way(ledger, FakeStepFunctions(execution_of_ended=[status]), lambda _: None)
    assert not is_held(ledger)


def test_a_run_that_goes_on_is_waited_for_and_keeps_its_lease(ledger: Connection) -> None:
    hold(ledger, "busy", 300)
    said: list[str] = []
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        assert is_held(ledger)
        pauses.append(seconds)
        if len(pauses) == 3:
            give_back(ledger)

    make_way(ledger, FakeStepFunctions(execution_of_busy=["RUNNING"] * 3), said.append, sleep=sleep)
    assert len(pauses) == 3
    assert said == ["waiting for the run busy to end"]


def test_a_lease_taken_meanwhile_by_another_run_is_left_alone(ledger: Connection) -> None:
    hold(ledger, "first", 300)

    class Overtaken(FakeStepFunctions):
        def describe_execution(self, **asked: str) -> dict[str, Any]:
            assert asked == {"executionArn": "execution_of_first"}
            hold(ledger, "second", 300)
            return {"status": "FAILED"}

    make_way(ledger, Overtaken(), lambda _: None)
    assert is_held(ledger)
