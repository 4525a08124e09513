"""Starts that come twice, too late, without their time, or while another run is at work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest

from batch_core.adapters.mysql import connect
from batch_core.adapters.mysql_ledger import MySqlRunLedger
from batch_core.adapters.mysql_users import MySqlUserSource
from batch_core.list_users import UserLister
from batch_core.ports import Listing
from batch_core.run import Run
from batchctl.local.cloud import LocalCloud
from functions.list_users import app as list_users
from sampleapi.admin import SampleApiAdmin
from tests.faults.conftest import Lab
from tests.support.activity_table import wrong_rows
from tests.support.asl import Execution
from tests.support.tenant import PERIOD, Tenant, account, accounted
from tests.support.terminal import Terminal, finished, last_line

SLOT = "2026-01-31T10:20:00Z"
DELIVERIES = 5


@contextmanager
def an_environment() -> Iterator[UserLister]:
    """List Users in an environment of its own, with its own connection."""
    lister = list_users.lister()
    database = connect(lister.settings)
    yield replace(lister, users=MySqlUserSource(database), ledger=MySqlRunLedger(database))
    database.discard()


def a_start(number: int, scheduled_time: str = SLOT) -> dict[str, Any]:
    """What List Users is asked by one of several executions."""
    return {
        "scheduled_time": scheduled_time,
        "started_at": "2026-01-31T10:20:03.123Z",
        "execution": f"arn:aws:states:eu-west-1:123456789012:express:Batch:{number}",
    }


def in_the_middle(tenant: Tenant, act: Callable[[], Execution]) -> list[Execution]:
    """Act once while the next run is about to call the API; gives what came of it."""
    ended: list[Execution] = []

    def once(_payload: Any) -> None:
        del tenant.before["call_api"]
        ended.append(act())

    tenant.before["call_api"] = once
    return ended


@pytest.mark.fault(15)
def test_of_starts_that_come_at_once_exactly_one_lists_the_users(lab: Lab, tenant: Tenant) -> None:
    tenant.seed(120)
    together = Barrier(DELIVERIES)

    def deliver(number: int) -> Any:
        with an_environment() as lister:
            together.wait()
            return lister(a_start(number))

    list_users.lister()
    with ThreadPoolExecutor(DELIVERIES) as pool:
        answers = list(pool.map(deliver, range(DELIVERIES)))

    decisions = sorted(answer["decision"] for answer in answers)
    listed = sum(answer["listed"] for answer in answers)
    assert decisions == ["duplicate"] * (DELIVERIES - 1) + ["process"]
    assert tenant.sql("SELECT COUNT(*), MAX(fence), MAX(listed) FROM batch_run") == [(1, 1, 120)]
    lab.report("one start, 5 times at once", times=DELIVERIES, users=120, accounted=listed)


@pytest.mark.fault(15)
def test_a_start_that_comes_again_in_the_middle_and_at_the_end_asks_nobody_twice(
    lab: Lab, tenant: Tenant
) -> None:
    tenant.seed(120)
    again = in_the_middle(tenant, lambda: tenant.start(scheduled_time=SLOT))

    first = tenant.start(scheduled_time=SLOT)
    again.append(tenant.start(scheduled_time=SLOT))

    assert [ended.output["status"] for ended in again] == ["duplicate", "duplicate"]
    assert first.output["outcomes"]["stored"] == 120
    assert set(tenant.api.stats(per_user=True)["per_user"].values()) == {1}
    lab.report(
        "one start again, during the run and after it",
        times=2,
        users=120,
        accounted=accounted(first),
        lost=tenant.lost,
    )


@pytest.mark.fault(15)
def test_three_commands_for_one_slot_on_the_local_cloud_are_one_run(
    lab: Lab, cloud: LocalCloud, terminal: Terminal, api: SampleApiAdmin
) -> None:
    api.touch(*(account(user) for user in range(1, 151)))
    words = ("--tenant", "acme", "--users", "150", "--scheduled-time")

    slot = datetime.now(UTC).isoformat()
    commands = [terminal.start("run", *words, slot, "--json") for _ in range(3)]
    results = [last_line(finished(command)) for command in commands]

    assert sorted(result["status"] for result in results) == [
        "DUPLICATE", "DUPLICATE", "SUCCEEDED",
    ]  # fmt: skip
    assert api.stats()["requests"] == 150
    lab.report(
        "batchctl run, 3 times at once",
        times=2,
        users=150,
        accounted=sum(sum(result["outcomes"].values()) for result in results),
        lost=wrong_rows(cloud, "acme", 150),
    )


@pytest.mark.fault(16)
def test_the_next_slot_is_skipped_while_a_run_is_at_work_and_taken_once_it_has_ended(
    lab: Lab, tenant: Tenant
) -> None:
    tenant.seed(120)
    overlapping = in_the_middle(tenant, tenant.run)

    first = tenant.run()
    second = tenant.run()

    assert [ended.output["status"] for ended in overlapping] == ["skipped"]
    assert first.output["outcomes"]["stored"] == 120
    assert second.output["outcomes"]["unchanged"] == 120
    assert tenant.api.stats()["requests"] == 240
    lab.report(
        "a slot that begins during the run before",
        times=1,
        users=240,
        accounted=accounted(first, second),
        lost=tenant.lost,
    )


@pytest.mark.fault(16)
def test_a_run_that_died_with_the_lease_holds_up_the_next_until_that_expires(
    lab: Lab, tenant: Tenant
) -> None:
    tenant.seed(120)
    tenant.before["finish_run"] = killed
    dead = tenant.run()
    del tenant.before["finish_run"]
    tenant.deliver()

    barred = tenant.run()
    expire(tenant)
    healed = tenant.run()

    assert (dead.status, dead.error) == ("FAILED", "KilledError")
    assert barred.output["status"] == "skipped"
    # What the dead run put on the stream was stored: it only could not say so.
    assert healed.output["outcomes"]["unchanged"] == 120
    lab.report(
        "a run that dies without giving the lease back",
        times=1,
        users=120,
        accounted=accounted(healed),
        lost=tenant.lost,
    )


@pytest.mark.fault(16)
def test_a_lease_that_breaks_in_the_middle_still_leaves_the_newest_rows(
    lab: Lab, tenant: Tenant
) -> None:
    tenant.seed(120)
    tenant.delivers = False
    overtaken: list[Execution] = []

    def overtake(_payload: Any) -> None:
        # The first run has its answers, but no row of it is on the stream yet.
        del tenant.after["call_api"]
        expire(tenant)
        tenant.api.touch(*(account(user) for user in range(1, 121)))
        tenant.delivers = True
        overtaken.append(tenant.run())

    tenant.after["call_api"] = overtake
    older = tenant.run()
    (newer,) = overtaken

    assert (older.status, newer.status) == ("SUCCEEDED", "SUCCEEDED")
    assert set(tenant.versions.values()) == {version_of(tenant, newer)}
    assert version_of(tenant, newer) > version_of(tenant, older)
    lab.report(
        "a lease that ends in the middle; the next run overtakes",
        times=1,
        users=240,
        accounted=accounted(older, newer),
        lost=tenant.lost,
    )


@pytest.mark.fault(17)
def test_a_start_that_is_delivered_too_late_is_dropped_and_the_next_one_serves_everybody(
    lab: Lab, tenant: Tenant
) -> None:
    tenant.seed(60)

    for periods_late in (1, 3, 12):
        late = tenant.started - periods_late * PERIOD - timedelta(seconds=1)
        dropped = tenant.start(scheduled_time=late.isoformat(), max_age_minutes=5)
        assert (dropped.status, dropped.output["status"]) == ("SUCCEEDED", "late")
        assert dropped.visited == ["List Users", "Any Users?", "Run Skipped"]
    assert tenant.sql("SELECT COUNT(*) FROM batch_run") == [(0,)]
    assert tenant.api.stats()["requests"] == 0

    served = tenant.run(max_age_minutes=5)
    lab.report(
        "starts 1, 3 and 12 periods late",
        times=3,
        users=60,
        accounted=accounted(served),
        lost=tenant.lost,
    )


@pytest.mark.fault(17)
def test_a_start_that_is_just_not_too_late_is_processed(lab: Lab, tenant: Tenant) -> None:
    tenant.seed(60)
    late = tenant.started - PERIOD

    served = tenant.start(scheduled_time=late.isoformat(), max_age_minutes=5)

    assert served.output["outcomes"]["stored"] == 60
    lab.report("a start exactly one period late", times=1, users=60, accounted=accounted(served))


@pytest.mark.fault(18)
@pytest.mark.parametrize(
    "given",
    [
        {"scheduled_time": "<aws.scheduler.scheduled-time>"},
        {"scheduled_time": ""},
        {},
    ],
    ids=["literal", "empty", "missing"],
)
def test_a_start_without_its_time_is_a_run_of_its_own_newer_than_the_last_and_bars_no_slot(
    lab: Lab, tenant: Tenant, given: dict[str, Any]
) -> None:
    tenant.seed(60)
    everybody = [account(user) for user in range(1, 61)]
    scheduled = tenant.run()
    tenant.started += timedelta(seconds=130)
    tenant.api.touch(*everybody)
    by_hand = tenant.start(**given)
    tenant.api.touch(*everybody)
    # The schedule's next start is for a slot before the one by hand.
    late = tenant.start(scheduled_time=(tenant.started - timedelta(seconds=5)).isoformat())

    runs = (scheduled, by_hand, late)
    assert [run.output["outcomes"]["stored"] for run in runs] == [60, 60, 60]
    versions = [version_of(tenant, run) for run in runs]
    assert versions == sorted(set(versions))
    assert set(tenant.versions.values()) == {versions[-1]}
    lab.report(
        "the literal attribute, empty text, nothing",
        times=3,
        users=180,
        accounted=accounted(*runs),
        lost=tenant.lost,
    )


@pytest.mark.fault(18)
def test_a_start_in_the_future_is_refused_and_freezes_nobody(lab: Lab, tenant: Tenant) -> None:
    tenant.seed(60)
    tenant.run()
    for ahead in (timedelta(minutes=2), timedelta(days=365), timedelta(days=365 * 100)):
        refused = tenant.start(scheduled_time=(tenant.started + ahead).isoformat())
        assert (refused.status, refused.error) == ("FAILED", "ConfigurationError")
        assert "later than the execution's start" in refused.cause
    tenant.api.touch(*(account(user) for user in range(1, 61)))

    served = tenant.run()

    assert served.output["outcomes"]["stored"] == 60
    lab.report(
        "starts minutes, a year and a century ahead",
        times=3,
        users=60,
        accounted=accounted(served),
        lost=tenant.lost,
    )


@pytest.mark.fault(18)
def test_a_tenant_that_a_run_of_the_future_froze_is_served_and_asked_again(
    lab: Lab, tenant: Tenant
) -> None:
    tenant.seed(60)
    tenant.run()
    # What an earlier release left: rows, marks and a run of the year after.
    year = 365 * 86_400_000
    tenant.sql(f"UPDATE user_activity SET version = version + {year}")
    tenant.sql(f"UPDATE batch_lease SET version = version + {year}")
    tenant.sql(
        "INSERT INTO batch_user (user_id, failures, error, version)"
        " SELECT user_id, 9, 'http_500', version FROM user_activity WHERE user_id <= 20"
    )
    tenant.api.touch(*(account(user) for user in range(1, 61)))

    served = tenant.run()

    assert served.output["outcomes"]["stored"] == 60
    assert tenant.sql("SELECT DISTINCT failures FROM batch_user") == [(0,)]
    lab.report(
        "rows and marks of the year after",
        times=1,
        users=60,
        accounted=accounted(served),
        lost=tenant.lost,
    )


@pytest.mark.fault(15)
def test_of_two_executions_of_one_name_exactly_one_gets_the_run(lab: Lab, tenant: Tenant) -> None:
    tenant.seed(120)
    twins = [a_start(1), {**a_start(1), "started_at": "2026-01-31T10:20:03.124Z"}]
    with an_environment() as one, an_environment() as other:
        answers = [one(twins[0]), other(twins[1])]

    assert [answer["decision"] for answer in answers] == ["process", "duplicate"]
    lab.report(
        "two executions of one name",
        times=1,
        users=120,
        accounted=sum(answer["listed"] for answer in answers),
    )


@pytest.mark.fault(15)
def test_an_attempt_that_was_given_up_neither_goes_on_nor_ends_the_run_of_its_retry(
    lab: Lab, tenant: Tenant
) -> None:
    tenant.seed(120)
    with an_environment() as retry, an_environment() as given_up:
        ledger = given_up.ledger
        opened: list[Any] = []

        class Slow(MySqlRunLedger):
            """The retry lists while this one does."""

            def listed(self, run: Run, listing: Listing) -> bool:
                opened.append(retry(a_start(1)))
                return ledger.listed(run, listing)

        slow = replace(given_up, ledger=Slow(connect(given_up.settings)))
        left = slow(a_start(1))

    (goes_on,) = opened
    assert (left["decision"], goes_on["decision"]) == ("duplicate", "process")
    assert tenant.sql("SELECT status, fence, listed FROM batch_run") == [("running", 2, 120)]
    lab.report("an attempt that was given up", times=1, users=120, accounted=goes_on["listed"])


@pytest.mark.fault(18)
def test_a_time_that_is_none_fails_the_run_which_says_so_and_bars_nobody(
    lab: Lab, tenant: Tenant
) -> None:
    tenant.seed(60)
    times = ["soon", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", 1769854800, ["2026-01-31"]]
    zoneless = "2026-01-31T10:20:00"

    for scheduled_time in times:
        refused = tenant.start(scheduled_time=scheduled_time)
        assert (refused.status, refused.error) == ("FAILED", "ConfigurationError")
        assert "scheduled_time is" in refused.cause
        assert "give an ISO-8601 time" in refused.cause
    assert "names no zone" in tenant.start(scheduled_time=zoneless).cause

    served = tenant.run()
    lab.report(
        "times that are none",
        times=len(times) + 1,
        users=60,
        accounted=accounted(served),
        lost=tenant.lost,
    )


def killed(_payload: Any) -> None:
    class KilledError(Exception): ...

    raise KilledError


def expire(tenant: Tenant) -> None:
    """Let the lease end now."""
    tenant.sql("UPDATE batch_lease SET expires_at = UTC_TIMESTAMP(3) - INTERVAL 1 SECOND")


def version_of(tenant: Tenant, execution: Execution) -> int:
    """The version of the rows of a run."""
    ((version,),) = tenant.sql(
        f"SELECT version FROM batch_run WHERE run_id = '{execution.output['run_id']}'"
    )
    return int(version)
