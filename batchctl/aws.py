"""Reaches one deployed stack through boto3: its logs and its workflow."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final, Protocol

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from batch_core.limits import EXPRESS_SECONDS_QUOTA
from batchctl.errors import BatchctlError
from batchctl.log_events import LogEvent, read_events
from batchctl.run.costs import ExpressBill
from batchctl.run.verdict import Execution
from batchctl.trace.events import Event

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import boto3

    from batchctl.stacks import Stack

_HISTORY_PAGE: Final = 1_000
_PAYLOADS: Final = ("input", "output", "parameters", "cause")


class ClientFactory(Protocol):
    """Makes boto3 clients; keyword arguments are botocore's Config."""

    def __call__(self, service: str, **config: Any) -> Any: ...


class StackAccess:
    """What `run` needs of a stack.

    Parameters
    ----------
    client
        Makes the clients.
    stack
        The stack.
    local
        Whether it is on the local cloud, which keeps an Express execution's history.
    """

    def __init__(self, client: ClientFactory, stack: Stack, *, local: bool = False) -> None:
        self._client = client
        self._stack = stack
        self._local = local
        self._logs = client("logs")

    def events(
        self, state: str, *, since_ms: int, until_ms: int | None = None, containing: str
    ) -> Iterator[LogEvent]:
        """Read the log events of a state's function that contain a text.

        Raises BatchctlError when the logs cannot be read.
        """
        group = self._log_group(state)
        try:
            yield from read_events(
                self._logs, group, since_ms=since_ms, until_ms=until_ms, containing=containing
            )
        except (ClientError, BotoCoreError) as error:
            raise BatchctlError(f"The log group {group} cannot be read: {error}") from error

    def workflow_events(
        self, execution: str, *, since_ms: int, until_ms: int | None = None
    ) -> Iterator[Event]:
        """Read what the workflow logged of an execution, or what the local cloud remembers of it.

        Raises BatchctlError when neither can be read.
        """
        if self._local:
            yield from self._history(execution)
            return
        for line in self.events(
            "State Machine", since_ms=since_ms, until_ms=until_ms, containing=execution
        ):
            event = Event.from_log(line.text)
            if event is not None:
                yield event

    def _history(self, execution: str) -> Iterator[Event]:
        client = self._client("stepfunctions")
        try:
            for page in _history_pages(client, execution):
                yield from map(Event.from_history, page["events"])
        except ClientError as error:
            # A cloud that was started anew remembers nothing.
            if error.response.get("Error", {}).get("Code") != "ExecutionDoesNotExist":
                raise BatchctlError(
                    f"The history of {execution} cannot be read: {error}"
                ) from error

    def execute(self, given: Mapping[str, Any]) -> Execution:
        """Run the workflow once and wait for its end.

        Raises BatchctlError when it cannot be started, or when the answer does not arrive.
        """
        client = self._client(
            "stepfunctions",
            read_timeout=EXPRESS_SECONDS_QUOTA + 20,
            # A request sent again would be a second execution.
            retries={"total_max_attempts": 1},
            tcp_keepalive=True,
        )
        try:
            answer = client.start_sync_execution(
                stateMachineArn=self._stack.state_machine_arn, input=json.dumps(dict(given))
            )
            history = self._payload_sizes(client, answer) if self._local else []
        except (ClientError, BotoCoreError) as error:
            raise BatchctlError(
                f"The workflow of stack {self._stack.name} could not be run to its end: {error}"
            ) from error
        return Execution(
            arn=answer["executionArn"],
            status=answer["status"],
            wall_s=(answer["stopDate"] - answer["startDate"]).total_seconds(),
            output=answer.get("output", ""),
            error=answer.get("error", ""),
            cause=answer.get("cause", ""),
            bill=_bill(answer.get("billingDetails")),
            state_bytes=[
                len(answer.get("input", "").encode()),
                len(answer.get("output", "").encode()),
                *history,
            ],
        )

    def _payload_sizes(self, client: Any, answer: Mapping[str, Any]) -> list[int]:
        """The sizes of the payloads in the history: on AWS an Express execution has none."""
        pages = _history_pages(client, answer["executionArn"])
        return [
            len(details[name].encode())
            for page in pages
            for event in page["events"]
            for key, details in event.items()
            if key.endswith("EventDetails")
            for name in _PAYLOADS
            if name in details
        ]

    def _log_group(self, state: str) -> str:
        function = state.title().replace(" ", "")
        try:
            return self._stack.log_groups[function]
        except KeyError:
            raise BatchctlError(
                f"Stack {self._stack.name} has no output {function}LogGroup: it is not a stack of"
                " this template, or an older one. Deploy it again."
            ) from None


def _history_pages(client: Any, execution: str) -> Any:
    return client.get_paginator("get_execution_history").paginate(
        executionArn=execution, PaginationConfig={"PageSize": _HISTORY_PAGE}
    )


def aws_client_factory(session: boto3.Session) -> ClientFactory:
    """Make clients of a session's account and region."""
    # An endpoint that the environment gives is one host; nothing leads to `sync-` and its name.
    hosts = not os.environ.get("AWS_ENDPOINT_URL")

    def client(service: str, **config: Any) -> Any:
        return session.client(  # type: ignore[call-overload]
            service, config=Config(inject_host_prefix=hosts, **config)
        )

    return client


def _bill(details: Mapping[str, Any] | None) -> ExpressBill | None:
    if details is None:
        return None
    return ExpressBill(
        milliseconds=details["billedDurationInMilliseconds"],
        memory_mb=details["billedMemoryUsedInMB"],
        basis="measured",
    )
