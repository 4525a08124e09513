"""Fits a checkout's tenants to the local cloud: `python -m tests.support.local_tenants fit acme`.

The documents name networks, proxies and APIs that only a reader has. Typed behind the command that
has checked them, this puts the local database and the sample API in their places.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import yaml

from batchctl.commands.seed import seed_users
from batchctl.local import sam
from batchctl.local.cloud import LocalCloud
from batchctl.local.servers import REGION
from batchctl.tenants.project import Project

_ACCOUNT: Final = "000000000000"
# How many users the tenant gets.
USERS: Final = 40
_THE_READERS: Final = {
    "ApiSecretArn", "CreateDatabaseProxy", "DatabaseClusterIdentifier", "DatabaseProxySecretArn",
    "DatabaseResourceId", "DatabaseSecurityGroupId", "SecurityGroupIds", "SubnetIds", "VpcId",
}  # fmt: skip


def main(tenant: str) -> None:
    """Rewrite tenants.yaml in the working directory."""
    cloud = LocalCloud(Path(os.environ["BATCHCTL_HOME"]))
    file = Project(Path.cwd()).file
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    defaults = document["defaults"]
    shared = _kept(defaults["parameters"]) | _local(cloud, tenant)
    defaults |= {"account": _ACCOUNT, "region": REGION, "parameters": shared}
    for entry in document["tenants"]:
        entry["parameters"] = _kept(entry["parameters"])
        if entry["name"] == tenant:
            entry["parameters"]["ApiBaseUrl"] = f"{cloud.sample_api_url}/{tenant}"
    file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def seed(tenant: str) -> None:
    """Make users whom the tenant's run finds."""
    cloud = LocalCloud(Path(os.environ["BATCHCTL_HOME"]))
    with cloud.database(tenant) as connection:
        seed_users(connection, USERS)


def _kept(parameters: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in parameters.items() if name not in _THE_READERS}


def _local(cloud: LocalCloud, tenant: str) -> dict[str, object]:
    secret = cloud.client("secretsmanager").describe_secret(SecretId=f"batch/{tenant}/database")
    return {
        "ApiAllowPrivateAddresses": True,
        "Architecture": sam.architecture(),
        "ChunkConcurrency": 2,
        "DatabaseCaFile": str(cloud.database_server.ca_file),
        "DatabaseEndpoint": cloud.database_server.host,
        "DatabasePort": cloud.database_server.port,
        "DatabaseSecretArn": secret["ARN"],
        "GroupConcurrency": 2,
    }


if __name__ == "__main__":
    {"fit": main, "seed": seed}[sys.argv[1]](sys.argv[2])
