"""Every path through the workflow, on the reference JSONata engine, with stand-in functions.

The stand-ins answer with the shapes of the real functions; that the real ones do is what
`test_real_functions.py` shows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from batch_core.limits import (
    CHUNKS_PER_RUN,
    CLAIM_COMPRESSED_BYTES,
    GROUPS_PER_CHUNK,
    ITERATION_RESULT_BYTES,
    STATE_BYTES,
    STATE_BYTES_QUOTA,
)
from batch_core.outcomes import Tally
from batch_core.run import Run
from tests.support.asl import MOST_STATE_BYTES, Machine, StatesError, render
from tests.support.jsonata import Jsonata

HELD_BACK = {"backing_off": 0, "quarantined": 0, "carried_over": 0}
FIGURES = {"called": 100, "api_ms": 740, "late": 0, "stopped": 0}
RUN = Run("acme-20260131T102000Z", 1769854800000, 1, 100, 0.0, 1769855060.0)


class StandIns:
    """The four functions, answering like the real ones for a given number of users."""

    def __init__(self, users: int = 250, chunk_size: int = 200, claim_bytes: int = 100) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.faults: dict[str, Callable[[Any], None]] = {}
        self.answers: dict[str, Callable[[Any], Any]] = {
            "list_users": self.list_users,
            "call_api": self.call_api,
            "process_users": self.process_users,
            "finish_run": self.finish_run,
        }
        self._users = users
        self._chunk_size = chunk_size
        self._claim = {"kind": "zlib", "data": "x" * claim_bytes, "sha256": "0" * 64}

    def __call__(self, function: str, payload: Any) -> Any:
        self.calls.append((function, payload))
        if function in self.faults:
            self.faults[function](payload)
        return self.answers[function](payload)

    def list_users(self, _payload: Any) -> dict[str, Any]:
        chunks = [
            {
                "n": n,
                "users": min(self._chunk_size, self._users - start),
                "groups": -(-min(self._chunk_size, self._users - start) // RUN.group_size),
                "stride": 15_000,
                "etag": "d41d8cd98f00b204e9800998ecf8427e",
            }
            for n, start in enumerate(range(0, self._users, self._chunk_size))
        ]
        return {
            "decision": "process",
            "run": RUN.to_json(),
            "listed": self._users + 1,
            "tally": Tally(rejected=1).to_json(),
            "held_back": HELD_BACK,
            "lanes": {"chunks": 40, "groups": 40},
            "chunks": chunks,
        }

    def call_api(self, _payload: Any) -> dict[str, Any]:
        return {"claim": self._claim, "tally": Tally().to_json(), **FIGURES}

    def process_users(self, payload: Any) -> dict[str, int]:
        chunk, group = payload["chunk"], payload["group"]
        tally = Tally(queued=min(100, chunk["users"] - 100 * group)).to_json()
        return tally | {name: payload[name] for name in FIGURES}

    def finish_run(self, payload: Any) -> dict[str, Any]:
        tally = payload["tally"]
        return {
            "status": "completed",
            "run_id": payload["run"]["id"],
            "listed": payload["listed"],
            "outcomes": Tally(stored=tally["queued"], rejected=tally["rejected"]).outcomes,
            "unaccounted": 0,
            "reason": "",
        }

    def called(self, function: str) -> list[Any]:
        return [payload for name, payload in self.calls if name == function]


def execute(jsonata: Jsonata, functions: StandIns, given: Any = None, **substitutions: int) -> Any:
    return Machine(render(**substitutions), jsonata, functions).execute(given or {})


def test_every_group_of_every_chunk_is_called_and_processed_once(jsonata: Jsonata) -> None:
    functions = StandIns(users=250, chunk_size=200)

    execution = execute(jsonata, functions)

    assert execution.status == "SUCCEEDED"
    slices = [(p["chunk"]["n"], p["group"]) for p in functions.called("call_api")]
    assert slices == [(0, 0), (0, 1), (1, 0)]
    assert [p["claim"]["kind"] for p in functions.called("process_users")] == ["zlib"] * 3


def test_finish_run_gets_the_sums_of_all_groups_and_of_the_listing(jsonata: Jsonata) -> None:
    functions = StandIns(users=250)

    execution = execute(jsonata, functions)

    (finish,) = functions.called("finish_run")
    assert finish["listed"] == 251
    assert finish["tally"] == Tally(queued=250, rejected=1).to_json()
    assert (finish["failed_groups"], finish["failures"]) == (0, [])
    assert (finish["called"], finish["api_ms"], finish["stopped"]) == (300, 2_220, 0)
    assert finish["held_back"] == HELD_BACK
    assert execution.output["outcomes"]["stored"] == 250


def test_finish_run_learns_how_many_rows_each_group_put_on_the_stream(jsonata: Jsonata) -> None:
    functions = StandIns(users=550, chunk_size=300)
    whole = functions.process_users
    functions.answers["process_users"] = lambda payload: (
        whole(payload) | ({"queued": 0} if payload["group"] == 1 else {})
    )

    execute(jsonata, functions)

    assert functions.called("finish_run")[0]["awaited"] == ["2s002s", "2s001e"]


@pytest.mark.parametrize("late", [[], [(0, 0)], [(1, 0)], [(1, 1), (0, 1)], [(0, 1), (1, 0)]])
def test_finish_run_learns_the_first_group_whose_turn_never_came(
    jsonata: Jsonata, late: list[tuple[int, int]]
) -> None:
    functions = StandIns(users=400, chunk_size=200)
    whole = functions.process_users
    functions.answers["process_users"] = lambda payload: (
        whole(payload) | ({"late": 30} if (payload["chunk"]["n"], payload["group"]) in late else {})
    )

    execute(jsonata, functions)

    told = functions.called("finish_run")[0]["late"]
    # Groups of one number start together, whatever their chunk.
    first = sorted(late, key=lambda place: (place[1], place[0]))[:1]
    assert [(place["chunk"]["n"], place["group"], place["at"]) for place in told] == [
        (*place, 30) for place in first
    ]
    assert all(place["chunk"]["stride"] == 15_000 for place in told)


def test_what_the_api_stopped_is_added_up(jsonata: Jsonata) -> None:
    functions = StandIns(users=300)
    functions.answers["call_api"] = lambda _: functions.call_api({}) | {"stopped": 7, "called": 0}

    execute(jsonata, functions)

    finish = functions.called("finish_run")[0]
    assert (finish["stopped"], finish["called"]) == (21, 0)


@pytest.mark.parametrize("users", [1, 99, 100, 101, 200, 201])
def test_one_user_more_or_less_than_a_group_or_a_chunk_loses_nobody(
    jsonata: Jsonata, users: int
) -> None:
    functions = StandIns(users=users)

    execute(jsonata, functions)

    assert functions.called("finish_run")[0]["tally"]["queued"] == users


def test_no_users_goes_straight_to_finish_run(jsonata: Jsonata) -> None:
    functions = StandIns(users=0)

    execution = execute(jsonata, functions)

    assert execution.visited == [
        "List Users", "Any Users?", "Finish Run", "Run Accounted For?", "Run Completed",
    ]  # fmt: skip
    assert functions.called("finish_run")[0]["tally"] == Tally(rejected=1).to_json()


@pytest.mark.parametrize("decision", ["duplicate", "skipped", "late"])
def test_a_run_that_is_not_ours_ends_without_touching_anything(
    jsonata: Jsonata, decision: str
) -> None:
    functions = StandIns()
    listing = functions.list_users({}) | {"decision": decision, "listed": 0, "chunks": []}
    functions.answers["list_users"] = lambda _: listing

    execution = execute(jsonata, functions)

    assert execution.status == "SUCCEEDED"
    assert execution.visited[-1] == "Run Skipped"
    assert execution.output["status"] == decision
    assert execution.output["reason"]
    assert execution.output["run_id"] == RUN.id
    assert [name for name, _ in functions.calls] == ["list_users"]


def test_a_decision_that_is_unknown_here_is_a_failure(jsonata: Jsonata) -> None:
    functions = StandIns()
    functions.answers["list_users"] = lambda _: {"decision": "perhaps"}

    execution = execute(jsonata, functions)

    assert (execution.status, execution.error) == ("FAILED", "Batch.RunFailed")
    assert json.loads(execution.cause) == {"decision": "perhaps"}


def test_the_schedules_input_reaches_list_users_and_absent_fields_arrive_as_null(
    jsonata: Jsonata,
) -> None:
    functions = StandIns()

    execute(jsonata, functions, {"scheduled_time": "2026-01-31T10:20:00Z", "max_age_minutes": 10})

    (given,) = functions.called("list_users")
    assert given["scheduled_time"] == "2026-01-31T10:20:00Z"
    assert given["max_age_minutes"] == 10
    assert (given["group_size"], given["everyone"]) == (None, None)
    assert given["started_at"] == "2026-01-31T10:20:03.123Z"
    assert given["execution"].endswith(":test:0f0f")


@pytest.mark.parametrize("function", ["call_api", "process_users"])
def test_one_failing_group_is_retry_later_and_stops_nobody_else(
    jsonata: Jsonata, function: str
) -> None:
    functions = StandIns(users=450, chunk_size=200)
    functions.faults[function] = fails(lambda p: (p["chunk"]["n"], p["group"]) == (2, 0))

    execution = execute(jsonata, functions)

    (finish,) = functions.called("finish_run")
    assert finish["tally"] == Tally(queued=400, retry_later=50, rejected=1).to_json()
    assert finish["failed_groups"] == 1
    assert finish["awaited"] == ["2s2s", "2s2s", "--"]
    (failure,) = finish["failures"]
    assert failure["state"] == {"call_api": "Call API", "process_users": "Process Users"}[function]
    assert (failure["chunk"], failure["group"], failure["error"]) == (2, 0, "PayloadMissingError")
    assert "the object is gone" in failure["cause"]
    assert execution.status == "SUCCEEDED"


def test_when_every_group_fails_every_user_is_retry_later(jsonata: Jsonata) -> None:
    functions = StandIns(users=450, chunk_size=200)
    functions.faults["call_api"] = fails(lambda _: True)

    execute(jsonata, functions)

    (finish,) = functions.called("finish_run")
    assert finish["tally"] == Tally(retry_later=450, rejected=1).to_json()
    assert finish["awaited"] == ["----", "----", "--"]


def test_lambda_service_errors_are_retried_and_others_are_not(jsonata: Jsonata) -> None:
    functions = StandIns(users=100)
    failing_twice = iter([True, True, False])
    functions.faults["call_api"] = fails(
        lambda _: next(failing_twice), StatesError("Lambda.TooManyRequestsException", "throttled")
    )
    functions.faults["process_users"] = fails(lambda _: True)

    execute(jsonata, functions)

    assert len(functions.called("call_api")) == 3
    assert len(functions.called("process_users")) == 1


def test_a_lost_environment_is_retried_once(jsonata: Jsonata) -> None:
    functions = StandIns(users=100)
    functions.faults["call_api"] = fails(lambda _: True, StatesError("Runtime.ExitError", "killed"))

    execute(jsonata, functions)

    assert len(functions.called("call_api")) == 2
    assert functions.called("finish_run")[0]["tally"]["retry_later"] == 100


def test_a_run_that_finish_run_does_not_vouch_for_ends_failed(jsonata: Jsonata) -> None:
    functions = StandIns()
    verdict = {"status": "failed", "run_id": RUN.id, "unaccounted": 3, "reason": "3 users"}
    functions.answers["finish_run"] = lambda _: verdict

    execution = execute(jsonata, functions)

    assert execution.status == "FAILED"
    assert execution.error == "Batch.RunFailed"
    assert json.loads(execution.cause) == verdict


@pytest.mark.parametrize("function", ["list_users", "finish_run"])
def test_a_broken_end_of_the_run_ends_failed_and_names_the_state(
    jsonata: Jsonata, function: str
) -> None:
    functions = StandIns()
    functions.faults[function] = fails(lambda _: True)

    execution = execute(jsonata, functions)

    assert execution.status == "FAILED"
    assert execution.error == "PayloadMissingError"
    state = {"list_users": "List Users", "finish_run": "Finish Run"}[function]
    assert json.loads(execution.cause)["state"] == state


def test_an_error_without_a_cause_is_still_caught(jsonata: Jsonata) -> None:
    functions = StandIns(users=100)
    functions.faults["call_api"] = fails(lambda _: True, StatesError("States.Timeout", ""))

    execution = execute(jsonata, functions)

    assert execution.status == "SUCCEEDED"
    assert functions.called("finish_run")[0]["failures"][0]["cause"] == ""


def test_a_payload_beyond_the_quota_fails_one_group_only(jsonata: Jsonata) -> None:
    functions = StandIns(users=200)
    whole = functions.call_api({})
    huge = whole | {"claim": {"kind": "inline", "value": "x" * STATE_BYTES_QUOTA}}
    functions.answers["call_api"] = lambda payload: huge if payload["group"] == 0 else whole

    execution = execute(jsonata, functions)

    assert execution.status == "SUCCEEDED"
    assert functions.called("finish_run")[0]["tally"]["retry_later"] == 100
    assert functions.called("finish_run")[0]["failures"][0]["error"] == "States.DataLimitExceeded"


def test_concurrency_comes_from_the_templates_parameters(jsonata: Jsonata) -> None:
    execution = execute(jsonata, StandIns(), ChunkConcurrency=3, GroupConcurrency=17)

    assert execution.concurrency == {"For Each Chunk": 3, "For Each Group": 17}


def test_the_lister_may_ask_for_a_narrower_run(jsonata: Jsonata) -> None:
    functions = StandIns()
    listing = functions.list_users({}) | {"lanes": {"chunks": 1, "groups": 5}}
    functions.answers["list_users"] = lambda _: listing

    execution = execute(jsonata, functions, ChunkConcurrency=3, GroupConcurrency=17)

    assert execution.concurrency == {"For Each Chunk": 1, "For Each Group": 5}


def test_the_largest_state_does_not_grow_with_the_number_of_users(jsonata: Jsonata) -> None:
    small = execute(jsonata, StandIns(1_000, 5_000, CLAIM_COMPRESSED_BYTES))
    large = execute(jsonata, StandIns(100_000, 5_000, CLAIM_COMPRESSED_BYTES))

    assert large.max_state_bytes <= small.max_state_bytes * 1.01
    assert large.max_state_bytes < STATE_BYTES


def test_the_worst_run_allowed_with_every_group_failing_stays_far_below_the_quota(
    jsonata: Jsonata,
) -> None:
    chunk_size = GROUPS_PER_CHUNK * 100
    one_chunk = StandIns(chunk_size, chunk_size)
    one_chunk.faults["call_api"] = fails(lambda _: True, StatesError("E" * 500, '"' * 9_000))
    many_chunks = StandIns(CHUNKS_PER_RUN * 5_000, 5_000)
    many_chunks.faults["call_api"] = one_chunk.faults["call_api"]

    wide = execute(jsonata, one_chunk)
    long = execute(jsonata, many_chunks)

    assert wide.largest["For Each Group iteration"] <= ITERATION_RESULT_BYTES
    assert max(wide.max_state_bytes, long.max_state_bytes) <= MOST_STATE_BYTES


def fails(when: Callable[[Any], bool], error: Exception | None = None) -> Callable[[Any], None]:
    class PayloadMissingError(Exception): ...

    def check(payload: Any) -> None:
        if when(payload):
            raise error or PayloadMissingError("the object is gone")

    return check
