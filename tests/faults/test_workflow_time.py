"""More users than five minutes hold: who waits, and that nobody waits for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from batch_core.limits import RUN_SECONDS
from tests.faults.conftest import Lab
from tests.support.asl import Execution
from tests.support.tenant import Tenant, accounted

USERS = 700
# What a user takes of a group's time, in this file's slow API.
USER_SECONDS = 1.0


def slow(function: str, payload: Any) -> float:
    """How long a function takes while the API is slow."""
    if function != "call_api":
        return {"list_users": 20.0, "process_users": 0.5, "finish_run": 20.0}[function]
    size, chunk = payload["run"]["group_size"], payload["chunk"]
    return USER_SECONDS * float(min(size, chunk["users"] - payload["group"] * size))


def run_slowly(tenant: Tenant) -> Execution:
    """Run once; the ledger learns what the calls took on the modelled clock."""
    execution = tenant.run()
    tenant.sql(f"UPDATE batch_run SET api_ms = called * {USER_SECONDS * 1000:.0f}")
    return execution


def behind(tenant: Tenant) -> int:
    """How many users have no row yet."""
    ((users,),) = tenant.sql(
        "SELECT COUNT(*) FROM users LEFT JOIN user_activity AS a USING (user_id)"
        " WHERE a.user_id IS NULL"
    )
    return int(users)


def until_nobody_waits(tenant: Tenant, run: Callable[[], Execution]) -> list[Execution]:
    """Run until every user has a row."""
    executions: list[Execution] = []
    while behind(tenant):
        assert len(executions) < 5, "somebody waits for ever"
        executions.append(run())
        assert executions[-1].status == "SUCCEEDED", executions[-1].cause
    return executions


@pytest.mark.fault(20)
def test_who_does_not_fit_because_the_api_is_slow_is_carried_over_until_all_had_their_turn(
    lab: Lab, tenant: Tenant
) -> None:
    tenant.configure(CHUNK_CONCURRENCY="1", GROUP_CONCURRENCY="2")
    tenant.seed(20)
    run_slowly(tenant)
    tenant.seed(USERS)
    tenant.takes = slow

    executions = until_nobody_waits(tenant, lambda: run_slowly(tenant))

    # Two groups at once, in 225 s: 450 users a run.
    assert [execution.output["outcomes"]["skipped"] for execution in executions] == [
        USERS - 450, USERS - 450,
    ]  # fmt: skip
    assert max(execution.seconds for execution in executions) <= RUN_SECONDS
    lab.report(
        "700 users where 450 fit, by how long they took",
        times=len(executions),
        users=USERS * len(executions),
        accounted=accounted(*executions),
        lost=tenant.lost,
    )


@pytest.mark.fault(20)
def test_who_does_not_fit_because_of_the_rate_is_carried_over_until_all_had_their_turn(
    lab: Lab, tenant: Tenant
) -> None:
    tenant.configure(
        API_REQUESTS_PER_SECOND="1",
        USERS_PER_INVOCATION="20",
        CHUNK_CONCURRENCY="1",
        GROUP_CONCURRENCY="1",
    )
    tenant.seed(400)
    # The model waits for the rate; the client need not.
    tenant.before["call_api"] = unpaced
    tenant.takes = lambda function, payload: (
        20 / payload["run"]["requests_per_second"] if function == "call_api" else 1.0
    )

    executions = until_nobody_waits(tenant, tenant.run)

    assert len(executions) == 2
    assert max(execution.seconds for execution in executions) <= RUN_SECONDS
    lab.report(
        "400 users where 225 fit, by the API's rate",
        times=len(executions),
        users=400 * len(executions),
        accounted=accounted(*executions),
        lost=tenant.lost,
    )


def unpaced(payload: Any) -> None:
    payload["run"]["requests_per_second"] = 0
