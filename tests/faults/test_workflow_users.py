"""Users that come and go during a run, and clocks that do not agree."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import pytest

from batch_core.call_api import call_api as ask
from functions.call_api import app as call_api
from tests.faults.conftest import Lab
from tests.support.tenant import Tenant, accounted, judged

USERS = 120


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process live in a time zone that changes its clocks."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.fault(29)
@pytest.mark.parametrize("moment", ["call_api", "process_users", "finish_run"])
def test_a_user_deleted_at_any_moment_is_gone_and_stays_so_however_often_the_record_comes(
    lab: Lab, tenant: Tenant, moment: str
) -> None:
    tenant.seed(USERS)
    tenant.before[moment] = lambda _: tenant.sql("DELETE FROM users WHERE user_id IN (4, 77)")

    execution = tenant.run()
    del tenant.before[moment]
    for _ in range(3):
        tenant.deliver(again=True)
    after = tenant.run()

    assert execution.output["outcomes"]["gone"] == 2
    assert after.output["listed"] == USERS - 2
    assert tenant.versions.keys().isdisjoint({4, 77})
    lab.report(
        "2 users deleted before each function; records again",
        times=2,
        users=2 * USERS - 2,
        accounted=accounted(execution, after),
        lost=tenant.lost,
    )


@pytest.mark.fault(29)
def test_a_user_created_during_a_run_is_served_by_the_next_one(lab: Lab, tenant: Tenant) -> None:
    tenant.seed(USERS)
    tenant.before["process_users"] = lambda _: tenant.seed(USERS + 5, first=USERS + 1)

    first = tenant.run()
    del tenant.before["process_users"]
    second = tenant.run()

    assert first.output["listed"] == USERS
    assert second.output["outcomes"]["stored"] == 5
    lab.report(
        "5 users created during a run",
        times=5,
        users=2 * USERS + 5,
        accounted=accounted(first, second),
        lost=tenant.lost,
    )


@pytest.mark.fault(29)
def test_a_user_deleted_and_created_again_gets_the_row_of_the_newest_run(
    lab: Lab, tenant: Tenant
) -> None:
    tenant.seed(USERS)
    tenant.before["finish_run"] = lambda _: recreate(tenant)

    first = tenant.run()
    del tenant.before["finish_run"]
    second = tenant.run()

    lab.report(
        "a user deleted and created again",
        times=1,
        users=2 * USERS,
        accounted=accounted(first, second),
        lost=tenant.lost,
    )


def recreate(tenant: Tenant) -> None:
    tenant.sql("DELETE FROM users WHERE user_id = 4")
    tenant.seed(4, first=4)


@pytest.mark.fault(30)
@pytest.mark.parametrize("ahead_s", [-3_600, -30, 30])
def test_an_environment_whose_clock_is_wrong_writes_the_versions_of_the_schedule(
    lab: Lab, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, ahead_s: int
) -> None:
    tenant.seed(USERS)
    monkeypatch.setattr(call_api, "call_api", partial(ask, now=lambda: time.time() + ahead_s))

    execution = tenant.run()

    assert execution.output["outcomes"]["stored"] == USERS
    assert set(tenant.versions.values()) == {tenant.version}
    lab.report(
        "a clock 1 h or 30 s behind, 30 s ahead",
        times=1,
        users=USERS,
        accounted=accounted(execution),
        lost=tenant.lost,
    )


@pytest.mark.fault(30)
def test_an_environment_a_day_ahead_thinks_the_time_is_over_and_leaves_all_to_the_next_run(
    lab: Lab, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant.seed(USERS)
    with monkeypatch.context() as patch:
        patch.setattr(call_api, "call_api", partial(ask, now=lambda: time.time() + 86_400))
        first = tenant.run()

    second = tenant.run()

    assert judged(first)["outcomes"]["retry_later"] == USERS
    assert second.output["outcomes"]["stored"] == USERS
    assert set(tenant.versions.values()) == {tenant.version}
    lab.report(
        "a clock a day ahead",
        times=1,
        users=USERS,
        accounted=accounted(first),
        lost=tenant.lost,
    )


@pytest.mark.fault(30)
def test_hours_that_come_twice_and_leap_days_are_slots_of_utc_and_no_zone_is_no_slot(
    lab: Lab, tenant: Tenant, new_york: None
) -> None:
    times = {
        "2028-02-29T23:59:59Z": "demo-20280229T235959Z",
        "2028-02-29T23:59:59": "ConfigurationError",
        # Clocks go back: half past one comes twice.
        "2026-11-01T01:30:00-04:00": "demo-20261101T053000Z",
        "2026-11-01T01:30:00-05:00": "demo-20261101T063000Z",
        # Clocks go forward: in New York there is no half past two.
        "2027-03-14T02:30:00": "ConfigurationError",
        "2027-03-14T02:30:00Z": "demo-20270314T023000Z",
        "2027-03-13T21:30:00-05:00": "duplicate",
    }
    tenant.seed(20)
    tenant.started = datetime(2028, 3, 1, tzinfo=UTC)

    named: list[str] = []
    for scheduled_time in times:
        ended = tenant.start(scheduled_time=scheduled_time)
        output = ended.output or {"status": ended.error}
        named.append(output["run_id"] if output["status"] == "completed" else output["status"])

    assert named == list(times.values())
    assert tenant.sql("SELECT COUNT(DISTINCT version), COUNT(*) FROM batch_run") == [(4, 4)]
    lab.report(
        "changes of the clock, a leap day, no zone",
        times=len(times),
        users=20,
        accounted=len(tenant.versions),
        lost=tenant.lost,
    )
