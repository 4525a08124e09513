"""The real template, built and deployed by the real `sam`, twice, side by side."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from batchctl.local.cloud import LocalCloud
from batchctl.local.processes import wait_for
from sampleapi.admin import SampleApiAdmin
from tests.support.activity_table import expected_rows, stored_rows, versions
from tests.support.terminal import Terminal, finished, result_of


@pytest.mark.usefixtures("api")
def test_both_tenants_run_at_once_and_store_what_their_own_api_served(
    cloud: LocalCloud, terminal: Terminal
) -> None:
    started = {
        tenant: terminal.start("run", "--tenant", tenant, "--users", users, "--json")
        for tenant, users in (("acme", "350"), ("globex", "120"))
    }
    results = {tenant: result_of(finished(process)) for tenant, process in started.items()}

    for tenant, users in (("acme", 350), ("globex", 120)):
        result = results[tenant]
        assert result["status"] == "SUCCEEDED"
        assert result["run_id"].startswith(f"{tenant}-")
        assert (result["listed"], result["unaccounted"]) == (users, 0)
        assert sum(result["outcomes"].values()) == users
        assert stored_rows(cloud, tenant) == expected_rows(cloud, tenant, users)


def test_each_tenants_schedule_starts_its_own_machine_and_nobody_elses(
    cloud: LocalCloud, terminal: Terminal, api: SampleApiAdmin
) -> None:
    terminal.type("seed", "--tenant", "acme", "--users", "30")
    machines = {tenant: cloud.stack(tenant).state_machine_arn for tenant in ("acme", "globex")}
    schedules = {found["Target"]["Arn"]: found for found in all_schedules(cloud)}
    assert set(machines.values()) <= set(schedules)
    due = schedules[machines["acme"]]
    before = {tenant: runs(cloud, tenant) for tenant in machines}

    # Due at once instead of in ten minutes; everything else as deployed, its input included.
    kept = ("Name", "GroupName", "FlexibleTimeWindow", "Target")
    cloud.client("scheduler").update_schedule(
        **{name: due[name] for name in kept},
        State="ENABLED",
        ScheduleExpression="at(2026-01-01T00:00:00)",
    )

    assert wait_for(lambda: "completed" in started(cloud, "acme", before).values(), deadline_s=60)
    ((run_id, _),) = started(cloud, "acme", before).items()
    # The emulator leaves the schedule's context attribute as it is: the start stands for itself.
    assert re.fullmatch(r"acme-\d{8}T\d{6}(\.\d{3})?Z", run_id)
    assert api.stats()["requests"] == 30
    assert started(cloud, "globex", before) == {}


def all_schedules(cloud: LocalCloud) -> list[dict[str, Any]]:
    scheduler = cloud.client("scheduler")
    return [
        scheduler.get_schedule(Name=schedule["Name"], GroupName=schedule["GroupName"])
        for schedule in scheduler.list_schedules()["Schedules"]
    ]


def runs(cloud: LocalCloud, tenant: str) -> dict[str, str]:
    """The status of every run in the tenant's ledger."""
    with cloud.database(tenant) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT run_id, status FROM batch_run")
        return dict(cursor)


def started(cloud: LocalCloud, tenant: str, before: dict[str, dict[str, str]]) -> dict[str, str]:
    """The runs that were not there before."""
    return {
        run_id: status
        for run_id, status in runs(cloud, tenant).items()
        if run_id not in before[tenant]
    }


def test_unchanged_users_are_asked_conditionally_and_nothing_is_written(
    cloud: LocalCloud, terminal: Terminal, api: SampleApiAdmin
) -> None:
    terminal.run("--tenant", "acme", "--users", "350")
    before = versions(cloud, "acme")
    api.reset()

    result = terminal.run("--tenant", "acme", "--users", "350")

    assert result["outcomes"]["unchanged"] == 350
    assert (api.stats()["conditional"], api.stats()["not_modified"]) == (350, 350)
    assert result["billing"]["kinesis_put_units"] == 0
    assert versions(cloud, "acme") == before


def test_only_users_that_did_something_are_stored_again(
    cloud: LocalCloud, terminal: Terminal, api: SampleApiAdmin
) -> None:
    terminal.run("--tenant", "acme", "--users", "350")
    before = versions(cloud, "acme")
    api.touch("u-000007", "u-000350")

    result = terminal.run("--tenant", "acme", "--users", "350")

    assert result["outcomes"]["stored"] == 2
    assert stored_rows(cloud, "acme") == expected_rows(cloud, "acme", 350)
    after = versions(cloud, "acme")
    assert {account for account in after if after[account] > before[account]} == {
        "u-000007",
        "u-000350",
    }


