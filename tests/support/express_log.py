"""An Express log, written by hand as AWS writes it: one JSON object per event, all of it text.

The envelope is that of AWS's documentation and of recorded logs; the details are those of recorded
histories, without execution data, as the template deploys it.
https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
"""

from __future__ import annotations

import json
from typing import Any

from batchctl.trace.events import Event

EXECUTION = (
    "arn:aws:states:eu-central-1:123456789012:express:Batch"
    ":0f0f:4135929f-8d60-4ea5-b3c3-b243bec43271"
)
BEGAN_MS = 1_795_492_543_809  # the moment in RUN's name
LAMBDA = {"resource": "invoke", "resourceType": "lambda"}


class ExpressLog:
    """The log of one execution, event by event."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._now = BEGAN_MS

    def add(self, type_: str, previous: int, details: dict[str, Any] | None = None) -> int:
        """Log one event, 100 ms after the one before; returns its number."""
        number = len(self.lines) + 1
        event: dict[str, Any] = {"id": str(number), "type": type_}
        if details is not None:
            event["details"] = details
        event |= {
            "previous_event_id": str(previous),
            "event_timestamp": str(self._now),
            "execution_arn": EXECUTION,
            "redrive_count": "0",
        }
        self._now += 100
        self.lines.append(json.dumps(event))
        return number

    def entered(self, kind: str, name: str, previous: int) -> int:
        """A state is entered."""
        return self.add(f"{kind}StateEntered", previous, {"name": name})

    def exited(self, kind: str, name: str, previous: int) -> int:
        """A state is left."""
        return self.add(f"{kind}StateExited", previous, {"name": name})

    def attempt(self, previous: int) -> int:
        """A function is called."""
        parameters = {"FunctionName": "arn:aws:lambda:eu-central-1:123456789012:function:acme-call"}
        details = {**LAMBDA, "region": "eu-central-1", "parameters": json.dumps(parameters)}
        return self.add("TaskStarted", self.add("TaskScheduled", previous, details), LAMBDA)

    def task(self, name: str, previous: int) -> int:
        """A state that calls its function and goes on."""
        called = self.attempt(self.entered("Task", name, previous))
        return self.exited("Task", name, self.add("TaskSucceeded", called, LAMBDA))

    def failed(self, previous: int, error: str = "ApiError", request_id: str = "") -> int:
        """The function raised: no state and no function is named."""
        cause = {"errorMessage": "the API is gone", "errorType": error, "stackTrace": []}
        if request_id:
            cause["requestId"] = request_id
        details = {"error": error, "cause": json.dumps(cause), **LAMBDA}
        return self.add("TaskFailed", previous, details)

    def iteration(self, name: str, index: int, previous: int) -> int:
        """An item of a Map begins."""
        return self.add("MapIterationStarted", previous, {"index": index, "name": name})

    def map(self, name: str, items: int, previous: int) -> int:
        """A Map begins."""
        return self.add("MapStateStarted", self.entered("Map", name, previous), {"length": items})

    def events(self) -> list[Event]:
        """What a reader makes of it."""
        return [event for line in self.lines if (event := Event.from_log(line)) is not None]


def a_run_with_failures() -> ExpressLog:
    """Two chunks of two groups, side by side; what fails is 1/0, once retried, once caught."""
    log = ExpressLog()
    at = log.add("ExecutionStarted", 0, {"roleArn": "arn:aws:iam::123456789012:role/batch"})
    at = log.task("List Users", at)
    outer = log.map("For Each Chunk", 2, at)
    inner = [
        log.map("For Each Group", 2, log.iteration("For Each Chunk", n, outer)) for n in (0, 1)
    ]
    ends = []
    for chunk, started in enumerate(inner):
        for group in (0, 1):
            at = log.iteration("For Each Group", group, started)
            if (chunk, group) == (1, 0):
                called = log.attempt(log.entered("Task", "Call API", at))
                again = log.attempt(log.failed(called, "Runtime.ExitError"))
                at = log.exited("Task", "Call API", log.failed(again, request_id="r-10"))
                at = log.exited("Pass", "Group Failed", log.entered("Pass", "Group Failed", at))
            else:
                at = log.task("Process Users", log.task("Call API", at))
            end = log.add("MapIterationSucceeded", at, {"index": group, "name": "For Each Group"})
        ended = log.exited("Map", "For Each Group", log.add("MapStateSucceeded", end))
        ends.append(
            log.add("MapIterationSucceeded", ended, {"index": chunk, "name": "For Each Chunk"})
        )
    at = log.exited("Map", "For Each Chunk", log.add("MapStateSucceeded", ends[-1]))
    at = log.task("Finish Run", at)
    at = log.exited("Succeed", "Run Completed", log.entered("Succeed", "Run Completed", at))
    log.add("ExecutionSucceeded", at)
    return log
