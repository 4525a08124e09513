"""Executes the cases of `batchctl.states` on MiniStack: each state as a machine of its own.

MiniStack's TestState does not evaluate a task's JSONata, its executions do. So each case becomes a
machine that begins with its state; whatever state follows tells its name and its input.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from batchctl.local.servers import REGION, MiniStack
from batchctl.states.cases import Case, Ending

_ACCOUNT = "111122223333"
_ROLE = f"arn:aws:iam::{_ACCOUNT}:role/states"
# Retries the state may make; more than any Retry of ours allows.
_ALWAYS = "0-9"


class MiniStackStates:
    """Answers the cases it was made with."""

    def __init__(self, url: str, cases: Sequence[Case], definition: Mapping[str, Any]) -> None:
        self._client = boto3.client(
            "stepfunctions",
            endpoint_url=url,
            region_name=REGION,
            aws_access_key_id=_ACCOUNT,
            aws_secret_access_key="none",
            config=Config(inject_host_prefix=False),
        )
        self._numbers = {case.name: number for number, case in enumerate(cases)}
        self._definition = definition

    def ending(self, case: Case) -> Ending:
        """Execute a case, and read how it ended."""
        name = f"case-{self._numbers[case.name]}"
        made = self._client.create_state_machine(
            name=name,
            definition=json.dumps(_machine(case, self._definition)),
            roleArn=_ROLE,
            type="EXPRESS",
        )
        answer = self._client.start_sync_execution(
            stateMachineArn=f"{made['stateMachineArn']}#mocked", input=json.dumps(case.given)
        )
        if self._retries(answer["executionArn"]) > case.retries:
            assert case.error is not None
            return Ending("RETRIABLE", error=case.error[0])
        if answer["status"] == "FAILED":
            return Ending.of(answer)
        reached = json.loads(answer["output"])
        return Ending.of(
            {
                "status": "CAUGHT_ERROR" if case.error else "SUCCEEDED",
                "nextState": reached.get("reached"),
                "output": json.dumps(reached["with"] if "reached" in reached else reached),
            }
        )

    def _retries(self, execution: str) -> int:
        history = self._client.get_execution_history(executionArn=execution)["events"]
        return [event["type"] for event in history].count("TaskScheduled") - 1


class _Mocked(MiniStack):
    """MiniStack with mocked tasks, and retries that do not wait."""

    def environment(self) -> dict[str, str]:
        mocked = {"SFN_MOCK_CONFIG": str(self.home / "mocks.json"), "SFN_WAIT_SCALE": "0"}
        return super().environment() | mocked


@contextmanager
def ministack_states(
    home: Path, cases: Sequence[Case], definition: Mapping[str, Any]
) -> Iterator[MiniStackStates]:
    """Start MiniStack with the mocks of these cases."""
    (home / "mocks.json").write_text(json.dumps(_mocks(cases)))
    ministack = _Mocked(home)
    ministack.start()
    try:
        yield MiniStackStates(ministack.url, cases, definition)
    finally:
        ministack.stop()


def _mocks(cases: Sequence[Case]) -> dict[str, Any]:
    machines, responses = {}, {}
    for number, case in enumerate(cases):
        machines[f"case-{number}"] = {"TestCases": {"mocked": {case.state: f"of-{number}"}}}
        if case.error is not None:
            name, cause = case.error
            responses[f"of-{number}"] = {_ALWAYS: {"Throw": {"Error": name, "Cause": cause}}}
        elif case.result is not None:
            responses[f"of-{number}"] = {_ALWAYS: {"Return": case.result}}
    return {"StateMachines": machines, "MockedResponses": responses}


def _machine(case: Case, definition: Mapping[str, Any]) -> dict[str, Any]:
    state = json.loads(case.request(definition)["definition"])
    if state["Type"] == "Map":
        state |= _played(case)
    following = {rule["Next"] for rule in [state, *_rules(state)] if "Next" in rule}
    following |= {state["Default"]} if "Default" in state else set()
    told = {
        name: {
            "Type": "Pass",
            "End": True,
            "Output": {"reached": name, "with": "{% $states.input %}"},
        }
        for name in following
    }
    return {
        "QueryLanguage": definition["QueryLanguage"],
        "StartAt": case.state,
        "States": {case.state: state, **told},
    }


def _rules(state: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from state.get("Choices", [])
    yield from state.get("Catch", [])


def _played(case: Case) -> dict[str, Any]:
    """Let a Map's iterations come to what the case says."""
    if case.error is not None:
        name, cause = case.error
        iteration: dict[str, Any] = {"Type": "Fail", "Error": name, "Cause": cause}
        results = [0]
    else:
        iteration = {"Type": "Pass", "End": True}
        results = case.result
    return {
        "Items": results,
        "ItemSelector": "{% $states.context.Map.Item.Value %}",
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "INLINE"},
            "StartAt": "Iteration",
            "States": {"Iteration": iteration},
        },
    }
