"""Where a command works: a tenant on the local cloud, or a stack on AWS."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from batchctl.aws import ClientFactory, StackAccess, aws_client_factory
from batchctl.errors import BatchctlError, UsageError
from batchctl.local.home import default_home
from batchctl.stacks import Stack, find_stack

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from batchctl.local.cloud import LocalCloud


@dataclass(frozen=True, slots=True)
class Target:
    """A stack, and the way to it."""

    stack: Stack
    client: ClientFactory
    where: str
    region: str
    reports: Path
    local: bool

    def access(self) -> StackAccess:
        """Reach the stack's logs and its workflow."""
        return StackAccess(self.client, self.stack, local=self.local)

    @property
    def option(self) -> str:
        """What to type for a command to work here again."""
        return f"--tenant {self.stack.tenant}" if self.local else f"--stack {self.stack.name}"

    def hint(self, run_id: str) -> str:
        """The command that shows what a run logged."""
        return f"batchctl logs {self.option} --run {run_id}"


def refuse(options: Mapping[str, object], place: str) -> None:
    """Raise UsageError when one of the options was given, which belongs to another place."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{' and '.join(given)} can only be used {place}.")


def signed_in(region: str | None, profile: str | None, role: str | None = None) -> boto3.Session:
    """Reach an AWS account, in another role when one is given.

    Raises BatchctlError when there are no credentials, UsageError when the region is not known.
    """
    try:
        # As the AWS CLI does; boto3 by itself looks at AWS_DEFAULT_REGION alone.
        region = region or os.environ.get("AWS_REGION")
        session = boto3.Session(region_name=region, profile_name=profile)
        known = session.get_credentials() is not None
    except BotoCoreError as error:
        raise BatchctlError(f"AWS cannot be reached: {error}.") from error
    if session.region_name is None:
        raise UsageError("The AWS region is not known. Give it with --region.")
    if not known:
        raise BatchctlError(
            "There are no AWS credentials. Sign in, or name a profile with --profile."
        )
    return session if role is None else in_role(session, role)


def deployed(name: str, region: str | None, profile: str | None, role: str | None = None) -> Target:
    """Find a stack on AWS, in another role when one is given.

    Raises BatchctlError when there is none of that name, or the account cannot be reached.
    """
    session = signed_in(region, profile, role)
    found = find_stack(session, name)
    if found is None:
        raise BatchctlError(
            f"There is no stack {name} in region {session.region_name} of this account. Give the"
            " name that `sam deploy` used, and --region or --profile if it is elsewhere."
        )
    return Target(
        stack=found,
        client=aws_client_factory(session),
        where=f"{name} · {session.region_name}",
        region=session.region_name,
        reports=default_home() / "reports",
        local=False,
    )


def in_role(session: boto3.Session, role: str) -> boto3.Session:
    """Take on a role for an hour. Raises BatchctlError when that is not allowed."""
    try:
        taken = session.client("sts").assume_role(RoleArn=role, RoleSessionName="batchctl")
    except (BotoCoreError, ClientError) as error:
        raise BatchctlError(f"The role {role} cannot be taken on: {error}") from error
    credentials = taken["Credentials"]
    return boto3.Session(
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
        region_name=session.region_name,
    )


def local_target(cloud: LocalCloud, stack: Stack) -> Target:
    """Point at a tenant's stack on the local cloud."""
    return Target(
        stack=stack,
        client=cloud.client,
        where=f"local cloud · {stack.tenant}",
        region=cloud.session().region_name,
        reports=cloud.home / "reports",
        local=True,
    )
