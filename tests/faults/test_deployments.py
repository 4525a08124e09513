"""Deployments during a run, deployments that fail, and tenants that are set up wrongly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batch_core.adapters.s3 import S3PayloadStore
from batch_core.chunks import Chunk, pack
from batch_core.codec import compress, dump_json
from batch_core.run import Run
from batchctl.errors import BatchctlError
from batchctl.local import processes
from batchctl.local.cloud import LocalCloud
from sampleapi.admin import SampleApiAdmin
from tests.faults.conftest import Lab
from tests.support.activity_table import stored_rows, wrong_rows
from tests.support.checkout import ROOT, checkout
from tests.support.tenant import Tenant, account, accounted, judged, write
from tests.support.terminal import Terminal, finished, last_line

BEFORE: dict[str, Any] = json.loads(
    Path(__file__).with_name("previous_payloads.json").read_text(encoding="utf-8")
)
"""What the functions handed on before users were marked, held back and late."""

BROKEN_RESOURCE = """
  Impossible:
    Type: AWS::Kinesis::Stream
    Properties:
      ShardCount: not-a-number
"""


def chunk_before(tenant: Tenant) -> dict[str, Any]:
    """Open the run of `BEFORE` and put its chunk where it expects it; gives its pointer."""
    tenant.seed(len(BEFORE["users"]))
    run = Run.from_json(BEFORE["run"])
    tenant.sql(
        "INSERT INTO batch_run (run_id, version, owner, fence, status, opened_at)"
        f" VALUES ('{run.id}', {run.version}, 'e', {run.fence}, 'running', UTC_TIMESTAMP(3))"
    )
    body, groups, stride = pack([dump_json(user) for user in BEFORE["users"]], run.group_size)
    chunk = Chunk(n=0, users=len(BEFORE["users"]), groups=groups, stride=stride, etag="")
    etag = S3PayloadStore("payloads").put(chunk.key(run), body, metadata={})
    return {**chunk.to_json(), "etag": etag}


@pytest.mark.fault(25)
def test_a_run_that_was_listed_by_the_code_before_is_called_processed_and_finished(
    lab: Lab, tenant: Tenant
) -> None:
    state = {"run": BEFORE["run"], "chunk": chunk_before(tenant), "group": 0}

    called = tenant.invoke("call_api", state)
    # The code before did not say who was called, for how long, and who was late.
    group = state | {"claim": called["claim"], "tally": BEFORE["tally"]}
    processed = tenant.invoke("process_users", group)
    finished = tenant.invoke("finish_run", {"run": BEFORE["run"], **BEFORE["finish"]})

    assert processed["queued"] == 3
    assert finished["status"] == "completed"
    lab.report(
        "events of the code before, for each function",
        times=3,
        users=3,
        accounted=finished["outcomes"]["stored"],
        lost=tenant.lost,
    )


@pytest.mark.fault(25)
def test_a_record_that_the_code_before_put_on_the_stream_is_stored(
    lab: Lab, tenant: Tenant
) -> None:
    tenant.seed(3)

    write(compress(dump_json(BEFORE["record"])))
    finished = tenant.invoke("finish_run", {"run": BEFORE["run"], **BEFORE["finish"]})

    stored = [note for (note,) in tenant.sql("SELECT note FROM user_activity")]
    lab.report(
        "a record of the code before",
        times=1,
        users=3,
        accounted=finished["outcomes"]["stored"],
        lost=sum(note not in stored for note in ("one", "two", "three")),
    )


@pytest.mark.fault(25)
def test_answers_of_the_code_before_fail_their_group_whose_users_the_next_run_asks_again(
    lab: Lab, tenant: Tenant
) -> None:
    # Their form has changed. To read both for the seconds of one group is not worth the code.
    tenant.seed(430)
    tenant.before["process_users"] = answered_before

    first = tenant.run()
    del tenant.before["process_users"]
    second = tenant.run()

    assert first.output["outcomes"]["retry_later"] == 50
    assert second.output["outcomes"]["stored"] == 50
    lab.report(
        "a claim of the code before",
        times=1,
        users=430,
        accounted=accounted(first),
        lost=tenant.lost,
    )


def answered_before(payload: Any) -> None:
    if (payload["chunk"]["n"], payload["group"]) == (0, 1):
        payload["claim"] = BEFORE["claim"]


@pytest.mark.fault(25)
def test_a_tenant_deployed_anew_during_a_run_on_the_local_cloud_accounts_for_everybody(
    lab: Lab, cloud: LocalCloud, terminal: Terminal, api: SampleApiAdmin
) -> None:
    users = 400
    words = ("run", "--tenant", "acme", "--users", str(users))
    api.touch(*(account(user) for user in range(1, users + 1)))

    running = terminal.start(*words, "--api-latency-ms", "3000", "--json")
    assert processes.wait_for(lambda: api.stats()["in_flight_peak"] > 0, deadline_s=60)
    cloud.deploy("acme", parameters={"ApiConcurrency": "20", "WriteBatchSize": "50"})
    during = last_line(finished(running))
    after = terminal.run(*words[1:])

    assert during["unaccounted"] == 0
    lab.report(
        "a deployment during a run of the local cloud",
        times=1,
        users=2 * users,
        accounted=sum(during["outcomes"].values()) + sum(after["outcomes"].values()),
        lost=wrong_rows(cloud, "acme", users),
    )


@pytest.mark.fault(26)
def test_a_deployment_that_fails_leaves_the_tenant_as_it_was(
    lab: Lab, cloud: LocalCloud, terminal: Terminal, api: SampleApiAdmin, tmp_path: Path
) -> None:
    users = 80
    words = ("--tenant", "acme", "--users", str(users))
    terminal.run(*words)
    bucket = cloud.stack("acme").outputs["PayloadBucketName"]
    template = checkout(tmp_path, ROOT / "layers" / "job")
    text = template.read_text(encoding="utf-8")
    template.write_text(text.replace("\nResources:\n", f"\nResources:\n{BROKEN_RESOURCE}"))

    with pytest.raises(BatchctlError, match="sam deploy failed"):
        cloud.deploy("acme", template=template)
    kept = stored_rows(cloud, "acme")
    api.touch(account(1))
    result = terminal.run(*words)

    assert cloud.stack("acme").outputs["PayloadBucketName"] == bucket
    assert len(kept) == users
    assert (result["outcomes"]["stored"], result["outcomes"]["unchanged"]) == (1, users - 1)
    lab.report(
        "a template with an impossible property",
        times=1,
        users=users,
        accounted=sum(result["outcomes"].values()),
        lost=wrong_rows(cloud, "acme", users),
    )


@pytest.mark.fault(27)
@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"API_BASE_URL": "ftp://api.example.com"}, "ApiBaseUrl"),
        ({"API_SECRET_ARN": "arn:aws:secretsmanager:eu-west-1:1:secret:api"}, "secret"),
        ({"DATABASE_SECRET_ARN": "arn:aws:secretsmanager:eu-west-1:1:secret:db"}, "secret"),
        ({"DATABASE_NAME": "batch_of_nobody"}, "batch_of_nobody"),
        ({"DATABASE_PORT": "none"}, "DATABASE_PORT"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_tenant_set_up_wrongly_fails_with_one_reason_and_works_once_it_is_mended(
    lab: Lab, tenant: Tenant, variables: dict[str, str], named: str
) -> None:
    tenant.seed(60)
    right = {name: tenant.variable(name) for name in variables}

    tenant.configure(**variables)
    wrong = tenant.run()
    tenant.configure(**right)
    expire_lease(tenant)
    mended = tenant.run()

    assert wrong.status == "FAILED"
    assert named in wrong.cause
    assert tenant.api.stats()["requests"] == 60
    lab.report(
        "a bad URL, secrets and databases that are none",
        times=1,
        users=60,
        accounted=accounted(mended),
        lost=tenant.lost,
    )


@pytest.mark.fault(27)
def test_nobody_and_ten_times_as_many_users_are_both_a_run(lab: Lab, tenant: Tenant) -> None:
    tenant.seed(40)
    usual = tenant.run()
    tenant.seed(400)
    many = tenant.run()
    tenant.sql("UPDATE users SET active = 0")
    nobody = tenant.run()

    assert [judged(run)["listed"] for run in (usual, many, nobody)] == [40, 400, 0]
    assert nobody.status == "SUCCEEDED"
    lab.report(
        "no users, and ten times as many",
        times=2,
        users=440,
        accounted=accounted(usual, many, nobody),
        lost=tenant.lost,
    )


@pytest.mark.fault(27)
def test_a_wrong_address_of_one_tenants_api_is_told_and_touches_no_other_tenant(
    lab: Lab, cloud: LocalCloud, terminal: Terminal, api: SampleApiAdmin
) -> None:
    with pytest.raises(BatchctlError, match="ApiBaseUrl"):
        cloud.deploy("globex", parameters={"ApiBaseUrl": "api.example.com"})

    results = [terminal.run("--tenant", tenant, "--users", "40") for tenant in ("acme", "globex")]
    lab.report(
        "an address that the template refuses",
        times=1,
        users=80,
        accounted=sum(sum(result["outcomes"].values()) for result in results),
    )


@pytest.mark.fault(28)
def test_two_stacks_share_no_resource_and_no_name(lab: Lab, cloud: LocalCloud) -> None:
    acme, globex = (resources(cloud, tenant) for tenant in ("acme", "globex"))

    assert acme.keys() == globex.keys()
    assert set(acme.values()) & set(globex.values()) == set()
    lab.report("two tenants side by side", times=2, users=0, accounted=0)


def resources(cloud: LocalCloud, tenant: str) -> dict[str, str]:
    """The physical ids of a tenant's resources by logical id, without the digests of layers."""
    pages = cloud.client("cloudformation").get_paginator("list_stack_resources")
    return {
        resource["LogicalResourceId"].rstrip("0123456789abcdef"): resource["PhysicalResourceId"]
        for page in pages.paginate(StackName=cloud.stack(tenant).name)
        for resource in page["StackResourceSummaries"]
    }


@pytest.mark.fault(28)
def test_a_record_of_another_tenant_is_put_aside_and_its_neighbours_are_stored(
    lab: Lab, tenant: Tenant
) -> None:
    tenant.seed(3)
    foreign = BEFORE["record"] | {"tenant": "globex", "version": BEFORE["record"]["version"] + 1}

    write(*(compress(dump_json(record)) for record in (foreign, BEFORE["record"])))

    aside = json.loads(S3PayloadStore("payloads").get("quarantine/records/0.json"))
    assert "belongs to the tenant 'globex'" in aside["error"]
    versions = list(tenant.versions.values())
    lab.report(
        "a record of another tenant on the stream",
        times=1,
        users=6,
        accounted=len(versions) + len(foreign["rows"]),
        lost=sum(version != BEFORE["record"]["version"] for version in versions),
    )


def expire_lease(tenant: Tenant) -> None:
    """Let the lease of a run that could not give it back end now."""
    tenant.sql("UPDATE batch_lease SET expires_at = UTC_TIMESTAMP(3) - INTERVAL 1 SECOND")
