"""Reaching a stack: what is asked of AWS or the local cloud, and what the answers become."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.stub import Stubber

from batchctl.aws import StackAccess, aws_client_factory
from batchctl.errors import BatchctlError
from batchctl.run.costs import ExpressBill
from batchctl.stacks import Stack
from tests.support.express_log import a_run_with_failures

MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:Batch"
EXECUTION = "arn:aws:states:us-east-1:123456789012:express:Batch:name:0f0f"
STARTED = datetime(2026, 1, 31, 10, 20, tzinfo=UTC)
STACK = Stack(
    "acme",
    "CREATE_COMPLETE",
    {"StateMachineArn": MACHINE, "CallApiLogGroup": "/aws/lambda/acme/call_api"},
    {"TenantId": "acme"},
)
ANSWER = {
    "executionArn": EXECUTION,
    "startDate": STARTED,
    "stopDate": STARTED + timedelta(seconds=4.2),
    "status": "SUCCEEDED",
    "input": "{}",
    "output": '{"status":"completed"}',
}


class Paged:
    """A client whose pages are given, and what it was asked."""

    def __init__(self, *pages: dict[str, Any], error: ClientError | None = None) -> None:
        self._pages = pages
        self._error = error
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._operation = ""

    def get_paginator(self, operation: str) -> Paged:
        self._operation = operation
        return self

    def paginate(self, **options: Any) -> Iterator[dict[str, Any]]:
        self.asked.append((self._operation, options))
        if self._error is not None:
            raise self._error
        return iter(self._pages)


class Clients:
    """Stubbed clients, and what each was made with."""

    def __init__(self) -> None:
        self._session = boto3.Session("AKIA", "secret", region_name="us-east-1")
        self._clients = {name: self._session.client(name) for name in ("logs", "stepfunctions")}
        self.stubs = {name: Stubber(client) for name, client in self._clients.items()}
        for stub in self.stubs.values():
            stub.activate()
        self.config: dict[str, dict[str, Any]] = {}

    def __call__(self, service: str, **config: Any) -> Any:
        self.config[service] = config
        return self._clients[service]

    def will_run(self, **answer: Any) -> None:
        self.stubs["stepfunctions"].add_response(
            "start_sync_execution",
            ANSWER | answer,
            {"stateMachineArn": MACHINE, "input": json.dumps({"group_size": 1})},
        )


def test_the_bill_and_the_time_are_those_aws_tells() -> None:
    clients = Clients()
    details = {"billedMemoryUsedInMB": 64, "billedDurationInMilliseconds": 4_200}
    clients.will_run(billingDetails=details)
    execution = StackAccess(clients, STACK).execute({"group_size": 1})
    assert execution.bill == ExpressBill(4_200, 64, "measured")
    assert execution.wall_s == pytest.approx(4.2)
    assert execution.arn == EXECUTION
    assert list(execution.state_bytes) == [2, 22]


def test_an_execution_is_asked_for_once_and_waited_for_longer_than_it_may_take() -> None:
    clients = Clients()
    clients.will_run()
    StackAccess(clients, STACK).execute({"group_size": 1})
    config = clients.config["stepfunctions"]
    assert config["read_timeout"] > 300
    assert config["retries"] == {"total_max_attempts": 1}


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [(None, "sync-states.us-east-1.amazonaws.com"), ("http://127.0.0.1:4566", "127.0.0.1:4566")],
)
def test_an_execution_is_asked_for_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, endpoint: str | None, host: str
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    if endpoint is not None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    session = boto3.Session("AKIA", "secret", region_name="us-east-1")
    client = aws_client_factory(session)("stepfunctions", retries={"total_max_attempts": 1})
    asked: list[str] = []

    def refuse(request: Any, **_: Any) -> Any:
        asked.append(urlsplit(request.url).netloc)
        raise EndpointConnectionError(endpoint_url=request.url)

    client.meta.events.register("before-send", refuse)
    with pytest.raises(EndpointConnectionError):
        client.start_sync_execution(stateMachineArn=MACHINE)

    assert set(asked) == {host}


def test_the_local_clouds_history_is_measured() -> None:
    clients = Clients()
    clients.will_run()
    pages: list[dict[str, Any]] = [
        {
            "events": [
                {
                    "id": 1,
                    "timestamp": STARTED,
                    "type": "TaskStateEntered",
                    "stateEnteredEventDetails": {"name": "List Users", "input": "x" * 700},
                }
            ],
            "nextToken": "more",
        },
        {
            "events": [
                {
                    "id": 2,
                    "timestamp": STARTED,
                    "type": "TaskScheduled",
                    "taskScheduledEventDetails": {
                        "resourceType": "lambda",
                        "resource": "invoke",
                        "region": "us-east-1",
                        "parameters": "ü" * 450,
                    },
                }
            ]
        },
    ]
    for page in pages:
        clients.stubs["stepfunctions"].add_response("get_execution_history", page)
    execution = StackAccess(clients, STACK, local=True).execute({"group_size": 1})
    assert list(execution.state_bytes) == [2, 22, 700, 900]


def test_a_failed_execution_keeps_its_error_and_cause() -> None:
    clients = Clients()
    clients.will_run(status="FAILED", error="Batch.RunFailed", cause="{}")
    execution = StackAccess(clients, STACK).execute({"group_size": 1})
    assert (execution.status, execution.error, execution.cause) == (
        "FAILED",
        "Batch.RunFailed",
        "{}",
    )


def test_an_execution_that_is_refused_names_the_stack() -> None:
    clients = Clients()
    clients.stubs["stepfunctions"].add_client_error(
        "start_sync_execution", "AccessDeniedException", "not for you"
    )
    with pytest.raises(BatchctlError, match=r"stack acme could not be run.*not for you"):
        StackAccess(clients, STACK).execute({})


def test_events_are_read_from_the_states_log_group() -> None:
    clients = Clients()
    clients.stubs["logs"].add_response(
        "filter_log_events",
        {"events": [{"eventId": "1", "timestamp": 5, "message": "line"}]},
        {
            "logGroupName": "/aws/lambda/acme/call_api",
            "startTime": 3,
            "filterPattern": '"acme-1"',
            "limit": 10_000,
        },
    )
    found = list(StackAccess(clients, STACK).events("Call API", since_ms=3, containing="acme-1"))
    assert [(event.timestamp_ms, event.text) for event in found] == [(5, "line")]


def test_logs_that_may_not_be_read_name_their_group() -> None:
    clients = Clients()
    clients.stubs["logs"].add_client_error("filter_log_events", "AccessDeniedException", "no")
    with pytest.raises(BatchctlError, match="/aws/lambda/acme/call_api cannot be read"):
        list(StackAccess(clients, STACK).events("Call API", since_ms=0, containing="acme-1"))


def test_a_stack_of_another_template_is_named_as_such() -> None:
    with pytest.raises(BatchctlError, match="no output WriteRowsLogGroup"):
        list(StackAccess(Clients(), STACK).events("Write Rows", since_ms=0, containing="acme-1"))


def test_a_client_takes_the_config_it_is_made_with() -> None:
    session = boto3.Session("AKIA", "secret", region_name="us-east-1")
    client = aws_client_factory(session)("stepfunctions", read_timeout=320)
    config: Config = client.meta.config
    assert config.read_timeout == 320  # type: ignore[attr-defined]  # absent from the stubs


def test_the_workflows_log_is_searched_for_the_execution_between_two_moments() -> None:
    lines = [*a_run_with_failures().lines, "not an event"]
    logs = Paged(
        {
            "events": [
                {"eventId": str(n), "timestamp": n, "message": line} for n, line in enumerate(lines)
            ]
        }
    )
    stack = replace(STACK, outputs={"StateMachineLogGroup": "/aws/vendedlogs/acme"})
    access = StackAccess(lambda service, **config: logs, stack)
    found = list(access.workflow_events(EXECUTION, since_ms=1_000, until_ms=2_000))
    assert [event.id for event in found] == list(range(1, len(lines)))
    (operation, options), *_ = logs.asked
    assert operation == "filter_log_events"
    assert options["logGroupName"] == "/aws/vendedlogs/acme"
    assert options["filterPattern"] == f'"{EXECUTION}"'
    assert (options["startTime"], options["endTime"]) == (1_000, 2_000)


def test_on_the_local_cloud_the_history_takes_the_place_of_the_log() -> None:
    event = {
        "id": 4, "type": "TaskFailed", "timestamp": STARTED, "previousEventId": 3,
        "taskFailedEventDetails": {"error": "ApiError"},
    }  # fmt: skip
    history = Paged({"events": [event]})
    access = StackAccess(lambda service, **config: history, STACK, local=True)
    (found,) = access.workflow_events(EXECUTION, since_ms=0)
    assert (found.id, found.previous, found.details) == (4, 3, {"error": "ApiError"})
    assert found.at_ms == int(STARTED.timestamp() * 1000)


def test_an_execution_that_the_local_cloud_has_forgotten_has_no_events() -> None:
    def refusing(code: str) -> StackAccess:
        error = ClientError({"Error": {"Code": code}}, "GetExecutionHistory")
        history = Paged(error=error)
        return StackAccess(lambda service, **config: history, STACK, local=True)

    assert list(refusing("ExecutionDoesNotExist").workflow_events(EXECUTION, since_ms=0)) == []
    with pytest.raises(BatchctlError, match="cannot be read"):
        list(refusing("AccessDenied").workflow_events(EXECUTION, since_ms=0))
