"""What the executor itself measures: sizes and time, on state machines made for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from batch_core.limits import RUN_SECONDS, STATE_BYTES_QUOTA
from tests.support.asl import MOST_STATE_BYTES, LimitError, Machine, StatesError
from tests.support.jsonata import Jsonata

RETRY = [
    {
        "ErrorEquals": ["Lambda.TooManyRequestsException"],
        "IntervalSeconds": 1,
        "BackoffRate": 2.0,
        "MaxAttempts": 4,
        "MaxDelaySeconds": 3,
        "JitterStrategy": "FULL",
    }
]


def task(**changes: Any) -> dict[str, Any]:
    """A state that calls the function `work` with its input."""
    usual = {
        "Type": "Task",
        "Arguments": {"FunctionName": "work", "Payload": "{% $states.input %}"},
        "Output": "{% $states.result.Payload %}",
        "TimeoutSeconds": 60,
    }
    return usual | changes


def each(items: str, inner: dict[str, Any], *, at_once: int) -> dict[str, Any]:
    """A Map over the items, which goes on with their number."""
    return {
        "Type": "Map",
        "Items": items,
        "ItemSelector": "{% $states.context.Map.Item.Value %}",
        "MaxConcurrency": at_once,
        "ItemProcessor": machine(inner),
        "Output": "{% $count($states.result) %}",
    }


def machine(state: dict[str, Any]) -> dict[str, Any]:
    """A machine of one state."""
    return {"StartAt": "Only", "States": {"Only": state}}


def seconds_of(
    jsonata: Jsonata,
    state: dict[str, Any],
    given: Any,
    *,
    invoke: Callable[[str, Any], Any] = lambda _, payload: payload,
) -> float:
    """How long the machine takes when each task takes as long as its input says."""
    made = Machine(machine(state), jsonata, invoke, lambda _, payload: float(payload))
    return made.execute(given).seconds


@pytest.mark.parametrize(("at_once", "seconds"), [(1, 60), (2, 40), (3, 40), (4, 30), (40, 30)])
def test_a_map_takes_its_iterations_over_its_lanes(
    jsonata: Jsonata, at_once: int, seconds: float
) -> None:
    items = "{% $states.input %}"

    assert seconds_of(jsonata, each(items, task(), at_once=at_once), [10, 10, 10, 30]) == seconds


def test_an_item_takes_the_first_lane_that_is_free(jsonata: Jsonata) -> None:
    items = "{% $states.input %}"

    assert seconds_of(jsonata, each(items, task(), at_once=2), [30, 1, 1, 1]) == 30


def test_a_map_within_a_map_runs_in_the_lane_of_its_item(jsonata: Jsonata) -> None:
    inner = each("{% $states.input %}", task(), at_once=2)
    outer = each("{% $states.input %}", inner, at_once=1)

    assert seconds_of(jsonata, outer, [[10, 10], [10, 10, 10]]) == 10 + 20


def test_no_items_take_no_time(jsonata: Jsonata) -> None:
    assert seconds_of(jsonata, each("{% [] %}", task(), at_once=4), 0) == 0


def test_attempts_and_the_longest_pauses_between_them_take_time(jsonata: Jsonata) -> None:
    def throttled(_function: str, _payload: Any) -> Any:
        raise StatesError("Lambda.TooManyRequestsException", "rate exceeded")

    # Five attempts, and pauses of 1, 2, 3 and 3 seconds.
    assert seconds_of(jsonata, task(Retry=RETRY), 10, invoke=throttled) == 5 * 10 + 9


def test_a_task_that_takes_too_long_ends_with_its_timeout(jsonata: Jsonata) -> None:
    done: list[Any] = []
    slow = Machine(machine(task()), jsonata, lambda _, payload: done.append(payload), lambda *_: 61)

    execution = slow.execute(1)

    assert (execution.status, execution.error) == ("FAILED", "States.Timeout")
    assert execution.seconds == 60
    assert done == []


def test_an_execution_begins_at_zero_again(jsonata: Jsonata) -> None:
    made = Machine(machine(task()), jsonata, lambda *_: 1, lambda *_: 50)

    assert [made.execute(1).seconds for _ in range(7)] == [50] * 7


def test_an_execution_that_runs_too_long_fails_its_test(jsonata: Jsonata) -> None:
    one_by_one = each("{% [1..10] %}", task(), at_once=1)

    def takes(seconds: float) -> float:
        made = Machine(machine(one_by_one), jsonata, lambda *_: 1, lambda *_: seconds)
        return made.execute(1).seconds

    assert takes(RUN_SECONDS / 10) == RUN_SECONDS
    with pytest.raises(LimitError, match=r"285\.1 s; 285 are allowed"):
        takes(RUN_SECONDS / 10 + 0.01)


@pytest.mark.parametrize("letter", ["x", "é", "字", "🙂", '"'])
def test_an_execution_that_carries_too_much_fails_its_test(jsonata: Jsonata, letter: str) -> None:
    passing = {"Type": "Pass", "Output": "{% $states.input %}"}
    made = Machine(machine(passing), jsonata, lambda *_: None)
    letters = (MOST_STATE_BYTES - 2) // (2 if letter == '"' else len(letter.encode()))

    assert made.execute(letter * letters).max_state_bytes <= MOST_STATE_BYTES
    with pytest.raises(LimitError, match=r"Only input holds \d+ bytes; 200000 are allowed"):
        made.execute(letter * (letters + 1))


def test_what_passes_the_quota_fails_the_execution_as_on_aws(jsonata: Jsonata) -> None:
    made = Machine(machine(task()), jsonata, lambda *_: "x" * STATE_BYTES_QUOTA)

    execution = made.execute(1)

    assert (execution.status, execution.error) == ("FAILED", "States.DataLimitExceeded")
