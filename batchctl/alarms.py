"""The alarms of a deployed stack."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from batchctl.errors import BatchctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from batchctl.aws import ClientFactory

_KINDS: Final = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
_PAGE: Final = 100  # names that one question takes
_POLL_S: Final = 15.0


class Alarms:
    """The alarms of one stack.

    Raises BatchctlError, here and in its methods, when AWS does not tell about them.
    """

    def __init__(self, client: ClientFactory, stack: str) -> None:
        self._cloudwatch = client("cloudwatch")
        self._stack = stack
        self.names: Sequence[str] = self._asked(lambda: _names(client("cloudformation"), stack))

    def ringing(self) -> list[str]:
        """Name those that ring now."""
        return self._asked(lambda: _ringing(self._cloudwatch, self.names))

    def watch(
        self,
        seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> list[str]:
        """Wait so long for one to ring, since metrics arrive late; name those that do.

        One that rings already has until the end to stop: what rang before the deployment may have
        been what it was to mend.
        """
        until = clock() + seconds
        first = found = self.ringing()
        while self.names and clock() < until and not set(found) - set(first):
            sleep(_POLL_S)
            found = self.ringing()
        return found

    def _asked(self, question: Callable[[], list[str]]) -> list[str]:
        try:
            return question()
        except (BotoCoreError, ClientError) as error:
            message = f"The alarms of stack {self._stack} cannot be looked up: {error}"
            raise BatchctlError(message) from error


def _names(cloudformation: Any, stack: str) -> list[str]:
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    return [
        resource["PhysicalResourceId"]
        for page in pages
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] in _KINDS
    ]


def _ringing(cloudwatch: Any, names: Sequence[str]) -> list[str]:
    found = []
    for start in range(0, len(names), _PAGE):
        answer = cloudwatch.describe_alarms(
            AlarmNames=list(names[start : start + _PAGE]),
            AlarmTypes=["MetricAlarm", "CompositeAlarm"],
            StateValue="ALARM",
        )
        for kind in ("MetricAlarms", "CompositeAlarms"):
            found += [alarm["AlarmName"] for alarm in answer.get(kind, [])]
    return sorted(found)
