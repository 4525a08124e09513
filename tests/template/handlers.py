"""What CloudFormation calls to make, change, read and remove the resources of a template, as the
schemas of their types say, which come with cfn-lint."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cfnlint.schema import PROVIDER_SCHEMA_MANAGER  # type: ignore[import-untyped]

from tests.template.iam import Call, Resource, matches, resources
from tests.template.rendered import ACCOUNT, ARNS, PSEUDO, Stack
from tests.template.translation import Json

REGION = str(PSEUDO["AWS::Region"])

# Cloud Control lists resources, the operations of a stack never do.
# https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-test-contract.html
HANDLERS = ("create", "read", "update", "delete")
# Types older than handlers are in no schema.
WITHOUT_HANDLERS = {
    # https://docs.aws.amazon.com/codebuild/latest/userguide/auth-and-access-control-permissions-reference.html
    "AWS::CodeBuild::Project": (
        "codebuild:BatchGetProjects codebuild:CreateProject codebuild:DeleteProject "
        "codebuild:UpdateProject iam:PassRole"
    ),
}
# A service that has another name since, which the ARNs of newer resources have.
# https://docs.aws.amazon.com/dtconsole/latest/userguide/rename.html
RENAMED = {"codestar-connections": "codeconnections"}
# The ARNs that a resource is called on, where `rendered` has none or not all.
OWN = ARNS | {
    "CloudWatch::Alarm": "cloudwatch:{place}:alarm:{name}",
    "CloudWatch::CompositeAlarm": "cloudwatch:{place}:alarm:{name}",
    "CloudWatch::Dashboard": "cloudwatch::{account}:dashboard/{name}",
    "CodePipeline::Pipeline": "codepipeline:{place}:{name} codepipeline:{place}:{name}/Source",
    "EC2::SecurityGroup": "ec2:{place}:security-group/sg-1 ec2:{place}:security-group-rule/sgr-1",
    "EC2::SecurityGroupEgress": "ec2:{place}:security-group/{GroupId}",
    "EC2::SecurityGroupIngress": "ec2:{place}:security-group/{GroupId}",
    "Events::Rule": "events:{place}:rule/{name}",
    "Lambda::Alias": "lambda:{place}:function:{FunctionName}",
    "Lambda::EventSourceMapping": "lambda:{place}:event-source-mapping:0a1b2c3d",
    "Lambda::LayerVersion": "lambda:{place}:layer:{name} lambda:{place}:layer:{name}:3",
    "Lambda::Version": "lambda:{place}:function:{FunctionName}",
    "Logs::LogGroup": "logs:{place}:log-group:{name}",
    "Logs::MetricFilter": "logs:{place}:log-group:{LogGroupName}",
    "RDS::DBProxyTargetGroup": (
        "rds:{place}:target-group:prx-tg-0123456789abcdef0 "
        "rds:{place}:db-proxy:prx-0123456789abcdef0"
    ),
    "S3::BucketPolicy": "s3:::{Bucket}",
    "SNS::TopicPolicy": "",
    "Scheduler::Schedule": "scheduler:{place}:schedule/{GroupName}/{name}",
    "Scheduler::ScheduleGroup": (
        "scheduler:{place}:schedule-group/{name} scheduler:{place}:schedule/{name}/any"
    ),
}
# Whom the handler of a type hands a role to.
PASSED_TO = {
    "CodeBuild::Project": "codebuild",
    "CodePipeline::Pipeline": "codepipeline",
    "Events::Rule": "events",
    "Lambda::Function": "lambda",
    "RDS::DBProxy": "rds",
    "Scheduler::Schedule": "scheduler",
    "StepFunctions::StateMachine": "states",
}


def actions(kind: str) -> Mapping[str, str]:
    """The actions that CloudFormation needs for a type, each with the handlers that call it.

    Raises KeyError for a type whose handlers are nowhere.
    """
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema
    written = {name: schema.get("handlers", {}).get(name, {}) for name in HANDLERS}
    if not any(written.values()):
        written = {"update": {"permissions": WITHOUT_HANDLERS[kind].split()}}
    found: dict[str, list[str]] = defaultdict(list)
    for handler, said in written.items():
        for action in said.get("permissions", []):
            found[action].append(handler)
            for old, new in RENAMED.items():
                if action.startswith(f"{old}:"):
                    found[action.replace(old, new)].append(handler)
    return {action: " ".join(handlers) for action, handlers in sorted(found.items())}


def calls(stack: Stack, package: str) -> Iterator[tuple[str, str, Call | None]]:
    """The type, the action and the call of everything that CloudFormation needs for a stack.

    The call is None where the stack has nothing that the action could be about: it belongs to a
    property that is not given. `package` is the ARN of an object with the stack's code.
    """
    for logical_id, made in stack.resources().items():
        resource = {"Properties": {}, **made}
        kind = resource["Type"].removeprefix("AWS::")
        itself = own(stack, logical_id, resource)
        others = [*mentioned(resource), package]
        for action in actions(resource["Type"]):
            context = _context(kind, action, resource)
            targets = _targets(action, itself, others)
            for target in targets:
                yield kind, action, Call(action, target, context)
            if not targets:
                yield kind, action, None


def own(stack: Stack, logical_id: str, resource: Json) -> list[str]:
    """The ARNs of a resource itself."""
    kind = resource["Type"].removeprefix("AWS::")
    known = {
        **{name: each for name, each in resource["Properties"].items() if isinstance(each, str)},
        "name": stack.physical_name(logical_id),
        "account": ACCOUNT,
        "place": f"{REGION}:{ACCOUNT}",
    }
    return [f"arn:aws:{form.format(**known)}" for form in OWN.get(kind, "").split()]


def mentioned(value: Any) -> Iterator[str]:
    """The ARNs in the properties of a resource."""
    match value:
        case str() if value.startswith("arn:") and " " not in value:
            yield value
        case dict():
            for key, each in value.items():
                # What a policy is about is only handed on, and whom an action lets make a stack.
                if key != "PolicyDocument" and not (key == "RoleArn" and "ActionMode" in value):
                    yield from mentioned(each)
        case list():
            for each in value:
                yield from mentioned(each)


def _targets(action: str, itself: list[str], others: list[str]) -> list[str]:
    """The ARNs that an action is called on: of the resource itself, or else of what it mentions."""
    kinds = resources(action)
    if kinds is not None and not kinds:
        return ["*"]

    def of(some: Iterable[Resource]) -> list[str]:
        for arns in (itself, others):
            found = [arn for arn in arns if any(matches(kind.form, arn) for kind in some)]
            if found:
                return found
        return []

    required = [kind for kind in kinds or () if kind.required]
    found = {arn: None for kind in required for arn in of([kind])} or of(kinds or ())
    service = action.partition(":")[0]
    # Newer than the list of actions, or about more than that says.
    return list(found) or [arn for arn in itself if arn.split(":")[2] == service]


def _context(kind: str, action: str, resource: Json) -> Mapping[str, str]:
    service = action.partition(":")[0]
    values = resource["Properties"]
    if action == "iam:PassRole" and kind in PASSED_TO:
        return {"iam:PassedToService": f"{PASSED_TO[kind]}.amazonaws.com"}
    if service == "iam" and "PermissionsBoundary" in values:
        return {"iam:PermissionsBoundary": values["PermissionsBoundary"]}
    if service == "kms" and kind == "KMS::Key":
        return {
            f"aws:{when}Tag/{tag['Key']}": tag["Value"]
            for tag in values["Tags"]
            for when in ("Request", "Resource")
        }
    if service == "kms":
        return {
            "kms:ViaService": f"{kind.split(':', maxsplit=1)[0].lower()}.{REGION}.amazonaws.com"
        }
    return {}
