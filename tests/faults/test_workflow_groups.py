"""A user, a group, a function or an environment that breaks in the middle of a run."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from batchctl.local import processes
from batchctl.local.cloud import LocalCloud
from batchctl.local.servers import MiniStack
from functions.call_api import app as call_api
from functions.process_users import app as process_users
from job import JOB
from sampleapi.admin import SampleApiAdmin
from tests.faults.conftest import Lab
from tests.support.activity_table import wrong_rows
from tests.support.asl import StatesError, render
from tests.support.tenant import Tenant, account, accounted, is_group, judged
from tests.support.terminal import Terminal, finished, last_line

USERS = 430  # eight groups of 50 and one of 30, in three chunks
SERVICE_ERRORS = [
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.TooManyRequestsException",
]
LOST_ENVIRONMENTS = ["Sandbox.Timedout", "Runtime.ExitError", "Lambda.Unknown"]


class Failing:
    """Fails the invocations about one group, so many times."""

    def __init__(self, error: str, *, times: int, chunk: int = 1, group: int = 2) -> None:
        self.made = 0
        self._error = error
        self._times = times
        self._place = (chunk, group)

    def __call__(self, payload: Any) -> None:
        if self.made < self._times and is_group(payload, *self._place):
            self.made += 1
            raise StatesError(self._error, "as AWS says it")


@contextmanager
def broken_for(monkeypatch: pytest.MonkeyPatch, what: str, users: set[int]) -> Iterator[None]:
    """Let the job raise for some users, in `request` or in `process`."""

    def raising(user: Any, *rest: Any) -> Any:
        if user["user_id"] in users:
            raise ZeroDivisionError("the job has a mistake")
        return getattr(JOB, what)(user, *rest)

    broken = replace(JOB, request=raising) if what == "request" else replace(JOB, process=raising)
    with monkeypatch.context() as patch:
        patch.setattr(call_api, "JOB", broken)
        patch.setattr(process_users, "JOB", broken)
        yield


@pytest.mark.fault(21)
@pytest.mark.parametrize("what", ["request", "process"])
def test_a_user_for_whom_the_job_raises_is_rejected_alone(
    lab: Lab, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    tenant.seed(USERS)

    with broken_for(monkeypatch, what, {7, 8, 412}):
        first = tenant.run()
    second = tenant.run()

    assert first.output["outcomes"] | {"stored": 427, "rejected": 3} == first.output["outcomes"]
    assert second.output["outcomes"]["stored"] == 3
    lab.report(
        "the job raises for 3 users",
        times=3,
        users=USERS,
        accounted=accounted(first),
        lost=tenant.lost,
    )


@pytest.mark.fault(21)
@pytest.mark.parametrize("function", ["call_api", "process_users"])
def test_a_group_whose_function_always_dies_is_left_for_the_next_run_and_the_others_are_stored(
    lab: Lab, tenant: Tenant, function: str
) -> None:
    tenant.seed(USERS)
    failing = tenant.before[function] = Failing("Runtime.ExitError", times=99)

    first = tenant.run()
    del tenant.before[function]
    second = tenant.run()

    assert failing.made == 2
    assert first.output["outcomes"]["retry_later"] == 50
    assert second.output["outcomes"]["stored"] == 50
    lab.report(
        "a group's function dies, and again",
        times=failing.made,
        users=USERS,
        accounted=accounted(first),
        lost=tenant.lost,
    )


@pytest.mark.fault(21)
def test_no_task_of_a_group_can_fail_a_map(lab: Lab) -> None:
    chunks = render()["States"]["For Each Chunk"]["ItemProcessor"]["States"]
    groups = chunks["For Each Group"]["ItemProcessor"]["States"]
    tasks = {name: state for name, state in groups.items() if state["Type"] == "Task"}

    for state in tasks.values():
        retried = {name for retrier in state["Retry"] for name in retrier["ErrorEquals"]}
        assert retried == {*SERVICE_ERRORS, *LOST_ENVIRONMENTS}
        caught = [name for catcher in state["Catch"] for name in catcher["ErrorEquals"]]
        assert caught == ["States.DataLimitExceeded", "States.ALL"]
        assert {catcher["Next"] for catcher in state["Catch"]} == {"Group Failed"}
    assert set(tasks) == {"Call API", "Process Users"}
    lab.report("every task of a group, read", times=len(tasks), users=0, accounted=0)


@pytest.mark.fault(22)
@pytest.mark.parametrize("error", ["Lambda.ServiceException", "Lambda.TooManyRequestsException"])
def test_a_service_error_that_passes_is_waited_out_and_nobody_notices(
    lab: Lab, tenant: Tenant, error: str
) -> None:
    tenant.seed(120)
    failing = [Failing(error, times=4, chunk=0, group=group) for group in (0, 1)]
    tenant.before["call_api"], tenant.before["process_users"] = failing

    execution = tenant.run()

    assert execution.output["outcomes"]["stored"] == 120
    # 1, 2, 4 and 8 seconds at most before the four retries of one task.
    assert 15 < execution.seconds < 20
    lab.report(
        "errors of the service, 4 times",
        times=sum(each.made for each in failing),
        users=120,
        accounted=accounted(execution),
        lost=tenant.lost,
    )


@pytest.mark.fault(22)
@pytest.mark.parametrize("function", ["call_api", "process_users"])
def test_a_throttle_that_does_not_pass_leaves_the_group_for_the_next_run(
    lab: Lab, tenant: Tenant, function: str
) -> None:
    tenant.seed(USERS)
    failing = tenant.before[function] = Failing("Lambda.TooManyRequestsException", times=99)

    first = tenant.run()
    del tenant.before[function]
    second = tenant.run()

    assert failing.made == 5
    assert first.output["outcomes"]["retry_later"] == 50
    assert second.output["outcomes"]["stored"] == 50
    lab.report(
        "a throttle that does not pass",
        times=failing.made,
        users=USERS,
        accounted=accounted(first),
        lost=tenant.lost,
    )


@pytest.mark.fault(22)
def test_a_throttle_of_everybody_fails_the_run_says_why_and_the_next_one_serves_all(
    lab: Lab, tenant: Tenant
) -> None:
    tenant.seed(120)
    tenant.before["call_api"] = throttled

    first = tenant.run()
    del tenant.before["call_api"]
    second = tenant.run()

    assert first.status == "FAILED"
    assert "Lambda.TooManyRequestsException" in judged(first)["reason"]
    assert second.output["outcomes"]["stored"] == 120
    lab.report(
        "a throttle of all groups",
        times=3 * 5,
        users=120,
        accounted=accounted(first),
        lost=tenant.lost,
    )


@pytest.mark.fault(23)
@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("list_users", "Sandbox.Timedout"),
        ("call_api", "Runtime.ExitError"),
        ("process_users", "Runtime.ExitError"),
        ("finish_run", "Lambda.Unknown"),
    ],
)
def test_an_environment_that_is_lost_after_its_work_is_replaced_and_nothing_counts_twice(
    lab: Lab, tenant: Tenant, function: str, error: str
) -> None:
    tenant.seed(120)
    tenant.after[function] = once(error)

    execution = tenant.run()

    assert execution.output["outcomes"]["stored"] == 120
    lab.report(
        "an environment lost after its work, of each function",
        times=1,
        users=120,
        accounted=accounted(execution),
        lost=tenant.lost,
    )


@pytest.mark.fault(23)
def test_a_function_that_hangs_is_ended_by_its_state_and_the_run_ends_in_time(
    lab: Lab, tenant: Tenant
) -> None:
    tenant.seed(USERS)
    tenant.takes = lambda function, payload: (
        900.0 if function == "call_api" and is_group(payload, 1, 2) else 5.0
    )

    first = tenant.run()
    tenant.takes = lambda *_: 1.0
    second = tenant.run()

    assert first.output["outcomes"]["retry_later"] == 50
    assert second.output["outcomes"]["stored"] == 50
    lab.report(
        "a function that never answers",
        times=1,
        users=USERS,
        accounted=accounted(first),
        lost=tenant.lost,
    )


@pytest.mark.fault(23)
def test_workers_killed_in_the_middle_of_a_run_on_the_local_cloud_cost_nobody_anything(
    lab: Lab, cloud: LocalCloud, terminal: Terminal, api: SampleApiAdmin
) -> None:
    users = 300
    api.touch(*(account(user) for user in range(1, users + 1)))
    words = ("run", "--tenant", "acme", "--users", str(users))

    running = terminal.start(*words, "--api-latency-ms", "1500", "--json")
    assert processes.wait_for(lambda: api.stats()["in_flight_peak"] > 0, deadline_s=60)
    killed = kill_workers(cloud)
    broken = last_line(finished(running))
    healed = terminal.run("--tenant", "acme", "--users", str(users))

    assert killed > 0
    assert broken["unaccounted"] == 0
    lab.report(
        "SIGKILL for every worker of the local cloud",
        times=killed,
        users=2 * users,
        accounted=sum(broken["outcomes"].values()) + sum(healed["outcomes"].values()),
        lost=wrong_rows(cloud, "acme", users),
    )


def kill_workers(cloud: LocalCloud) -> int:
    """Kill every environment of the local cloud at once, and tell how many there were."""
    found = processes.find(cloud.home, MiniStack(cloud.home).role)
    server = min(found, key=lambda process: process.started)
    workers = [process for process in found if process != server]
    for worker in workers:
        processes.send(worker, signal.SIGKILL)
    return len(workers)


def throttled(_payload: Any) -> None:
    raise StatesError("Lambda.TooManyRequestsException", "Rate Exceeded.")


def once(error: str) -> Callable[[Any], None]:
    """Fail one invocation."""
    left = [error]

    def fail(_payload: Any) -> None:
        if left:
            raise StatesError(left.pop(), "the environment is lost")

    return fail
