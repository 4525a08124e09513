"""The alarms of a deployed stack: which of them are about what is deployed now."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from batchctl.errors import BatchctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from batchctl.aws import ClientFactory

_KINDS: Final = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
_WORKFLOW: Final = "AWS::StepFunctions::StateMachine"
_PAGE: Final = 100  # names that one question takes
_POLL_S: Final = 15.0
# A verification that waits for its turn starts within eight hours of the deployment, or not at all.
# https://docs.aws.amazon.com/codebuild/latest/userguide/builds-working.html
FRESH: Final = timedelta(hours=8)


@dataclass(frozen=True, slots=True)
class Heard:
    """The names of the alarms that ring: those that began since the deployment, and the others."""

    begun: Sequence[str]
    before: Sequence[str]


def judged_from(changed: datetime, now: datetime) -> datetime:
    """Say from when on an alarm is about what is deployed.

    That is the moment at which the workflow was last changed: it calls the functions' versions, so
    that no run before it was of the new code. A workflow that was changed longer ago than a
    verification can wait was not deployed just now; then only what begins from now on counts.
    """
    return changed if now - changed <= FRESH else now


class Alarms:
    """The alarms of one stack.

    Raises BatchctlError, here and in its methods, when AWS does not tell about them.
    """

    def __init__(
        self,
        client: ClientFactory,
        stack: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cloudwatch = client("cloudwatch")
        self._stack = stack
        resources = self._asked(lambda: list(_resources(client("cloudformation"), stack)))
        self.names: Sequence[str] = [
            each["PhysicalResourceId"] for each in resources if each["ResourceType"] in _KINDS
        ]
        started = now()
        changed = [
            each["LastUpdatedTimestamp"] for each in resources if each["ResourceType"] == _WORKFLOW
        ]
        self._since = judged_from(max(changed, default=started), started)

    def ringing(self) -> Heard:
        """Tell which ring now."""
        found = self._asked(lambda: list(_ringing(self._cloudwatch, self.names)))
        began = {each["AlarmName"]: _began(each) >= self._since for each in found}
        return Heard(
            begun=sorted(name for name, since in began.items() if since),
            before=sorted(name for name, since in began.items() if not since),
        )

    def watch(
        self,
        seconds: float,
        *,
        to_the_end: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Heard:
        """Wait so long for one to begin, since metrics arrive late; tell which ring.

        The first that begins ends the wait, unless it is to last `to_the_end`.
        """
        until = clock() + seconds
        heard = self.ringing()
        while self.names and clock() < until and (to_the_end or not heard.begun):
            sleep(_POLL_S)
            heard = self.ringing()
        return heard

    def _asked[Answer](self, question: Callable[[], Answer]) -> Answer:
        try:
            return question()
        except (BotoCoreError, ClientError) as error:
            message = f"The alarms of stack {self._stack} cannot be looked up: {error}"
            raise BatchctlError(message) from error


def _resources(cloudformation: Any, stack: str) -> Iterator[Mapping[str, Any]]:
    for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack):
        yield from page["StackResourceSummaries"]


def _ringing(cloudwatch: Any, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    for start in range(0, len(names), _PAGE):
        answer = cloudwatch.describe_alarms(
            AlarmNames=list(names[start : start + _PAGE]),
            AlarmTypes=["MetricAlarm", "CompositeAlarm"],
            StateValue="ALARM",
        )
        for kind in ("MetricAlarms", "CompositeAlarms"):
            yield from answer.get(kind, [])


def _began(alarm: Mapping[str, Any]) -> datetime:
    """When it began to ring; the second is also set by a change of how well it is evaluated."""
    began: datetime = alarm.get("StateTransitionedTimestamp") or alarm["StateUpdatedTimestamp"]
    return began
