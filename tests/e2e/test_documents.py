"""What the documents print is typed, in order, in a fresh copy of the checkout."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from batchctl.local.cloud import LocalCloud, schema_name
from tests.support.checkout import copy_to, environment, fit_sam, lend_programs
from tests.support.documents import Block, commands, script
from tests.support.local_aws import PROGRAM
from tests.support.local_tenants import USERS

LOCAL = ".venv/bin/python -m tests.support.local_tenants"


@dataclass(frozen=True)
class Reader:
    """Somebody with a fresh checkout, who pastes what a page says into one shell."""

    checkout: Path
    env: Mapping[str, str]

    def pastes(self, blocks: list[Block], *, after: Mapping[str, str], answers: str = "") -> str:
        """Paste the blocks; return what they printed."""
        done = subprocess.run(
            ["bash", "-c", script(blocks, after=after)],
            cwd=self.checkout,
            env=self.env,
            input=answers,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
        return done.stdout


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalCloud]:
    """A local cloud with nothing deployed on it."""
    home = Path(tempfile.mkdtemp(prefix="batch-"))
    with LocalCloud(home) as cloud:
        yield cloud
    shutil.rmtree(home)


@pytest.fixture
def reader(aws: LocalCloud, tmp_path: Path) -> Reader:
    """A reader who has set up the checkout and signed in."""
    checkout = tmp_path / "checkout"
    copy_to(checkout)
    lend_programs(checkout)
    fit_sam(checkout)
    programs = checkout / ".venv" / "bin"
    real = (programs / "aws").resolve()
    (programs / "aws").unlink()
    (programs / "aws").write_text(PROGRAM.format(python=programs / "python", aws=real))
    (programs / "aws").chmod(0o755)
    env = environment(checkout, aws, aws.home)
    # A reader has these on PATH and, as far as the page goes, nothing else of the checkout.
    own = tmp_path / "bin"
    own.mkdir()
    for name in ("aws", "sam"):
        (own / name).symlink_to(programs / name)
    (own / "python3.13").symlink_to(Path(sys.base_prefix) / "bin" / "python3.13")
    env["PATH"] = env["PATH"].replace(str(Path(sys.executable).parent), str(own), 1)
    return Reader(checkout, env)


def test_the_way_from_an_empty_account_to_the_first_run(reader: Reader) -> None:
    printed = reader.pastes(
        commands("docs/deploy.md"),
        after={
            "tenants render": f"{LOCAL} fit acme",
            "batchctl verify": f"{LOCAL} seed acme\n"
            ".venv/bin/batchctl run --stack batch-acme --json",
        },
    )

    run = json.loads(printed.splitlines()[-1])
    assert (run["status"], run["outcomes"]["stored"]) == ("SUCCEEDED", USERS)


def test_the_few_lines_of_the_readme_deploy_a_tenant(reader: Reader, aws: LocalCloud) -> None:
    make_database(aws, "acme")

    printed = reader.pastes(
        commands("README.md", "Deploy to AWS"),
        after={"tenants add acme": f"{LOCAL} fit acme"},
        answers="y\n",  # to sam, which shows the change set
    )

    assert "SUCCEEDED" in printed


def test_a_tenant_is_added_and_removed(reader: Reader, aws: LocalCloud) -> None:
    make_database(aws, "acme")

    printed = reader.pastes(
        commands("docs/tenants.md"), after={"tenants add acme": f"{LOCAL} fit acme"}
    )

    assert "SUCCEEDED" in printed
    assert "aws cloudformation delete-stack --stack-name batch-acme" in printed


def make_database(cloud: LocalCloud, tenant: str) -> None:
    """Make what a tenant has before it is deployed, unless the first page has made it."""
    name, user = f"batch/{tenant}/database", schema_name(tenant)
    client = cloud.client("secretsmanager")
    if name in {each["Name"] for each in client.list_secrets()["SecretList"]}:
        return
    password = secrets.token_urlsafe(24)
    cloud.database_server.create_schema(user, user, password)
    client.create_secret(
        Name=name, SecretString=json.dumps({"username": user, "password": password})
    )
