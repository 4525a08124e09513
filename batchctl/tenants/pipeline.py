"""What the pipeline is told of the tenants: its stages, and the parameters of each stack."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from batchctl.errors import BatchctlError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from batchctl.tenants.catalogue import Tenant

BEGIN: Final = "        # --- generated from tenants/tenants.yaml by `batchctl tenants render`"
END: Final = "        # --- end of what is generated"

_CLOUDFORMATION: Final = (
    'ActionTypeId: {Category: Deploy, Owner: AWS, Provider: CloudFormation, Version: "1"}'
)
_CODEBUILD: Final = 'ActionTypeId: {Category: Test, Owner: AWS, Provider: CodeBuild, Version: "1"}'


def render(pipeline: str, tenants: Iterable[Tenant]) -> str:
    """Return the pipeline's template with the stages of these tenants.

    Raises BatchctlError when the template does not say where they belong.
    """
    head, begin, rest = pipeline.partition(f"{BEGIN}\n")
    _, end, tail = rest.partition(f"{END}\n")
    if not begin or not end:
        raise BatchctlError(
            "pipeline.yaml does not say where the waves belong. Put these two lines into its"
            f" Stages:\n{BEGIN}\n{END}"
        )
    return "".join([head, begin, *_stages(tenants), end, tail])


def configuration(tenant: Tenant) -> str:
    """Return what CloudFormation is told of a tenant: its parameters and tags.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/continuous-delivery-codepipeline-cfn-artifacts.html
    """
    boundary = (
        f"arn:{_partition(tenant.region)}:iam::{tenant.account}:policy/{tenant.stack}-boundary"
    )
    told = {
        "Parameters": {**tenant.parameters, "PermissionsBoundaryArn": boundary},
        "Tags": dict(tenant.tags),
    }
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def _stages(tenants: Iterable[Tenant]) -> list[str]:
    waves: dict[int, list[Tenant]] = defaultdict(list)
    for tenant in tenants:
        waves[tenant.wave].append(tenant)
    lines = _stage("Canary", waves.pop(0))
    if waves:
        lines += _APPROVAL
    for wave, members in sorted(waves.items()):
        lines += _stage(f"Wave{wave}", members)
    return [f"        {line}\n" for line in lines]


_APPROVAL: Final = (
    "- Name: Approve",
    "  Actions:",
    "    - Name: Approve",
    '      ActionTypeId: {Category: Approval, Owner: AWS, Provider: Manual, Version: "1"}',
    "      Configuration:",
    "        NotificationArn: !Ref Notifications",
    "        CustomData: The canary runs the new code. Deploy it to the other tenants?",
)


def _stage(name: str, tenants: Sequence[Tenant]) -> list[str]:
    # Its last good package and parameters come back when a tenant fails, for the whole stage.
    lines = [f"- Name: {name}", "  OnFailure: {Result: ROLLBACK}", "  Actions:"]
    for tenant in tenants:
        lines += [f"    {line}" for line in (*_prepare(tenant), *_deploy(tenant), *_verify(tenant))]
    return lines


def _prepare(tenant: Tenant) -> list[str]:
    return [
        f"- Name: {tenant.name}-prepare",
        "  RunOrder: 1",
        f"  {_CLOUDFORMATION}",
        f"  RoleArn: !Sub {_role(tenant, 'deploy')}",
        "  InputArtifacts: [{Name: Package}]",
        "  Configuration:",
        "    ActionMode: CHANGE_SET_REPLACE",
        f"    StackName: {tenant.stack}",
        "    ChangeSetName: pipeline",
        "    TemplatePath: Package::template.yaml",
        f"    TemplateConfiguration: Package::{tenant.name}.json",
        "    Capabilities: CAPABILITY_IAM",
        f"    RoleArn: !Sub {_role(tenant, 'cloudformation')}",
    ]


def _deploy(tenant: Tenant) -> list[str]:
    return [
        f"- Name: {tenant.name}-deploy",
        "  RunOrder: 2",
        f"  {_CLOUDFORMATION}",
        f"  RoleArn: !Sub {_role(tenant, 'deploy')}",
        "  Configuration:",
        "    ActionMode: CHANGE_SET_EXECUTE",
        f"    StackName: {tenant.stack}",
        "    ChangeSetName: pipeline",
    ]


def _verify(tenant: Tenant) -> list[str]:
    given = {"STACK": tenant.stack, "ROLE": _role(tenant, "verify")}
    variables = json.dumps([{"name": name, "value": value} for name, value in given.items()])
    return [
        f"- Name: {tenant.name}-verify",
        "  RunOrder: 3",
        f"  {_CODEBUILD}",
        # The package has what the verification itself consists of.
        "  InputArtifacts: [{Name: Source}, {Name: Package}]",
        "  Configuration:",
        "    ProjectName: !Ref VerifyProject",
        "    PrimarySource: Source",
        f"    EnvironmentVariables: !Sub '{variables}'",
    ]


def _role(tenant: Tenant, what: str) -> str:
    return f"arn:${{AWS::Partition}}:iam::{tenant.account}:role/{tenant.stack}-{what}"


def _partition(region: str) -> str:
    special = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
    return next((name for start, name in special.items() if region.startswith(start)), "aws")