def test_one_lambda_per_user_does_the_same(
    cloud: LocalCloud, terminal: Terminal, api: SampleApiAdmin
) -> None:
    api.touch(*(f"u-{number:06d}" for number in range(1, 41)))

    result = terminal.run("--tenant", "acme", "--users", "60", "--group-size", "1")

    assert result["outcomes"]["stored"] == 40
    assert result["outcomes"]["unchanged"] == 20
    assert result["billing"]["lambda_invocations"] >= 2 + 2 * 60
    assert stored_rows(cloud, "acme") == expected_rows(cloud, "acme", 60)


def test_one_users_trouble_is_one_users_outcome(
    cloud: LocalCloud, terminal: Terminal, api: SampleApiAdmin
) -> None:
    api.touch("u-000001", "u-000002", "u-000003")
    api.script(
        {
            "u-000001": [{"status": 500, "repeat": True}],
            "u-000002": [{"body": '{"account": "u-000002", "score": NaN}', "repeat": True}],
            "u-000003": [{"status": 410, "repeat": True}],
        }
    )

    result = terminal.run("--tenant", "acme", "--users", "100")

    assert result["outcomes"] == {
        "stored": 0, "unchanged": 97, "rejected": 2, "retry_later": 1, "skipped": 0, "gone": 0,
    }  # fmt: skip

    api.reset()
    assert terminal.run("--tenant", "acme", "--users", "100")["outcomes"]["stored"] == 3
    assert stored_rows(cloud, "acme") == expected_rows(cloud, "acme", 100)


def test_a_user_that_failed_twice_is_left_alone_until_somebody_asks_for_everyone(
    cloud: LocalCloud, terminal: Terminal, api: SampleApiAdmin
) -> None:
    words = ("--tenant", "acme", "--users", "40")
    terminal.run(*words)
    api.touch("u-000005")
    api.script({"u-000005": [{"status": 404, "repeat": True}]})
    assert [terminal.run(*words)["outcomes"]["rejected"] for _ in range(2)] == [1, 1]
    api.reset()

    told = terminal.type("run", *words).stdout
    result = terminal.run(*words, "--everyone")

    assert "backing_off" in told
    assert "batchctl run --tenant acme --everyone" in told
    assert (result["outcomes"]["stored"], result["outcomes"]["skipped"]) == (1, 0)
    assert stored_rows(cloud, "acme") == expected_rows(cloud, "acme", 40)


def test_a_tenant_whose_mapping_was_changed_under_it_goes_on_storing(
    cloud: LocalCloud, terminal: Terminal
) -> None:
    cloud.deploy("globex", parameters={"WriteBatchSize": "7"})
    SampleApiAdmin(cloud.sample_api_url, "globex").touch("u-000003")

    result = terminal.run("--tenant", "globex", "--users", "10")

    assert result["outcomes"]["stored"] == 1


def test_the_same_run_started_again_is_a_duplicate_and_calls_nobody(
    terminal: Terminal, api: SampleApiAdmin
) -> None:
    words = ("--tenant", "acme", "--users", "50", "--scheduled-time", "2026-01-31T10:20:00Z")
    terminal.run(*words)
    api.reset()

    again = terminal.type("run", *words, "--json")

    result = json.loads(again.stdout.splitlines()[-1])
    assert (result["status"], result["listed"]) == ("DUPLICATE", 0)
    assert api.stats()["requests"] == 0


def test_what_travels_in_state_is_small_and_does_not_grow_with_the_users(
    cloud: LocalCloud, terminal: Terminal, api: SampleApiAdmin
) -> None:
    api.touch(*(f"u-{number:06d}" for number in range(1, 501)))
    few = terminal.run("--tenant", "acme", "--users", "500")
    api.touch(*(f"u-{number:06d}" for number in range(1, 501)))

    many = terminal.run("--tenant", "acme", "--users", "4000")

    assert many["outcomes"]["stored"] > few["outcomes"]["stored"]
    assert many["max_state_bytes"] < 32_768
    assert many["max_state_bytes"] <= few["max_state_bytes"] * 1.1
    assert stored_rows(cloud, "acme") == expected_rows(cloud, "acme", 4000)


def test_the_report_of_a_run_is_a_file_with_the_same_figures(terminal: Terminal) -> None:
    done = terminal.type("run", "--tenant", "globex", "--users", "20", "--json")

    result = result_of(done)
    report = json.loads(Path(result["report"]).read_text(encoding="utf-8"))
    assert report["run_id"] == result["run_id"]
    assert report["outcomes"] == result["outcomes"]
