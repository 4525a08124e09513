"""The cases of `batchctl verify --states`, on the engines that we have without an account.

What Step Functions will be held to is what the reference engine says. MiniStack is asked as well:
its answers are the same today, so what it does otherwise is not in the evaluation of one state.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
import pytest
import typer
from botocore.stub import Stubber

from batchctl.aws import ClientFactory
from batchctl.commands.states import verify_states
from batchctl.errors import BatchctlError
from batchctl.states.cases import Case, cases, expected
from batchctl.states.trial import checkouts_definition, deployed_definition, try_states
from tests.support.jsonata import Jsonata
from tests.support.ministack_states import MiniStackStates, ministack_states
from tests.support.state_cases import endings

CASES = list(cases())
DEFINITION = checkouts_definition()
# What only Step Functions' own TestState shows.
INSPECTED = {"payload", "at_once"}


@pytest.fixture(scope="module")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStackStates]:
    """MiniStack, whose tasks are mocked as the cases say."""
    with ministack_states(tmp_path_factory.mktemp("states"), CASES, DEFINITION) as states:
        yield states


def step_functions(**changed: dict[str, Any]) -> ClientFactory:
    """Answer each call of TestState as `expected.json` says, after botocore has checked it.

    `changed` says what a state answers otherwise.
    """
    made = client()
    stubber = Stubber(made)
    for case in CASES:
        answer = _answer(expected()[case.name] | changed.get(case.state.replace(" ", "_"), {}))
        stubber.add_response("test_state", answer, case.request(DEFINITION))
    stubber.activate()
    return factory(made)


def factory(made: Any) -> ClientFactory:
    def give(service: str, **_: Any) -> Any:
        assert service == "stepfunctions"
        return made

    return give


def client() -> Any:
    """A client that may not reach anything."""
    return boto3.client(
        "stepfunctions",
        region_name="ap-northeast-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
    )


def _answer(ending: Mapping[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"status": ending["status"]}
    inspected: dict[str, Any] = {}
    if "next_state" in ending:
        answer["nextState"] = ending["next_state"]
    if "error" in ending:
        answer["error"] = ending["error"]
    for field in ("output", "cause"):
        if field in ending:
            answer[field] = json.dumps(ending[field])
    if "payload" in ending:
        inspected["afterArguments"] = json.dumps({"Payload": ending["payload"]})
    if "at_once" in ending:
        inspected["maxConcurrency"] = ending["at_once"]
    return answer | {"inspectionData": inspected}


def test_what_is_expected_is_what_the_reference_engine_says(jsonata: Jsonata) -> None:
    assert endings(jsonata) == expected(), "the workflow has changed: run `make states`"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_ministack_makes_the_same_of_a_case(case: Case, ministack: MiniStackStates) -> None:
    wanted = expected()[case.name]

    assert ministack.ending(case).to_json() == {
        name: value for name, value in wanted.items() if name not in INSPECTED
    }


def test_every_way_out_of_every_state_has_a_case() -> None:
    ways = set(_ways(DEFINITION))
    tried = {(case.state, expected()[case.name].get("next_state")) for case in CASES}

    assert ways <= tried
    assert {state for state, _ in ways} == {case.state for case in CASES}


def test_every_call_is_valid_and_the_right_answers_are_good() -> None:
    verdicts = list(try_states(step_functions(), DEFINITION))

    assert len(verdicts) == len(CASES)
    assert all(verdict.good for verdict in verdicts)


def test_a_different_answer_is_named_with_what_was_expected() -> None:
    service = step_functions(Run_Completed={"status": "FAILED", "error": "States.Runtime"})

    (bad,) = [verdict for verdict in try_states(service, DEFINITION) if not verdict.good]

    assert bad.case.state == "Run Completed"
    assert bad.differences[0] == 'status: found "FAILED", expected "SUCCEEDED"'
    assert 'error: found "States.Runtime", expected null' in bad.differences


def test_a_person_reads_a_line_for_each_case_and_what_differs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    verify_states(step_functions(), DEFINITION, as_json=False)

    printed = capsys.readouterr().out
    assert all(case.name in printed for case in CASES)
    assert f"{len(CASES)} of {len(CASES)} cases are as expected" in printed


def test_a_program_reads_what_differs_and_the_status_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    service = step_functions(Run_Completed={"status": "FAILED"})

    with pytest.raises(typer.Exit) as left:
        verify_states(service, DEFINITION, as_json=True)

    assert left.value.exit_code == 1
    line = json.loads(capsys.readouterr().out)
    assert (line["cases"], [bad["state"] for bad in line["different"]]) == (
        len(CASES),
        ["Run Completed"],
    )


def test_a_workflow_that_is_not_this_checkouts_is_refused() -> None:
    other = {"QueryLanguage": "JSONata", "States": {"List Users": {"Type": "Succeed"}}}

    case = next(case for case in CASES if case.state == "Call API")

    with pytest.raises(BatchctlError, match="no state 'Call API'"):
        case.request(other)


def test_the_deployed_workflow_is_read_from_its_stack() -> None:
    arn = "arn:aws:states:ap-northeast-1:111122223333:stateMachine:BatchMachine-x"
    stubbed = client()
    described = {
        "stateMachineArn": arn,
        "name": "BatchMachine-x",
        "definition": json.dumps(DEFINITION),
        "roleArn": "arn:aws:iam::111122223333:role/states",
        "type": "EXPRESS",
        "creationDate": 0,
    }
    with Stubber(stubbed) as stubber:
        stubber.add_response("describe_state_machine", described, {"stateMachineArn": arn})

        assert deployed_definition(factory(stubbed), arn) == DEFINITION


def _ways(machine: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    for name, state in machine["States"].items():
        nexts = [state.get("Next"), state.get("Default")]
        nexts += [rule["Next"] for rule in [*state.get("Choices", []), *state.get("Catch", [])]]
        found = {one for one in nexts if one is not None}
        if state.get("End") or state["Type"] in {"Succeed", "Fail"}:
            found.add(None)
        yield from ((name, one) for one in found)
        yield from _ways(state["ItemProcessor"]) if "ItemProcessor" in state else ()
