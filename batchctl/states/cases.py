"""The cases: which state, what it is given, what its function answers, and what must come of it.

Each case is one call of TestState. What must come of it lies in `expected.json`, which the
reference JSONata engine of the tests wrote and a test holds it to: `make states` writes it anew
after the workflow has changed.

https://docs.aws.amazon.com/step-functions/latest/dg/test-state-isolation.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from batch_core.outcomes import Tally
from batch_core.run import Run
from batchctl.errors import BatchctlError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXPECTED: Final = Path(__file__).with_name("expected.json")

_RUN: Final = Run("acme-20260131T102000Z", 1769854800000, 1, 100, 0.0, 1769855060.0).to_json()
_CHUNK: Final = {"n": 0, "users": 250, "groups": 3, "stride": 15_000, "etag": "0" * 32}
_HELD_BACK: Final = {"backing_off": 0, "quarantined": 0, "carried_over": 2}
_LISTING: Final = {
    "decision": "process",
    "run": _RUN,
    "listed": 253,
    "tally": Tally(rejected=1, skipped=2).to_json(),
    "held_back": _HELD_BACK,
    "lanes": {"chunks": 1, "groups": 2},  # no deployment is narrower
    "chunks": [_CHUNK],
}
_GROUP: Final = {"run": _RUN, "chunk": _CHUNK, "group": 2}
_FIGURES: Final = {"called": 100, "api_ms": 740, "late": 0, "stopped": 0}
# Text, since JSONata would read the number as a double: 2**53 + 1 is the first that one lacks.
_CLAIM: Final = {"kind": "inline", "text": f"[{2**53 + 1}]"}
_CALLED: Final = {"claim": _CLAIM, "tally": Tally().to_json(), **_FIGURES}
_PROCESSED: Final = Tally(queued=100).to_json() | _FIGURES
_FAILURE: Final = {
    "chunk": 0,
    "group": 1,
    "state": "Call API",
    "error": "States.Timeout",
    "cause": "",
}
_GROUP_FAILED: Final = (
    Tally(retry_later=100).to_json() | dict.fromkeys(_FIGURES, 0) | {"failure": _FAILURE}
)
_CHUNK_DONE: Final = {
    "tally": Tally(queued=150, retry_later=100).to_json(),
    "called": 150,
    "api_ms": 1_480,
    "stopped": 0,
    "late": [{"chunk": _CHUNK, "group": 2}],
    "awaited": "2s--1e",
    "failed_groups": 1,
    "failures": [_FAILURE],
}
_FINISHED: Final = {
    "status": "completed",
    "run_id": _RUN["id"],
    "listed": 253,
    "outcomes": Tally(stored=250, rejected=1, skipped=2).outcomes,
    "unaccounted": 0,
    "reason": "",
}
_CAUSE: Final = json.dumps({"errorMessage": "gone: “x”" + "." * 2_000, "errorType": "PayloadError"})
# What a Retry allows; a case that asks what comes behind the last one says so with it.
_RETRIES_SPENT: Final = 4


@dataclass(frozen=True, slots=True)
class Case:
    """One state and its surroundings.

    Parameters
    ----------
    name
        What is tried, as a sentence.
    state
        Its name in the definition, wherever it is nested.
    given
        Its input.
    result, error
        What its function or its iterations come to; at most one of them. `error` is a name and a
        cause.
    retries
        How many retries were made before.
    """

    name: str
    state: str
    given: Any
    result: Any = None
    error: tuple[str, str] | None = None
    retries: int = 0

    def request(self, definition: Mapping[str, Any]) -> dict[str, Any]:
        """Build the arguments of TestState.

        Raises BatchctlError when the definition has no state of that name.
        """
        found = dict(_states(definition)).get(self.state)
        if found is None:
            raise BatchctlError(
                f"The workflow has no state {self.state!r}: it is not this checkout's. Deploy it,"
                " or take the checkout that it was deployed from."
            )
        # A state by itself, since only that works for the ones inside a Map.
        state = {"QueryLanguage": definition["QueryLanguage"], **found}
        request: dict[str, Any] = {
            "definition": json.dumps(state),
            "input": json.dumps(self.given),
            "inspectionLevel": "DEBUG",
        }
        if self.error is not None:
            name, cause = self.error
            request["mock"] = {"errorOutput": {"error": name, "cause": cause}}
            request["stateConfiguration"] = {"retrierRetryCount": self.retries}
        elif self.result is not None:
            # The functions' own shapes are not those of the API of Lambda.
            request["mock"] = {"result": json.dumps(self.result), "fieldValidationMode": "NONE"}
        if "mock" in request:
            request["context"] = json.dumps(self.context)
        return request

    @property
    def context(self) -> dict[str, Any]:
        """The context object: the execution that the state belongs to."""
        return {
            "Execution": {
                "Id": "arn:aws:states:ap-northeast-1:111122223333:express:Batch:trial:0f0f",
                "Name": "trial",
                "StartTime": "2026-01-31T10:20:03.123Z",
            }
        }


@dataclass(frozen=True, slots=True)
class Ending:
    """What came of a state; `output` is None where it failed.

    `payload` is what its function was given, `at_once` the width of a Map.
    """

    status: str
    next_state: str | None = None
    payload: Any = None
    at_once: int | None = None
    output: Any = None
    error: str | None = None
    cause: Any = None

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Ending:
        """Read an answer of TestState. A cause that is JSON is compared as what it says."""
        failed = answer["status"] in {"FAILED", "RETRIABLE"}
        inspected = answer.get("inspectionData", {})
        arguments = _parsed(inspected.get("afterArguments")) or {}
        return cls(
            answer["status"],
            answer.get("nextState"),
            # Which function it is depends on the stack.
            arguments.get("Payload") if answer["status"] == "SUCCEEDED" else None,
            inspected.get("maxConcurrency"),
            None if failed else _parsed(answer.get("output")),
            answer.get("error") if failed else None,
            _parsed(answer.get("cause")) if answer["status"] == "FAILED" else None,
        )

    def to_json(self) -> dict[str, Any]:
        """What lies in `expected.json`."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in found.items() if value is not None}


