"""The local cloud, for real: what runs, what is deployed, and what a crash leaves of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from batchctl.errors import BatchctlError
from batchctl.local import ports, processes
from batchctl.local.cloud import LocalCloud, Ports
from batchctl.local.databases import DatabaseKind
from batchctl.local.sam import ROLES

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCHCTL = Path(sys.executable).with_name("batchctl")

TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Parameters:
  TenantId: {Type: String}
  Architecture: {Type: String, Default: arm64}
  ChunkSize: {Type: String, Default: "1000"}
  DatabaseName: {Type: String}
  DatabaseSecretArn: {Type: String}
Resources:
  MigrateLogGroup:
    Type: AWS::Logs::LogGroup
  MigrateFunction:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.13
      Architectures: [!Ref Architecture]
      Handler: app.lambda_handler
      CodeUri: functions/migrate
      Timeout: 30
      LoggingConfig: {LogGroup: !Ref MigrateLogGroup}
      Environment:
        Variables:
          TENANT: !Ref TenantId
          CHUNK_SIZE: !Ref ChunkSize
Outputs:
  MigrateFunctionName: {Value: !Ref MigrateFunction}
  MigrateLogGroup: {Value: !Ref MigrateLogGroup}
"""

FUNCTION = """
import json, os

def lambda_handler(event, context):
    print(json.dumps({"level": "INFO", "message": "migrating", "run_id": "r1", "at": os.getpid()}))
    if os.environ["TENANT"] == "broken":
        raise ValueError("0002_more.sql: there is no table `nowhere`")
    return {"applied": [], "already": 1}
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a template that is small, so fast to build, and takes what the real one takes."""
    folder = tmp_path_factory.mktemp("template")
    function = folder / "functions" / "migrate" / "app.py"
    function.parent.mkdir(parents=True)
    function.write_text(FUNCTION)
    (folder / "template.yaml").write_text(TEMPLATE)
    return folder / "template.yaml"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cloud")


@pytest.fixture(scope="module")
def cloud(home: Path) -> Iterator[LocalCloud]:
    """Serve one cloud to all tests here; each must leave it working or leave it to `up`."""
    cloud = LocalCloud(home)
    yield cloud
    cloud.down()
    assert processes.find(home) == []


def pids(cloud: LocalCloud) -> dict[str, int | None]:
    return {server.role: server.pid for server in cloud.status().servers}


def kill(cloud: LocalCloud, role: str) -> None:
    """End one server, but not its children, as the kernel does when memory runs out."""
    pid = pids(cloud)[role]
    assert pid is not None
    process = processes.identify(pid)
    assert process is not None
    processes.send(process, signal.SIGKILL)
    assert processes.wait_until_gone([process], deadline_s=20)


