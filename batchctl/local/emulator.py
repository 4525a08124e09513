"""What MiniStack does otherwise than AWS, put right from outside: the one place for such repairs.

Nothing here is needed on AWS, and nothing that runs on AWS knows of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from batchctl.stacks import Stack

# Of a database's attributes it lacks this one.
_LACKING = "MasterUserSecret.SecretArn"


def without_what_it_lacks(template: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a template what MiniStack refuses to make, and the stack with it.

    It knows no saved query, no rule of a security group that stands by itself, no alarm that
    combines others, and none that calculates, as nearly all of ours do.
    """

    def is_made(resource: Mapping[str, Any]) -> bool:
        match resource:
            case {
                "Type": "AWS::CloudWatch::CompositeAlarm"
                | "AWS::Logs::QueryDefinition"
                | "AWS::EC2::SecurityGroupEgress"
                | "AWS::EC2::SecurityGroupIngress"
            }:
                return False
            case {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Metrics": _}}:
                return False
        return True

    made = {name: each for name, each in template["Resources"].items() if is_made(each)}
    whole: dict[str, Any] = _with_attributes({**template, "Resources": made})
    return whole


def _with_attributes(part: Any) -> Any:
    match part:
        case {"Fn::GetAtt": [database, attribute]} if attribute == _LACKING:
            return f"arn:aws:secretsmanager:us-east-1:000000000000:secret:{database}-000000"
        case dict():
            return {name: _with_attributes(each) for name, each in part.items()}
        case list():
            return [_with_attributes(each) for each in part]
    return part


def mend(client: Callable[[str], Any], stack: Stack) -> None:
    """Repair what a deployment left wrong."""
    _make_batch_sizes_numbers(client, stack)
    _set_boundaries(client, stack)


def _make_batch_sizes_numbers(client: Callable[[str], Any], stack: Stack) -> None:
    """An update of a stack keeps the batch size of an event source mapping as text, on which the
    mapping's poller fails for ever; the service's own API makes it a number again.
    """
    stream = stack.outputs.get("StreamName")
    if stream is None:
        return
    arn = client("kinesis").describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"][
        "StreamARN"
    ]
    functions = client("lambda")
    for mapping in functions.list_event_source_mappings(EventSourceArn=arn)["EventSourceMappings"]:
        functions.update_event_source_mapping(
            UUID=mapping["UUID"], BatchSize=int(stack.parameters["WriteBatchSize"])
        )


def _set_boundaries(client: Callable[[str], Any], stack: Stack) -> None:
    """The boundary of a role that a stack makes is dropped; the service's own API sets it."""
    boundary = stack.parameters.get("PermissionsBoundaryArn")
    if not boundary:
        return
    listed = client("cloudformation").list_stack_resources(StackName=stack.name)
    for resource in listed["StackResourceSummaries"]:
        if resource["ResourceType"] == "AWS::IAM::Role":
            client("iam").put_role_permissions_boundary(
                RoleName=resource["PhysicalResourceId"], PermissionsBoundary=boundary
            )


def named_as_here(access: str) -> str:
    """Name the tenant's state machine in access.yaml as it is called here.

    On AWS its generated name begins with its logical id, here with the stack's name.
    """
    return access.replace(
        ":stateMachine:BatchMachine-", ":stateMachine:batch-${TenantId}-BatchMachine-"
    )


def mend_trust(client: Callable[[str], Any], role: str) -> None:
    """Let those take a role on who go by their role's ARN in its trust.

    On AWS `aws:PrincipalArn` is the ARN of the role that is acting, here that of its session.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
    """
    iam = client("iam")
    trust = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    for statement in trust["Statement"]:
        named = statement.get("Condition", {}).get("ArnLike", {})
        if "aws:PrincipalArn" in named:
            arn = named["aws:PrincipalArn"].replace(":iam:", ":sts:")
            named["aws:PrincipalArn"] = f"{arn.replace(':role/', ':assumed-role/')}/*"
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(trust))
