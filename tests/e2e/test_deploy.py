"""Deploying: what a tenant's section of samconfig.toml does, and what a deployment leaves alone."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchctl.local import sam
from batchctl.local.cloud import LocalCloud
from batchctl.stacks import Stack, find_stack
from batchctl.tenants.project import Project
from tests.support.checkout import ROOT

PROJECT = Project(ROOT)
CANARY = next(tenant for tenant in PROJECT.tenants(PROJECT.read()) if tenant.wave == 0)


@pytest.fixture
def canary(cloud: LocalCloud) -> Iterator[Stack]:
    """The canary of this checkout, deployed by hand as docs/tenants.md says, and removed again."""
    built = sam.build(cloud.home, sam.TEMPLATE, lambda _: None)
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("sam"), "deploy", "--config-env", CANARY.name),
            *("--config-file", sam.CONFIG, "--no-confirm-changeset"),
            *("--template-file", built),  # not .aws-sam/build, which is the person's
        ],
        env=sam.environment(cloud.home, cloud.endpoint_url),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        found = find_stack(cloud.session(), CANARY.stack, endpoint_url=cloud.endpoint_url)
        assert found is not None
        yield found
    finally:
        cloud.client("cloudformation").delete_stack(StackName=CANARY.stack)


def test_a_tenants_section_deploys_what_the_tenants_file_says(canary: Stack) -> None:
    assert canary.status == "CREATE_COMPLETE"
    assert canary.parameters.items() >= CANARY.parameters.items()


def versions(cloud: LocalCloud, tenant: str) -> dict[str, str]:
    """The versions that a tenant's workflow calls, by function."""
    machine = cloud.client("stepfunctions").describe_state_machine(
        stateMachineArn=cloud.stack(tenant).state_machine_arn
    )
    return dict(re.findall(r"function:([^:\"]+):(\d+)", machine["definition"]))


def test_the_workflow_gets_new_versions_and_a_run_under_way_keeps_the_old(
    cloud: LocalCloud,
) -> None:
    cloud.deploy("globex")
    before = versions(cloud, "globex")

    cloud.deploy("globex", parameters={"ApiTimeoutSeconds": "4"})

    after = versions(cloud, "globex")
    assert after.keys() == before.keys()
    assert len(after) == 4
    assert all(int(after[name]) > int(before[name]) for name in after)
    (call_api,) = (name for name in after if "CallApi" in name)
    timeouts = [
        cloud.client("lambda").get_function_configuration(
            FunctionName=call_api, Qualifier=calling[call_api]
        )["Environment"]["Variables"]["API_TIMEOUT_SECONDS"]
        for calling in (before, after)
    ]
    assert timeouts == ["5", "4"]