def cases() -> Iterator[Case]:
    """Go through every state and every way out of it."""
    for state, given, answer in (
        ("List Users", {"scheduled_time": "2026-01-31T10:20:00Z"}, _LISTING),
        ("Call API", _GROUP, _CALLED),
        ("Process Users", _GROUP | _CALLED, _PROCESSED),
        ("Finish Run", _LISTING, _FINISHED),
    ):
        yield Case(f"{state} hands its answer on", state, given, _lambda(answer))
        for error in ("Lambda.TooManyRequestsException", "Lambda.ServiceException"):
            yield Case(f"{state} is retried after {error}", state, given, error=(error, ""))
        yield Case(
            f"{state} is given up when its retries are spent",
            state,
            given,
            error=("Lambda.TooManyRequestsException", "throttled"),
            retries=_RETRIES_SPENT,
        )
        yield Case(
            f"{state} is retried once when its environment is lost",
            state,
            given,
            error=("Runtime.ExitError", ""),
        )
        for error in ("PayloadError", "States.Timeout", "States.DataLimitExceeded"):
            yield Case(f"{state} catches {error}", state, given, error=(error, _CAUSE))
    yield from _choices()
    yield from _maps()
    group_failed = _GROUP | {"state": "Call API", "error": "E" * 40, "cause": "?" * 75}
    yield Case("a failed group is counted user by user", "Group Failed", group_failed)
    yield Case("a completed run succeeds", "Run Completed", _FINISHED)
    yield Case("a skipped run succeeds", "Run Skipped", _LISTING | {"decision": "duplicate"})
    yield Case("a run that lost somebody fails", "Run Failed", _FINISHED | {"status": "failed"})
    failed = {"state": "List Users", "error": "SchemaError", "cause": "no table"}
    yield Case("a caught error keeps its name", "Run Failed", failed)


def expected() -> dict[str, dict[str, Any]]:
    """Read what must come of each case, by its name."""
    found: dict[str, dict[str, Any]] = json.loads(EXPECTED.read_text(encoding="utf-8"))
    return found


def _choices() -> Iterator[Case]:
    yield Case("listed users are processed", "Any Users?", _LISTING)
    yield Case("without users the run is finished", "Any Users?", _LISTING | {"chunks": []})
    for decision in ("duplicate", "skipped", "late"):
        given = _LISTING | {"decision": decision, "listed": 0, "chunks": []}
        yield Case(f"a start that is {decision} touches nothing", "Any Users?", given)
    yield Case("an unknown decision fails", "Any Users?", {"decision": "perhaps"})
    yield Case("a completed run is completed", "Run Accounted For?", _FINISHED)
    given = _FINISHED | {"status": "failed"}
    yield Case("a run that is not completed fails", "Run Accounted For?", given)


def _maps() -> Iterator[Case]:
    groups = {"run": _RUN, "lanes": _LISTING["lanes"], "chunk": _CHUNK}
    late = _PROCESSED | {"late": 30}
    for name, done in {
        "groups are added up": [_PROCESSED, _GROUP_FAILED, late],
        # JSONata unwraps sequences of one element.
        "one group is added up as several are": [_PROCESSED],
        "one failed group is added up as several are": [_GROUP_FAILED],
    }.items():
        yield Case(name, "For Each Group", groups, done)
    state = "For Each Chunk"
    yield Case("chunks are added up", state, _LISTING, [_CHUNK_DONE, _CHUNK_DONE])
    yield Case("one chunk is added up as several are", state, _LISTING, [_CHUNK_DONE])
    for error in ("States.DataLimitExceeded", "States.QueryEvaluationError"):
        yield Case(f"{state} catches {error}", state, _LISTING, error=(error, _CAUSE))


def _lambda(answer: Any) -> dict[str, Any]:
    return {"StatusCode": 200, "Payload": answer}


def _parsed(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return text


def _states(machine: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, state in machine["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from _states(state["ItemProcessor"])
