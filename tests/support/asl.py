"""Executes the workflow as AWS would, as far as this project uses the Amazon States Language.

Why not only the local cloud: that one enforces no limit on state, names every Python exception
alike, and evaluates JSONata with a port. Here expressions run on the reference engine, errors carry
the exception's class name, every payload is measured against the quotas, and an iteration's failure
fails its Map, as documented for AWS.

A test fails when one of its executions comes near a quota: a state of more than `MOST_STATE_BYTES`,
or a modelled time of more than `RUN_SECONDS`. Time passes on a clock of the execution's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from typing import Any, Final

from batch_core.limits import RUN_SECONDS, STATE_BYTES_QUOTA
from tests.support.jsonata import Jsonata, QueryEvaluationError

# Beyond this a payload is too near the quota, though AWS would still take it.
MOST_STATE_BYTES: Final = 200_000
# What a task takes when a test does not say.
TASK_SECONDS: Final = 0.1

DEFINITION = Path(__file__).parents[2] / "statemachine" / "batch.asl.json"
FUNCTIONS = {
    "ListUsersFunction": "list_users",
    "CallApiFunction": "call_api",
    "ProcessUsersFunction": "process_users",
    "FinishRunFunction": "finish_run",
}

type Invoke = Callable[[str, Any], Any]
"""Calls a function by the name of its package with a payload."""

type Duration = Callable[[str, Any], float]
"""Says how many seconds a function takes for a payload, whether it fails or not."""

_EXPRESSION = re.compile(r"^\{%(.*)%\}$", re.DOTALL)


class StatesError(Exception):
    """An error with the name that Retry and Catch match."""

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(f"{name}: {cause}")
        self.name = name
        self.cause = cause


class LimitError(AssertionError):
    """An execution came nearer to a quota than any may."""


@dataclass
class Execution:
    """How an execution ended, what it carried on the way, and how long it would have taken."""

    status: str = "RUNNING"
    output: Any = None
    error: str = ""
    cause: str = ""
    visited: list[str] = field(default_factory=list)
    largest: dict[str, int] = field(default_factory=dict)
    concurrency: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def max_state_bytes(self) -> int:
        """The largest input, output, payload, item or item list of any state."""
        return max(self.largest.values())


def render(**substitutions: str | int) -> dict[str, Any]:
    """Load the definition with its DefinitionSubstitutions filled in."""
    values = {
        "Partition": "aws",
        "ChunkConcurrency": 4,
        "GroupConcurrency": 10,
        **FUNCTIONS,
        **substitutions,
    }
    text = DEFINITION.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", str(value))
    assert "${" not in text, "a substitution is missing"
    definition: dict[str, Any] = json.loads(text)
    return definition


class Machine:
    """One state machine, ready to execute.

    Parameters
    ----------
    definition
        As `render` gives it.
    jsonata
        Evaluates the expressions.
    invoke
        Calls the functions.
    takes
        How long they take.
    """

    def __init__(
        self,
        definition: Mapping[str, Any],
        jsonata: Jsonata,
        invoke: Invoke,
        takes: Duration = lambda _function, _payload: TASK_SECONDS,
    ) -> None:
        self._definition = definition
        self._jsonata = jsonata
        self._invoke = invoke
        self._takes = takes
        self._execution = Execution()
        self._now = 0.0

    def execute(
        self, given: Any, *, name: str = "test", started: str = "2026-01-31T10:20:03.123Z"
    ) -> Execution:
        """Run to the end; what happens inside is never raised, but for a `LimitError`."""
        self._execution = Execution()
        self._now = 0.0
        context = {
            "Execution": {
                "Id": f"arn:aws:states:ap-northeast-1:123456789012:express:Batch:{name}:0f0f",
                "Name": name,
                "StartTime": started,
            }
        }
        try:
            output = self._run(self._definition, given, context)
        except StatesError as error:
            self._execution.status = "FAILED"
            self._execution.error, self._execution.cause = error.name, error.cause
        else:
            self._execution.status = "SUCCEEDED"
            self._execution.output = output
        self._execution.seconds = self._now
        return self._execution

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a call of TestState, as far as the cases of `batchctl.states` use it.

        https://docs.aws.amazon.com/step-functions/latest/apireference/API_TestState.html
        """
        state = json.loads(request["definition"])
        given, context = json.loads(request["input"]), json.loads(request.get("context", "{}"))
        mock = request.get("mock", {})
        seen = self._inspected(state, given, context)
        try:
            if "errorOutput" in mock:
                error = StatesError(mock["errorOutput"]["error"], mock["errorOutput"]["cause"])
                spent = request["stateConfiguration"]["retrierRetryCount"]
                return seen | self._answer_to(error, state, given, context, spent)
            if "result" in mock:
                states = {"input": given, "context": context, "result": json.loads(mock["result"])}
                output, following = self._fill(state["Output"], states), state.get("Next")
            else:
                plain = getattr(self, f"_{state['Type'].lower()}")
                output, following = plain("", state, given, context)
        except StatesError as error:
            return {"status": "FAILED", "error": error.name, "cause": error.cause}
        answer = {"status": "SUCCEEDED", "output": json.dumps(output), "nextState": following}
        return seen | {name: value for name, value in answer.items() if value is not None}

    def _inspected(
        self, state: Mapping[str, Any], given: Any, context: Mapping[str, Any]
    ) -> dict[str, Any]:
        states = {"input": given, "context": context}
        data: dict[str, Any] = {}
        if "Arguments" in state:
            data["afterArguments"] = json.dumps(self._fill(state["Arguments"], states))
        if "MaxConcurrency" in state:
            data["maxConcurrency"] = self._fill(state["MaxConcurrency"], states)
        return {"inspectionData": data} if data else {}

    def _answer_to(
        self,
        error: StatesError,
        state: dict[str, Any],
        given: Any,
        context: Mapping[str, Any],
        spent: int,
    ) -> dict[str, Any]:
        told = {"error": error.name, "cause": error.cause}
        retrier = _matching(state.get("Retry", []), error)
        if retrier is not None and spent < state["Retry"][retrier]["MaxAttempts"]:
            return {"status": "RETRIABLE", **told}
        output, following = self._caught(error, state, given, context)
        return {
            "status": "CAUGHT_ERROR", "output": json.dumps(output), "nextState": following, **told
        }  # fmt: skip

    def _run(self, machine: Mapping[str, Any], given: Any, context: Mapping[str, Any]) -> Any:
        name = machine["StartAt"]
        while True:
            state = machine["States"][name]
            self._execution.visited.append(name)
            self._measure(f"{name} input", given)
            try:
                given, following = getattr(self, f"_{state['Type'].lower()}")(
                    name, state, given, context
                )
            except QueryEvaluationError as error:
                raise StatesError("States.QueryEvaluationError", str(error)) from error
            self._measure(f"{name} output", given)
            if following is None:
                return given
            name = following

    def _task(
        self, name: str, state: dict[str, Any], given: Any, context: Mapping[str, Any]
    ) -> tuple[Any, str | None]:
        def attempt() -> Any:
            arguments = self._fill(state["Arguments"], {"input": given, "context": context})
            self._measure(f"{name} payload", arguments["Payload"])
            try:
                # What crosses to Lambda is JSON, not Python objects.
                payload = json.loads(json.dumps(arguments["Payload"]))
                self._work(state, self._takes(arguments["FunctionName"], payload))
                answer = json.loads(json.dumps(self._invoke(arguments["FunctionName"], payload)))
            except (StatesError, LimitError):
                raise
            except Exception as error:
                cause = {"errorMessage": str(error), "errorType": type(error).__name__}
                raise StatesError(type(error).__name__, json.dumps(cause)) from error
            result = {"StatusCode": 200, "Payload": answer}
            output = self._fill(
                state["Output"], {"input": given, "context": context, "result": result}
            )
            self._measure(f"{name} result", output)
            return output

        return self._guarded(state, given, context, attempt)

    def _map(
        self, name: str, state: dict[str, Any], given: Any, context: Mapping[str, Any]
    ) -> tuple[Any, str | None]:
        def iterate() -> Any:
            states = {"input": given, "context": context}
            items = self._fill(state["Items"], states)
            if not isinstance(items, list):
                raise QueryEvaluationError(f"Items of {name} is not an array: {items!r}")
            self._measure(f"{name} items", items)
            at_once = self._fill(state["MaxConcurrency"], states)
            self._execution.concurrency[name] = at_once
            # When each lane is free again: an item takes the first that is, as on AWS.
            lanes = [self._now] * at_once
            results = []
            for index, value in enumerate(items):
                inner = {**context, "Map": {"Item": {"Index": index, "Value": value}}}
                selected = self._fill(state["ItemSelector"], {"input": given, "context": inner})
                self._now = heappop(lanes)
                results.append(self._run(state["ItemProcessor"], selected, inner))
                heappush(lanes, self._now)
                self._measure(f"{name} iteration", results[-1])
            self._now = max(lanes)
            self._measure(f"{name} results", results)
            return self._fill(state["Output"], {**states, "result": results})

        return self._guarded(state, given, context, iterate)

    def _guarded(
        self,
        state: dict[str, Any],
        given: Any,
        context: Mapping[str, Any],
        attempt: Callable[[], Any],
    ) -> tuple[Any, str | None]:
        retriers = state.get("Retry", [])
        retries = [0] * len(retriers)
        while True:
            try:
                return attempt(), state.get("Next")
            except StatesError as error:
                retrier = _matching(retriers, error)
                if retrier is not None and retries[retrier] < retriers[retrier]["MaxAttempts"]:
                    self._pass_time(_longest_pause(retriers[retrier], retries[retrier]))
                    retries[retrier] += 1
                    continue
                return self._caught(error, state, given, context)

    def _caught(
        self,
        error: StatesError,
        state: Mapping[str, Any],
        given: Any,
        context: Mapping[str, Any],
    ) -> tuple[Any, str]:
        catcher = _matching(state.get("Catch", []), error)
        if catcher is None:
            raise error
        caught = state["Catch"][catcher]
        states = {
            "input": given,
            "context": context,
            "errorOutput": {"Error": error.name, "Cause": error.cause},
        }
        return self._fill(caught["Output"], states), caught["Next"]

    def _choice(
        self, _name: str, state: dict[str, Any], given: Any, context: Mapping[str, Any]
    ) -> tuple[Any, str | None]:
        states = {"input": given, "context": context}
        for rule in state["Choices"]:
            if self._fill(rule["Condition"], states) is True:
                output = self._fill(rule["Output"], states) if "Output" in rule else given
                return output, rule["Next"]
        return given, state["Default"]

    def _pass(
        self, _name: str, state: dict[str, Any], given: Any, context: Mapping[str, Any]
    ) -> tuple[Any, str | None]:
        output = self._fill(state["Output"], {"input": given, "context": context})
        return output, state.get("Next")

    def _succeed(
        self, _name: str, state: dict[str, Any], given: Any, context: Mapping[str, Any]
    ) -> tuple[Any, str | None]:
        if "Output" not in state:
            return given, None
        return self._fill(state["Output"], {"input": given, "context": context}), None

    def _fail(
        self, _name: str, state: dict[str, Any], given: Any, context: Mapping[str, Any]
    ) -> tuple[Any, str | None]:
        states = {"input": given, "context": context}
        raise StatesError(self._fill(state["Error"], states), self._fill(state["Cause"], states))

    def _fill(self, template: Any, states: dict[str, Any]) -> Any:
        if isinstance(template, str):
            expression = _EXPRESSION.match(template)
            return self._jsonata.evaluate(expression[1].strip(), states) if expression else template
        if isinstance(template, dict):
            return {key: self._fill(value, states) for key, value in template.items()}
        if isinstance(template, list):
            return [self._fill(value, states) for value in template]
        return template

    def _work(self, state: Mapping[str, Any], seconds: float) -> None:
        limit = state["TimeoutSeconds"]
        self._pass_time(min(seconds, limit))
        if seconds > limit:
            raise StatesError("States.Timeout", f"not done after {limit} seconds")

    def _pass_time(self, seconds: float) -> None:
        self._now += seconds
        if self._now > RUN_SECONDS:
            raise LimitError(f"still running after {self._now:.1f} s; {RUN_SECONDS} are allowed")

    def _measure(self, what: str, value: Any) -> None:
        size = state_bytes(value)
        if size > STATE_BYTES_QUOTA:
            raise StatesError("States.DataLimitExceeded", f"{what} holds {size} bytes")
        if size > MOST_STATE_BYTES:
            raise LimitError(f"{what} holds {size} bytes; {MOST_STATE_BYTES} are allowed")
        self._execution.largest[what] = max(size, self._execution.largest.get(what, 0))


def state_bytes(value: Any) -> int:
    """How many bytes a value takes in a state: UTF-8, as the quota counts."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _longest_pause(retrier: Mapping[str, Any], retries: int) -> float:
    """The pause before the next attempt; with full jitter it may only be shorter."""
    pause: float = retrier["IntervalSeconds"] * retrier.get("BackoffRate", 2.0) ** retries
    longest: float = retrier.get("MaxDelaySeconds", pause)
    return min(pause, longest)


def _matching(rules: Sequence[Mapping[str, Any]], error: StatesError) -> int | None:
    for index, rule in enumerate(rules):
        names = rule["ErrorEquals"]
        # AWS documents that States.ALL does not match this one; it has to be named.
        catches_all = "States.ALL" in names and error.name != "States.DataLimitExceeded"
        if error.name in names or catches_all:
            return index
    return None