def batchctl(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BATCHCTL, *arguments],
        env={**os.environ, "BATCHCTL_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def invoke(cloud: LocalCloud, name: str) -> Any:
    answer = cloud.client("lambda").invoke(FunctionName=name)
    return json.loads(answer["Payload"].read())


def test_starting_twice_starts_once(cloud: LocalCloud) -> None:
    cloud.up()
    first = pids(cloud)
    assert cloud.status().running
    LocalCloud(cloud.home).up()
    assert pids(cloud) == first


def test_deploying_twice_deploys_once(cloud: LocalCloud, template: Path) -> None:
    said: list[str] = []
    again = LocalCloud(cloud.home, report=said.append)
    stack = cloud.deploy("one", template=template)
    assert (stack.tenant, stack.parameters["DatabaseName"]) == ("one", "batch_one")
    assert again.deploy("one", template=template) == stack
    assert said == []


def test_two_tenants_lie_side_by_side(cloud: LocalCloud, template: Path) -> None:
    one, two = (cloud.deploy(tenant, template=template) for tenant in ("one", "two"))
    assert set(cloud.status().tenants) >= {"one", "two"}
    assert one.parameters["DatabaseSecretArn"] != two.parameters["DatabaseSecretArn"]
    assert one.migrate_function != two.migrate_function


def test_the_secret_of_a_tenant_opens_its_schema(cloud: LocalCloud, template: Path) -> None:
    arn = cloud.deploy("one", template=template).parameters["DatabaseSecretArn"]
    found = cloud.client("secretsmanager").get_secret_value(SecretId=arn)
    secret = json.loads(found["SecretString"])
    assert set(secret) == {"username", "password"}
    cloud.database_server.connect(
        user=secret["username"], password=secret["password"], database="batch_one"
    ).close()


def test_another_value_of_a_parameter_is_deployed(cloud: LocalCloud, template: Path) -> None:
    stack = cloud.deploy("one", template=template, parameters={"ChunkSize": "7"})
    assert stack.parameters["ChunkSize"] == "7"
    assert cloud.deploy("one", template=template).parameters["ChunkSize"] != "7"


def test_a_migration_that_fails_is_told_and_tried_again(cloud: LocalCloud, template: Path) -> None:
    for _ in range(2):
        with pytest.raises(BatchctlError, match=r"Migrate of .*broken failed: 0002_more\.sql"):
            cloud.deploy("broken", template=template)


def test_a_template_that_does_not_deploy_is_told_and_does_not_stay_in_the_way(
    cloud: LocalCloud, template: Path
) -> None:
    broken = template.with_name("broken.yaml")
    needy = "Parameters:\n  NobodyGivesIt: {Type: String}\n"
    broken.write_text(template.read_text().replace("Parameters:\n", needy, 1))
    with pytest.raises(BatchctlError, match="sam deploy failed"):
        cloud.deploy("mended", template=broken)
    assert cloud.deploy("mended", template=template).status == "CREATE_COMPLETE"


def test_a_cloud_keeps_the_database_that_it_was_started_on(tmp_path: Path) -> None:
    with LocalCloud(tmp_path, database=DatabaseKind.MYSQL) as cloud:
        assert {server.role for server in cloud.status().servers} >= {"mysql"}
        assert cloud.database_server.version().startswith("MySQL")
        assert LocalCloud(tmp_path).status() == cloud.status()
        with pytest.raises(BatchctlError, match=r"runs on MySQL\. Stop it first: batchctl down"):
            LocalCloud(tmp_path, database=DatabaseKind.MARIADB).up()
        assert cloud.status().running
    assert LocalCloud(tmp_path).database_kind == DatabaseKind.MYSQL
    with LocalCloud(tmp_path, database=DatabaseKind.MARIADB) as other:
        assert other.database_server.version().startswith("MariaDB")


@pytest.mark.parametrize("role", ["mariadb", "ministack", "sampleapi"])
def test_a_killed_server_is_brought_back(cloud: LocalCloud, template: Path, role: str) -> None:
    cloud.deploy("one", template=template)
    before = pids(cloud)
    kill(cloud, role)
    assert not cloud.status().running
    stack = cloud.deploy("one", template=template)
    after = pids(cloud)
    assert {name for name in before if before[name] != after[name]} == {role}
    assert invoke(cloud, stack.migrate_function) == {"applied": [], "already": 1}


def test_workers_of_a_killed_ministack_do_not_outlive_the_next_start(
    cloud: LocalCloud, template: Path
) -> None:
    invoke(cloud, cloud.deploy("one", template=template).migrate_function)
    assert len(processes.find(cloud.home, "ministack")) > 1
    kill(cloud, "ministack")
    cloud.up()
    assert len(processes.find(cloud.home, "ministack")) == 1


def test_a_lost_state_file_is_recovered_from(cloud: LocalCloud, template: Path) -> None:
    cloud.up()
    (cloud.home / "cloud.json").write_text('{"ports": {"mini')
    cloud.deploy("one", template=template)
    assert cloud.status().running
    assert len(processes.find(cloud.home, "sampleapi")) == 1


def test_a_taken_port_is_an_error_only_when_it_was_asked_for(cloud: LocalCloud) -> None:
    cloud.up()
    taken = next(server.port for server in cloud.status().servers if server.role == "sampleapi")
    asking = LocalCloud(cloud.home, ports=Ports(ministack=taken))
    with pytest.raises(BatchctlError, match=f"Port {taken} .* MiniStack, is taken"):
        asking.up()
    cloud.up()
    assert cloud.status().running


def test_a_port_that_is_asked_for_is_moved_to(cloud: LocalCloud) -> None:
    cloud.up()
    wanted = ports.free_port()
    LocalCloud(cloud.home, ports=Ports(sampleapi=wanted)).up()
    assert cloud.sample_api_url == f"http://127.0.0.1:{wanted}"


def test_the_persons_aws_profile_is_not_looked_at(
    cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.up()
    monkeypatch.setenv("AWS_PROFILE", "a-profile-that-does-not-exist")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert LocalCloud(cloud.home).client("sts").get_caller_identity()["Account"] == "000000000000"


def test_status_and_logs_show_what_there_is(cloud: LocalCloud, template: Path) -> None:
    cloud.deploy("one", template=template)
    status = json.loads(batchctl(cloud.home, "status", "--json").stdout)
    assert status["running"]
    assert "one" in status["tenants"]
    logged = batchctl(cloud.home, "logs", "migrate", "--tenant", "one", "--run", "r1", "--json")
    lines = [json.loads(line) for line in logged.stdout.splitlines()]
    assert lines
    assert {(line["function"], line["message"]) for line in lines} == {("Migrate", "migrating")}


def test_down_ends_everything_and_keeps_the_data(cloud: LocalCloud) -> None:
    cloud.up()
    cloud.database_server.create_schema("kept", "kept", "secret")
    done = batchctl(cloud.home, "down")
    assert (done.returncode, done.stdout.split()[0]) == (0, "Stopped")
    assert processes.find(cloud.home) == []
    cloud.up()
    cloud.database_server.connect(user="kept", password="secret", database="kept").close()


@given(moment=st.floats(0.2, 8))
@settings(
    max_examples=4,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_an_up_that_is_killed_at_any_moment_is_repaired_by_the_next(
    cloud: LocalCloud, moment: float
) -> None:
    cloud.down()
    started = subprocess.Popen(
        [BATCHCTL, "up"],
        env={**os.environ, "BATCHCTL_HOME": str(cloud.home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        started.wait(timeout=moment)
    started.kill()
    started.wait()
    cloud.up()
    assert cloud.status().running
    assert not [role for role in ROLES if processes.find(cloud.home, role)]
