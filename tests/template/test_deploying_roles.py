"""Who deploys may do everything that CloudFormation calls for it, and no stand-in says so.

The local cloud makes stacks without looking at the role that they are made with. So the roles are
compared with what the resource types' own schemas need, call by call, as IAM would judge it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.template import handlers
from tests.template.iam import Call, allowed, applies, as_list, matches
from tests.template.rendered import (
    GIVEN,
    OPTIONAL,
    REQUIRED,
    SUFFIX,
    Stack,
    policies,
    render,
    stacks,
)
from tests.template.translation import ROOT, Json, of_type, translate


class Left(NamedTuple):
    """Actions that a role need not be given, and why.

    With a `property` the reason is that no resource of the type has it; that is looked up.
    """

    kind: str
    actions: str
    why: str
    property: str = ""

    def covers(self, kind: str, action: str) -> bool:
        """Whether it is about an action of a type."""
        return kind == self.kind and any(matches(form, action) for form in self.actions.split())


@dataclass(frozen=True)
class Deployer:
    """A role that CloudFormation makes a stack with.

    Attributes
    ----------
    given_in
        The template that has the policies, and what these are called there.
    makes
        The template of the stack.
    packages
        ARNs of objects with the code of the stack, one for each way it is deployed.
    """

    given_in: str
    policies: tuple[str, ...]
    makes: str
    packages: tuple[str, ...] = ("",)


SAM_BUCKET = "arn:aws:s3:::aws-sam-cli-managed-default-samclisourcebucket-0a1b2c3d4e5f"
DEPLOYERS = {
    "a tenant's": Deployer(
        "access.yaml",
        ("RolesPolicy", "ResourcesPolicy"),
        "template.yaml",
        # By the pipeline, and by `make deploy`.
        (f"{REQUIRED['ArtifactsArn']}/packages/0a1b", f"{SAM_BUCKET}/batch-acme/0a1b"),
    ),
    "the pipeline's": Deployer(
        "pipeline-access.yaml", ("UpdateRole.Roles", "UpdateRole.Resources"), "pipeline.yaml"
    ),
}
OF_NO_PROPERTY = (
    Left("IAM::ManagedPolicy", "iam:*GroupPolicy", "it attaches itself to groups", "Groups"),
    Left("IAM::ManagedPolicy", "iam:*RolePolicy", "it attaches itself to roles", "Roles"),
    Left("IAM::ManagedPolicy", "iam:*UserPolicy", "it attaches itself to users", "Users"),
    Left("KMS::Key", "kms:EnableKey kms:DisableKey", "it is switched off", "Enabled"),
    Left("Lambda::EventSourceMapping", "kms:*", "its filter is encrypted", "KmsKeyArn"),
    Left("Lambda::Function", "*:*MountTargets", "it mounts file systems", "FileSystemConfigs"),
    Left(
        *("Logs::LogGroup", "logs:PutBearerTokenAuthentication"),
        *("tokens may write to it", "BearerTokenAuthenticationEnabled"),
    ),
    Left("Logs::LogGroup", "logs:*IndexPolicy", "it has an index", "FieldIndexPolicies"),
    Left(
        *("Logs::LogGroup", "logs:PutResourcePolicy logs:DeleteResourcePolicy"),
        *("others may write to it", "ResourcePolicyDocument"),
    ),
    Left("S3::Bucket", "iam:PassRole", "it copies its objects", "ReplicationConfiguration"),
    Left("S3::Bucket", "s3tables:*", "it keeps tables of its objects", "MetadataConfiguration"),
    Left("SNS::Topic", "iam:*", "it logs what it delivers", "DeliveryStatusLogging"),
    Left("SNS::Topic", "sns:Subscribe sns:Unsubscribe", "it has subscribers", "Subscription"),
    Left("StepFunctions::StateMachine", "kms:*", "it has a key", "EncryptionConfiguration"),
)
LEFT = (
    *OF_NO_PROPERTY,
    Left("Events::Rule", "iam:PassRole", "topics are told without a role"),
    Left("IAM::Role", "iam:DeleteRolePermissionsBoundary", "no role may lose its boundary"),
    Left("KMS::Key", "kms:CreateKey kms:ScheduleKeyDeletion", "made by people, and kept"),
    Left("Lambda::Alias", "codedeploy:*", "no alias moves by CodeDeploy, which is an UpdatePolicy"),
    Left("Logs::LogGroup", "logs:*LogDelivery firehose:*", "a group delivers nothing by itself"),
    Left("Logs::LogGroup", "s3:REST.PUT.OBJECT", "no action of IAM; a group delivers nothing"),
    Left("S3::Bucket", "s3:DeleteObject s3:PutObjectAcl", "a bucket is made empty"),
)


@cache
def statements(deployer: Deployer) -> Sequence[Json]:
    """What the policies of a role say, as they are when everything optional is given."""
    rendered = dict(render(ROOT / deployer.given_in))["full"]
    return [
        statement
        for name, document in policies(rendered)
        if name in deployer.policies
        for statement in document["Statement"]
    ]


@cache
def needed(name: str) -> tuple[tuple[str, str, Call | None], ...]:
    """Type, action and call of all that CloudFormation needs; see `handlers.calls`."""
    deployer = DEPLOYERS[name]
    boundary = OPTIONAL["PermissionsBoundaryArn"]
    return tuple(
        dict.fromkeys(
            call
            for _, stack in stacks(ROOT / deployer.makes, PermissionsBoundaryArn=boundary)
            for package in deployer.packages
            for call in handlers.calls(stack, package)
        )
    )


def refused(name: str, given: Iterable[Json]) -> Iterator[str]:
    """What a role with these statements could not do, and is not left out for a reason."""
    given = list(given)
    about = {(kind, action) for kind, action, call in needed(name) if call is not None}
    for kind, action, call in needed(name):
        if any(left.covers(kind, action) for left in LEFT):
            continue
        if call is None and (kind, action) not in about:
            yield f"{kind}: nothing says what {action} is about"
        elif call is not None and not allowed(given, call):
            yield f"{kind}: {call}"


@pytest.mark.parametrize("name", DEPLOYERS)
def test_a_role_may_do_all_that_cloudformation_calls(name: str) -> None:
    missing = list(refused(name, statements(DEPLOYERS[name])))

    assert not missing, "\n".join(missing)


def without(given: Iterable[Json], action: str) -> list[Json]:
    """The statements with every form taken out that gives an action."""
    return [
        {
            **statement,
            "Action": [f for f in as_list(statement["Action"]) if not matches(f, action)],
        }
        for statement in given
    ]


REMOVED = [
    (name, action)
    for name, actions in {
        "a tenant's": (
            "rds:DescribeDBProxies",
            "rds:CreateDBProxy",
            "rds:RegisterDBProxyTargets",
            "iam:CreateRole",
            "iam:ListEntitiesForPolicy",
            "iam:PassRole",
            "iam:UpdateRole",
            "lambda:PublishVersion",
            "lambda:UntagResource",
            "lambda:UpdateEventSourceMapping",
            "ec2:DeleteTags",
            "ec2:UpdateSecurityGroupRuleDescriptionsEgress",
            "ec2:UpdateSecurityGroupRuleDescriptionsIngress",
            "kinesis:UpdateShardCount",
            "kms:GenerateDataKey",
            "logs:DescribeIndexPolicies",
            "s3:GetObject",
            "s3:PutEncryptionConfiguration",
            "scheduler:DeleteScheduleGroup",
            "sqs:SetQueueAttributes",
            "states:UpdateStateMachine",
            "cloudwatch:PutCompositeAlarm",
        ),
        "the pipeline's": (
            "codepipeline:EnableStageTransition",
            "codepipeline:DisableStageTransition",
            "codepipeline:StartPipelineExecution",
            "codestar-connections:PassConnection",
            "codeconnections:PassConnection",
            "codebuild:UpdateProject",
            "events:ListTargetsByRule",
            "iam:PassRole",
            "iam:UpdateRole",
            "kms:PutKeyPolicy",
            "logs:AssociateKmsKey",
            "s3:GetBucketAcl",
            "s3:PutLifecycleConfiguration",
            "sns:SetTopicAttributes",
        ),
    }.items()
    for action in actions
]


@pytest.mark.parametrize(("name", "action"), REMOVED)
def test_an_action_that_is_taken_away_is_missed(name: str, action: str) -> None:
    given = statements(DEPLOYERS[name])

    missed = (said for said in refused(name, without(given, action)) if f" {action} " in said)

    assert any(missed)


@pytest.mark.parametrize(
    "resource",
    [
        "arn:aws:s3:::aws-sam-cli-managed-default-samclisourcebucket-*/batch-acme/*",
        "arn:aws:lambda:ap-northeast-1:111122223333:function:batch-acme-*",
        "arn:aws:lambda:ap-northeast-1:111122223333:layer:batch-acme-*",
        "arn:aws:rds:ap-northeast-1:111122223333:*",
    ],
)
def test_a_resource_that_is_taken_away_is_missed(resource: str) -> None:
    given = [
        {**each, "Resource": [arn for arn in as_list(each["Resource"]) if arn != resource]}
        for each in statements(DEPLOYERS["a tenant's"])
    ]

    assert any(refused("a tenant's", given))


def test_a_role_without_the_boundary_is_made_by_nobody() -> None:
    given = statements(DEPLOYERS["a tenant's"])
    role = "arn:aws:iam::111122223333:role/batch-acme-CallApiRole-1A2B3C4D5E6F"
    other = {"iam:PermissionsBoundary": "arn:aws:iam::111122223333:policy/mine"}

    assert not allowed(given, Call("iam:CreateRole", role))
    assert not allowed(given, Call("iam:CreateRole", role, other))


# --- what is left out -----------------------------------------------------------------------------


@pytest.mark.parametrize("left", OF_NO_PROPERTY, ids=lambda left: f"{left.kind} {left.property}")
def test_what_is_left_out_for_a_property_is_left_out_while_no_resource_has_it(left: Left) -> None:
    having = [
        name
        for deployer in DEPLOYERS.values()
        for _, stack in stacks(ROOT / deployer.makes)
        for name, resource in stack.resources().items()
        if resource["Type"] == f"AWS::{left.kind}"
        and left.property in resource.get("Properties", {})
    ]

    assert having == []


def test_nothing_is_left_out_that_nobody_calls() -> None:
    called = {(kind, action) for name in DEPLOYERS for kind, action, _ in needed(name)}

    assert [
        left for left in LEFT if not any(left.covers(kind, action) for kind, action in called)
    ] == []


# --- as IAM does ----------------------------------------------------------------------------------


def statement(action: str, resource: str = "*", **more: Any) -> Json:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


@pytest.mark.parametrize(
    ("form", "action", "given"),
    [
        ("rds:*DBProxy*", "rds:CreateDBProxy", True),
        ("rds:*DBProxy*", "rds:DescribeDBProxies", False),
        ("rds:*DBProx*", "rds:DescribeDBProxies", True),
        ("RDS:describedbproxies", "rds:DescribeDBProxies", True),
        ("s3:Get?bject", "s3:GetObject", True),
        ("s3:Get?", "s3:GetObject", False),
        ("s3:[GP]*", "s3:GetObject", False),
        ("*", "s3:GetObject", True),
    ],
)
def test_a_form_is_read_as_iam_reads_it(form: str, action: str, given: bool) -> None:
    assert allowed([statement(form)], Call(action, "*")) is given


def test_a_resource_is_told_by_its_case_and_a_star_reaches_over_slashes() -> None:
    on = statement("s3:GetObject", "arn:aws:s3:::batch-*")

    assert applies(on, Call("s3:GetObject", "arn:aws:s3:::batch-a/b/c"))
    assert not applies(on, Call("s3:GetObject", "arn:aws:s3:::Batch-a/b"))
    assert not applies(on, Call("s3:GetObject", "*"))


def test_a_denial_wins() -> None:
    denied = {**statement("s3:*"), "Effect": "Deny"}

    assert not allowed([statement("s3:GetObject"), denied], Call("s3:GetObject", "*"))


@pytest.mark.parametrize(
    ("operator", "context", "given"),
    [
        ("StringEquals", {}, False),
        ("StringEquals", {"k": "a"}, True),
        ("StringEquals", {"k": "b"}, False),
        ("StringEqualsIfExists", {}, True),
        ("StringEqualsIfExists", {"k": "b"}, False),
        ("StringLike", {"k": "a"}, True),
    ],
)
def test_a_condition_is_about_what_aws_tells(
    operator: str, context: dict[str, str], given: bool
) -> None:
    on = statement("s3:GetObject", Condition={operator: {"k": "a"}})

    assert allowed([on], Call("s3:GetObject", "*", context)) is given


def test_a_condition_that_is_not_known_is_not_guessed() -> None:
    on = statement("s3:GetObject", Condition={"NumericLessThan": {"s3:TlsVersion": "1.2"}})

    with pytest.raises(ValueError, match="NumericLessThan"):
        allowed([on], Call("s3:GetObject", "*", {"s3:TlsVersion": "1.3"}))


def test_a_type_that_no_schema_has_handlers_for_is_not_passed_over() -> None:
    with pytest.raises(KeyError, match="AWS::EC2::ClientVpnEndpoint"):
        handlers.actions("AWS::EC2::ClientVpnEndpoint")


# --- what IAM and CloudFormation take -------------------------------------------------------------

# Characters without blanks. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
MANAGED_POLICY, INLINE_POLICIES, POLICIES_OF_A_ROLE = 6144, 10_240, 10
# Longer ones CloudFormation cuts, and the policies and trusts that go by names end.
NAME_OF_A_ROLE, NAME_OF_A_BUCKET, NAME_OF_A_FUNCTION = 64, 63, 64
LONGEST = {
    "TenantId": "t" * 24,
    "DatabaseUser": "d" * 32,
    "PipelineStack": "p" * 32,
    "PermissionsBoundaryArn": f"arn:aws:iam::111122223333:policy/batch-{'t' * 24}-boundary",
}
NAMES = {
    "template.yaml": f"batch-{'t' * 24}",
    "access.yaml": f"access-{'t' * 24}",
    "pipeline.yaml": "p" * 32,
    "pipeline-access.yaml": f"{'p' * 32}-access",
}


def largest(file: str) -> Stack:
    """The stack of a template with the longest names that its parameters allow."""
    template = translate(yaml_parse((ROOT / file).read_text()))
    return Stack(template, GIVEN["full"] | LONGEST, NAMES[file])


@pytest.mark.parametrize("file", NAMES)
def test_policies_are_as_short_as_iam_takes_whatever_the_names(file: str) -> None:
    made = {"Resources": largest(file).resources()}

    def characters(*documents: Json) -> int:
        return sum(len(json.dumps(each, separators=(",", ":"))) for each in documents)

    for policy in of_type(made, "IAM::ManagedPolicy").values():
        assert characters(policy["Properties"]["PolicyDocument"]) <= MANAGED_POLICY
    for role in of_type(made, "IAM::Role").values():
        inline = [each["PolicyDocument"] for each in role["Properties"].get("Policies", [])]
        assert characters(*inline) <= INLINE_POLICIES
        assert len(role["Properties"].get("ManagedPolicyArns", [])) <= POLICIES_OF_A_ROLE


@pytest.mark.parametrize("file", ["template.yaml", "pipeline.yaml"])
def test_the_longest_names_are_whole_where_policies_go_by_them(file: str) -> None:
    stack = largest(file)
    longer = len("1A2B3C4D5E6F7") - len(SUFFIX)  # CloudFormation adds 12 characters, or 13
    limits = {"IAM::Role": NAME_OF_A_ROLE, "S3::Bucket": NAME_OF_A_BUCKET}
    names = {
        name: (len(stack.physical_name(name)) + longer, limits[kind])
        for name, resource in stack.resources().items()
        if (kind := resource["Type"].removeprefix("AWS::")) in limits
    }
    if file == "template.yaml":  # which the role that verifies may invoke
        invoked = len(stack.physical_name("MigrateFunction")) + longer
        names["MigrateFunction"] = (invoked, NAME_OF_A_FUNCTION)

    assert {name: size for name, (size, most) in names.items() if size > most} == {}
