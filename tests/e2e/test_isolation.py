"""Two tenants under enforced IAM: each role does its own work, and gets nowhere else."""

from __future__ import annotations

import fnmatch
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchctl.commands.run import Wish, moment_of, perform
from batchctl.commands.seed import seed_users
from batchctl.commands.target import local_target
from batchctl.local.cloud import LocalCloud
from batchctl.local.processes import wait_for
from tests.support.access_matrix import (
    PROBES,
    ROLES,
    UNTRIED,
    Cell,
    Client,
    Things,
    expected,
    session,
    tried,
)
from tests.support.activity_table import expected_rows, stored_rows
from tests.support.databases import OTHER
from tests.support.isolation_table import PROPERTY
from tests.template.test_permissions import ALLOWED, SHARED

TENANTS = ("acme", "globex")
# All in one group, so that what the API answered does not fit into a state.
USERS = 900
ONE_GROUP = {"UsersPerInvocation": "1000", "ChunkConcurrency": "1", "GroupConcurrency": "1"}

type Act = Callable[[str], Client]


@pytest.fixture(scope="module")
def guarded() -> Iterator[LocalCloud]:
    """Two tenants where every call needs a permission; on the database of no other test here."""
    home = Path(tempfile.mkdtemp(prefix="guarded-"))
    try:
        with LocalCloud(home, database=OTHER, enforces_iam=True) as cloud:
            for tenant in TENANTS:
                secret = cloud.client("secretsmanager").create_secret(
                    Name=f"batch/{tenant}/api", SecretString="token"
                )
                cloud.deploy(tenant, parameters={**ONE_GROUP, "ApiSecretArn": secret["ARN"]})
            yield cloud
    finally:
        shutil.rmtree(home)


@pytest.fixture(scope="module")
def things(guarded: LocalCloud) -> dict[str, Things]:
    """What each of the tenants owns, with something in it."""
    found = {tenant: Things(guarded, tenant) for tenant in TENANTS}
    for each in found.values():
        each.fill()
    return found


@pytest.fixture(scope="module")
def act(guarded: LocalCloud, things: dict[str, Things]) -> Act:
    """Acts as one of acme's roles."""
    made: dict[str, Client] = {}

    def as_role(role: str) -> Client:
        if role not in made:
            made[role] = session(guarded, things["acme"], role)
        return made[role]

    return as_role


# --- its own work ---------------------------------------------------------------------------------


@pytest.mark.parametrize("tenant", TENANTS)
def test_each_function_does_its_work_under_its_own_role(guarded: LocalCloud, tenant: str) -> None:
    stack = guarded.stack(tenant)  # whose `migrate` made the tables
    with guarded.database(tenant) as connection:
        seed_users(connection, USERS)

    wish = Wish(None, None, None, None, moment_of(None))
    report = perform(local_target(guarded, stack), wish)

    assert (report.verdict.status, report.verdict.outcomes["stored"]) == ("SUCCEEDED", USERS)
    assert stored_rows(guarded, tenant) == expected_rows(guarded, tenant, USERS)
    assert objects(guarded, stack.payload_bucket, "runs/*/chunks/*")
    assert objects(guarded, stack.payload_bucket, "runs/*/claims/*")
    assert refusals(guarded, tenant) == []


def test_what_cannot_be_stored_is_put_aside_under_the_writers_role(guarded: LocalCloud) -> None:
    stack = guarded.stack("acme")
    guarded.client("kinesis").put_record(
        StreamName=stack.stream_name, Data=b"poison", PartitionKey="poison"
    )

    assert wait_for(
        lambda: bool(objects(guarded, stack.payload_bucket, "quarantine/records/*")), deadline_s=60
    )
    assert refusals(guarded, "acme") == []


def objects(cloud: LocalCloud, bucket: str, pattern: str) -> list[str]:
    """The keys that match a pattern."""
    found = cloud.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    return fnmatch.filter([each["Key"] for each in found], pattern)


def refusals(cloud: LocalCloud, tenant: str) -> list[str]:
    """The lines in which a function says that it was not allowed something."""
    logs = cloud.client("logs")
    return [
        event["message"]
        for group in cloud.stack(tenant).log_groups.values()
        for event in logs.filter_log_events(logGroupName=group)["events"]
        if "AccessDenied" in event["message"]
    ]


# --- and nothing else -----------------------------------------------------------------------------


def wrong(cells: list[Cell]) -> list[str]:
    """What is not as the table of permissions says, for which others' things do not exist."""
    return [
        f"{cell}: {'allowed' if cell.allowed else 'denied'}"
        for cell in cells
        if cell.allowed != (cell.on == cell.of and expected(cell.role, cell.probe))
    ]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_its_own_work_and_nothing_to_the_other_tenant(
    act: Act, things: dict[str, Things], role: str, record_property: Callable[[str, object], None]
) -> None:
    cells = [cell for tenant in TENANTS for cell in tried(act(role), role, "acme", things[tenant])]
    record_property(PROPERTY, cells)

    assert len(cells) == 2 * len(PROBES)
    assert wrong(cells) == []


@pytest.mark.parametrize("tenant", TENANTS)
def test_a_policy_that_is_too_wide_is_seen_in_the_matrix(
    guarded: LocalCloud, act: Act, things: dict[str, Things], tenant: str
) -> None:
    client = act("MigrateRole")
    wide = {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"},
    }
    policy = {"RoleName": things["acme"].ids["MigrateRole"], "PolicyName": "TooWide"}
    guarded.client("iam").put_role_policy(**policy, PolicyDocument=json.dumps(wide))
    try:
        seen = wrong(list(tried(client, "MigrateRole", "acme", things[tenant])))
    finally:
        guarded.client("iam").delete_role_policy(**policy)

    assert len(seen) == sum(probe.action == "s3:GetObject" for probe in PROBES)
    assert all(f"s3:GetObject on {tenant}'s" in each for each in seen)
    assert wrong(list(tried(client, "MigrateRole", "acme", things[tenant]))) == []


def test_a_permission_that_is_missing_is_seen_in_the_matrix(
    guarded: LocalCloud, act: Act, things: dict[str, Things]
) -> None:
    acme = things["acme"]
    client = act("ScheduleRole")
    policy = {"RoleName": acme.ids["ScheduleRole"], "PolicyName": "Schedule"}
    given = guarded.client("iam").get_role_policy(**policy)["PolicyDocument"]
    guarded.client("iam").delete_role_policy(**policy)
    try:
        seen = wrong(list(tried(client, "ScheduleRole", "acme", acme)))
    finally:
        guarded.client("iam").put_role_policy(**policy, PolicyDocument=json.dumps(given))

    assert [each.rpartition(": ")[2] for each in seen] == ["denied", "denied"]


def test_everything_that_is_given_to_a_role_is_tried_or_known_not_to_be() -> None:
    holders = [*ROLES, *{name for names in SHARED.values() for name in names if name in ALLOWED}]
    given = {
        (action, on)
        for holder in holders
        for on, actions in ALLOWED[holder].items()
        for action in actions.split()
        if on not in UNTRIED
    }

    assert given - {(probe.action, probe.on) for probe in PROBES} == set()
    assert {on for holder in ALLOWED.values() for on in holder} >= UNTRIED.keys()
