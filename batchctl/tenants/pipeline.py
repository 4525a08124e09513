"""What the pipelines are told of the tenants: accounts, stages, parameters of each stack."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from batchctl.errors import BatchctlError
from batchctl.tenants import fleet

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from batchctl.tenants.catalogue import Tenant
    from batchctl.tenants.fleet import Stage

# The three places of pipeline.yaml that are written here, by what is in them, each with the
# indentation of the two lines that mark it.
PLACES: Final = {"accounts": 2, "stages": 8, "pipelines": 2}
# What CloudFormation reads from S3; `deploy` takes 51,200 bytes without a bucket.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
TEMPLATE_BYTES: Final = 1_000_000
# The policy of the pipeline's bucket names each, and may have 20 KB.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html
ACCOUNTS_MAX: Final = 400


def marks(place: str) -> tuple[str, str]:
    """Return the lines before and behind what is written into a place."""
    indent = " " * PLACES[place]
    return (
        f"{indent}# --- {place} generated from tenants/tenants.yaml by `batchctl tenants render`\n",
        f"{indent}# --- end of the {place}\n",
    )


def render(template: str, tenants: Sequence[Tenant]) -> str:
    """Return the pipeline's template for these tenants.

    Raises BatchctlError when the template does not say where they belong, or when there are more of
    them than CloudFormation and S3 take.
    """
    first, *later = fleet.pipelines(tenants)
    accounts = sorted({tenant.account for tenant in tenants})
    written = {
        "accounts": ["Tenants:", "  Accounts:", "    All:", *(f'      - "{a}"' for a in accounts)],
        "stages": [*_stages(first), *_handing_on(2 if later else None)],
        "pipelines": [
            line
            for number, stages in enumerate(later, 2)
            for line in _pipeline(number, stages, last=number == len(later) + 1)
        ],
    }
    for place, lines in written.items():
        template = _replaced(template, place, lines)
    size = len(template.encode())
    if size > TEMPLATE_BYTES or len(accounts) > ACCOUNTS_MAX:
        raise BatchctlError(
            f"pipeline.yaml would have {size:,} bytes and {len(accounts)} accounts, and"
            f" {TEMPLATE_BYTES:,} and {ACCOUNTS_MAX} are allowed. Keep some of the tenants in"
            " another checkout, with a pipeline of its own"
        )
    return template


def _replaced(template: str, place: str, lines: Iterable[str]) -> str:
    begin, end = marks(place)
    head, found, rest = template.partition(begin)
    _, ended, tail = rest.partition(end)
    if not found or not ended:
        raise BatchctlError(
            f"pipeline.yaml does not say where the {place} belong. Put these two lines into"
            f" it:\n{begin}{end}"
        )
    indent = " " * PLACES[place]
    text = "".join(f"{indent}{line}\n" if line else "\n" for line in lines)
    return f"{head}{begin}{text}{end}{tail}"


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


def _kind(category: str, provider: str) -> str:
    return f'ActionTypeId: {{Category: {category}, Owner: AWS, Provider: {provider}, Version: "1"}}'


_APPROVAL: Final = (
    "- Name: Approve",
    "  Actions:",
    "    - Name: Approve",
    f"      {_kind('Approval', 'Manual')}",
    "      Configuration:",
    "        NotificationArn: !Ref Notifications",
    "        CustomData: The canary runs the new code. Deploy it to the other tenants?",
)


def _stages(stages: Sequence[Stage]) -> list[str]:
    lines: list[str] = []
    for number, stage in enumerate(stages):
        # Behind the canary, when there is anybody else.
        if number == 1 and stages[0].name == fleet.CANARY:
            lines += _APPROVAL
        lines += _stage(stage)
    return lines


def _stage(stage: Stage) -> list[str]:
    # Its last good package and parameters come back when a tenant fails, for the whole stage.
    lines = [f"- Name: {stage.name}", "  OnFailure: {Result: ROLLBACK}", "  Actions:"]
    for tenant in stage.tenants:
        lines += [f"    {line}" for line in (*_prepare(tenant), *_deploy(tenant), *_verify(tenant))]
    return lines


def _handing_on(number: int | None) -> list[str]:
    """The stage that starts the next pipeline with what this one was started with."""
    if number is None:
        return []
    return [
        "- Name: Next",
        "  Actions:",
        *(
            line
            for artifact in ("Source", "Package")
            for line in (
                f"    - Name: {artifact}",
                "      RunOrder: 1",
                f"      {_kind('Deploy', 'S3')}",
                f"      InputArtifacts: [{{Name: {artifact}}}]",
                "      Configuration:",
                "        BucketName: !Ref Artifacts",
                f"        ObjectKey: {_handed(number, artifact)}",
                '        Extract: "false"',
            )
        ),
        "    - Name: Start",
        "      RunOrder: 2",
        f"      {_kind('Invoke', 'CodePipeline')}",
        "      Configuration:",
        f"        PipelineName: !Ref Pipeline{number}",
    ]


def _pipeline(number: int, stages: Sequence[Stage], *, last: bool) -> list[str]:
    """A further pipeline; the one before starts it."""
    source = [
        "- Name: Source",
        "  Actions:",
        *(
            line
            for artifact in ("Source", "Package")
            for line in (
                f"    - Name: {artifact}",
                f"      {_kind('Source', 'S3')}",
                f"      OutputArtifacts: [{{Name: {artifact}}}]",
                "      Configuration:",
                "        S3Bucket: !Ref Artifacts",
                f"        S3ObjectKey: {_handed(number, artifact)}",
                '        PollForSourceChanges: "false"',
            )
        ),
    ]
    lines = [*source, *_stages(stages), *_handing_on(None if last else number + 1)]
    return [
        f"Pipeline{number}:",
        "  Type: AWS::CodePipeline::Pipeline",
        "  Metadata: {cfn-lint: {config: {ignore_checks: [I3042]}}}",
        "  Properties:",
        "    PipelineType: V2",
        "    ExecutionMode: QUEUED",
        "    RoleArn: !GetAtt PipelineRole.Arn",
        "    ArtifactStore:",
        "      Type: S3",
        "      Location: !Ref Artifacts",
        "      EncryptionKey: {Type: KMS, Id: !GetAtt ArtifactKey.Arn}",
        "    Stages:",
        *(f"      {line}" for line in lines),
        "",
    ]


def _handed(number: int, artifact: str) -> str:
    """Where a pipeline finds what it is started with."""
    return f"pipelines/{number}/{artifact.lower()}.zip"


def _prepare(tenant: Tenant) -> list[str]:
    return [
        f"- Name: {tenant.name}-prepare",
        "  RunOrder: 1",
        f"  {_kind('Deploy', 'CloudFormation')}",
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
        f"  {_kind('Deploy', 'CloudFormation')}",
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
        f"  {_kind('Test', 'CodeBuild')}",
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
