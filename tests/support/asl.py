"""Executes the workflow as AWS would, as far as this project uses the Amazon States Language.

Why not only the local cloud: that one enforces no limit on state, names every Python exception
alike, and evaluates JSONata with a port. Here expressions run on the reference engine, errors carry
the exception's class name, every payload is measured against the quotas, and an iteration's failure
fails its Map, as documented for AWS.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batch_core.limits import STATE_BYTES_QUOTA
from tests.support.jsonata import Jsonata, QueryEvaluationError

DEFINITION = Path(__file__).parents[2] / "statemachine" / "batch.asl.json"
FUNCTIONS = {
    "ListUsersFunction": "list_users",
    "CallApiFunction": "call_api",
    "ProcessUsersFunction": "process_users",
    "FinishRunFunction": "finish_run",
}

type Invoke = Callable[[str, Any], Any]
"""Calls a function by the name of its package with a payload."""

_EXPRESSION = re.compile(r"^\{%(.*)%\}$", re.DOTALL)


class StatesError(Exception):
    """An error with the name that Retry and Catch match."""

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(f"{name}: {cause}")
        self.name = name
        self.cause = cause


@dataclass
class Execution:
    """How an execution ended, and what it carried on the way."""

    status: str = "RUNNING"
    output: Any = None
    error: str = ""
    cause: str = ""
    visited: list[str] = field(default_factory=list)
    largest: dict[str, int] = field(default_factory=dict)
    concurrency: dict[str, int] = field(default_factory=dict)

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
    """One state machine, ready to execute."""

    def __init__(self, definition: Mapping[str, Any], jsonata: Jsonata, invoke: Invoke) -> None:
        self._definition = definition
        self._jsonata = jsonata
        self._invoke = invoke
        self._execution = Execution()

    def execute(
        self, given: Any, *, name: str = "test", started: str = "2026-01-31T10:20:03.123Z"
    ) -> Execution:
        """Run to the end; never raises for what happens inside."""
        self._execution = Execution()
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
        return self._execution

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
                answer = json.loads(json.dumps(self._invoke(arguments["FunctionName"], payload)))
            except StatesError:
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
            self._execution.concurrency[name] = self._fill(state["MaxConcurrency"], states)
            results = []
            for index, value in enumerate(items):
                inner = {**context, "Map": {"Item": {"Index": index, "Value": value}}}
                selected = self._fill(state["ItemSelector"], {"input": given, "context": inner})
                results.append(self._run(state["ItemProcessor"], selected, inner))
                self._measure(f"{name} iteration", results[-1])
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
        left = [int(retrier.get("MaxAttempts", 3)) for retrier in state.get("Retry", [])]
        while True:
            try:
                return attempt(), state.get("Next")
            except StatesError as error:
                retrier = _matching(state.get("Retry", []), error)
                if retrier is not None and left[retrier] > 0:
                    left[retrier] -= 1
                    continue
                catcher = _matching(state.get("Catch", []), error)
                if catcher is None:
                    raise
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

    def _measure(self, what: str, value: Any) -> None:
        size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
        if size > STATE_BYTES_QUOTA:
            raise StatesError("States.DataLimitExceeded", f"{what} holds {size} bytes")
        self._execution.largest[what] = max(size, self._execution.largest.get(what, 0))


def _matching(rules: list[dict[str, Any]], error: StatesError) -> int | None:
    for index, rule in enumerate(rules):
        names = rule["ErrorEquals"]
        # AWS documents that States.ALL does not match this one; it has to be named.
        catches_all = "States.ALL" in names and error.name != "States.DataLimitExceeded"
        if error.name in names or catches_all:
            return index
    return None
