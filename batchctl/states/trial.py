"""Ask Step Functions what it makes of each case."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from batchctl.errors import BatchctlError
from batchctl.local.home import CHECKOUT
from batchctl.states.cases import Case, Ending, cases, expected

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from batchctl.aws import ClientFactory

DEFINITION: Final = CHECKOUT / "statemachine" / "batch.asl.json"
# What the template puts into the definition; mocked functions are never looked for.
_SUBSTITUTIONS: Final = {
    "Partition": "aws",
    "ChunkConcurrency": "4",
    "GroupConcurrency": "20",
    "ListUsersFunction": "list_users",
    "CallApiFunction": "call_api",
    "ProcessUsersFunction": "process_users",
    "FinishRunFunction": "finish_run",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a case, and what should have."""

    case: Case
    found: Mapping[str, Any]
    wanted: Mapping[str, Any]

    @property
    def good(self) -> bool:
        """Whether both are the same."""
        return self.found == self.wanted

    @property
    def differences(self) -> list[str]:
        """The fields that differ, each with what was found and what was expected."""
        names = [n for n in {**self.wanted, **self.found} if self._differs(n)]
        return [
            f"{name}: found {json.dumps(self.found.get(name))},"
            f" expected {json.dumps(self.wanted.get(name))}"
            for name in names
        ]

    def _differs(self, name: str) -> bool:
        return self.found.get(name) != self.wanted.get(name)


def checkouts_definition() -> dict[str, Any]:
    """Read the workflow as this checkout deploys it, with names in the functions' places."""
    text = DEFINITION.read_text(encoding="utf-8")
    for name, value in _SUBSTITUTIONS.items():
        text = text.replace(f"${{{name}}}", value)
    definition: dict[str, Any] = json.loads(text)
    return definition


def deployed_definition(client: ClientFactory, machine: str) -> dict[str, Any]:
    """Read the workflow of a stack. Raises BatchctlError when it cannot be read."""
    try:
        answer = client("stepfunctions").describe_state_machine(stateMachineArn=machine)
    except (BotoCoreError, ClientError) as error:
        raise BatchctlError(f"The workflow {machine} cannot be read: {error}") from error
    definition: dict[str, Any] = json.loads(answer["definition"])
    return definition


def try_states(client: ClientFactory, definition: Mapping[str, Any]) -> Iterator[Verdict]:
    """Try every case; no function runs and nothing is written.

    Raises BatchctlError when Step Functions refuses a call.
    """
    service = client("stepfunctions")
    wanted = expected()
    for case in cases():
        try:
            answer = service.test_state(**case.request(definition))
        except (BotoCoreError, ClientError) as error:
            raise BatchctlError(f"The case {case.name!r} could not be tried: {error}") from error
        yield Verdict(case, Ending.of(answer).to_json(), wanted[case.name])
