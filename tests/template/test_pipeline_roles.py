"""What CodePipeline does for an action, it does as a role that may.

Nothing here makes a pipeline, and the rehearsal only plays one. So each action is compared with
what its page in the user guide says that its role needs.
https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.template.fleets import fleet_of, fleet_with
from tests.template.iam import Call, allowed, as_list, matches
from tests.template.rendered import ACCOUNT, ARTIFACT_KEY, GIVEN, PSEUDO, Stack, policies, render
from tests.template.translation import ROOT, Json

PLACE = f"{PSEUDO['AWS::Region']}:{ACCOUNT}"
BUCKET = "arn:aws:s3:::batch-pipeline-artifacts-1a2b3c4d5e6f"
OBJECT = f"{BUCKET}/batch-pipeline-Pipe/Package/0a1b2c3"
STACK = f"arn:aws:cloudformation:{PLACE}:stack/{{StackName}}/0a1b2c3d"
# Of an action by its category, provider and mode: what it calls on what. Names in braces are of its
# configuration.
NEEDS: Mapping[str, Mapping[str, str]] = {
    "Source CodeStarSourceConnection": {
        "{ConnectionArn}": "codeconnections:UseConnection",
        OBJECT: "s3:PutObject",
    },
    "Source S3": {
        "arn:aws:s3:::{S3Bucket}": "s3:GetBucketAcl s3:GetBucketLocation s3:GetBucketVersioning "
        "s3:ListBucket",
        "arn:aws:s3:::{S3Bucket}/{S3ObjectKey}": "s3:GetObject s3:GetObjectTagging "
        "s3:GetObjectVersion s3:GetObjectVersionTagging",
        OBJECT: "s3:PutObject",
    },
    "Build CodeBuild": {
        f"arn:aws:codebuild:{PLACE}:project/{{ProjectName}}": "codebuild:BatchGetBuilds "
        "codebuild:StartBuild",
        OBJECT: "s3:GetObject s3:GetObjectVersion",
    },
    "Test CodeBuild": {
        f"arn:aws:codebuild:{PLACE}:project/{{ProjectName}}": "codebuild:BatchGetBuilds "
        "codebuild:StartBuild",
    },
    "Deploy CloudFormation CREATE_UPDATE": {
        STACK: "cloudformation:CreateStack cloudformation:DescribeStackEvents "
        "cloudformation:DescribeStacks cloudformation:UpdateStack",
        "{RoleArn}": "iam:PassRole",
        OBJECT: "s3:GetObject s3:GetObjectVersion",
    },
    "Deploy CloudFormation CHANGE_SET_REPLACE": {
        STACK: "cloudformation:CreateChangeSet cloudformation:DeleteChangeSet "
        "cloudformation:DescribeChangeSet cloudformation:DescribeStacks",
        "{RoleArn}": "iam:PassRole",
        OBJECT: "s3:GetObject s3:GetObjectVersion",
        ARTIFACT_KEY: "kms:Decrypt",
    },
    "Deploy CloudFormation CHANGE_SET_EXECUTE": {
        STACK: "cloudformation:DescribeChangeSet cloudformation:DescribeStackEvents "
        "cloudformation:DescribeStacks cloudformation:ExecuteChangeSet",
    },
    "Deploy S3": {"arn:aws:s3:::{BucketName}/{ObjectKey}": "s3:PutObject"},
    "Invoke CodePipeline": {
        f"arn:aws:codepipeline:{PLACE}:{{PipelineName}}": "codepipeline:StartPipelineExecution"
    },
    "Approval Manual": {"{NotificationArn}": "sns:Publish"},
}


def actions(template: Json) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """The kind, the role and the configuration of each action of each pipeline."""
    for resource in Stack(template, GIVEN["full"], "batch-pipeline").resources().values():
        if resource["Type"] == "AWS::CodePipeline::Pipeline":
            for stage in resource["Properties"]["Stages"]:
                for action in stage["Actions"]:
                    kind, told = action["ActionTypeId"], action.get("Configuration", {})
                    words = (kind["Category"], kind["Provider"], told.get("ActionMode", ""))
                    yield " ".join(filter(None, words)), action.get("RoleArn", ""), told


PIPELINES = [yaml_parse(fleet_with("acme", ACCOUNT)), yaml_parse(fleet_of(200))]
EVERY = [each for template in PIPELINES for each in actions(template)]


def statements(template: str, role: str) -> list[Json]:
    rendered = dict(render(ROOT / template))["full"]
    return [
        statement
        for name, document in policies(rendered)
        if name.startswith(f"{role}.")
        for statement in document["Statement"]
    ]


# access.yaml is rendered for this one.
DEPLOY_ROLE = f"arn:aws:iam::{ACCOUNT}:role/batch-acme-deploy"
ROLES = {
    "": statements("pipeline.yaml", "PipelineRole"),
    DEPLOY_ROLE: statements("access.yaml", "DeployRole"),
}


def refused(kind: str, told: Mapping[str, Any], given: list[Json]) -> list[str]:
    """What a role could not do of an action."""
    told = {**told, "StackName": told.get("StackName", "")}
    passing = {"iam:PassedToService": "cloudformation.amazonaws.com"}
    calls = [
        Call(action, form.format(**told), passing if action == "iam:PassRole" else {})
        for form, called in NEEDS[kind].items()
        for action in called.split()
    ]
    return [str(call) for call in calls if not allowed(given, call)]


@pytest.mark.parametrize("kind", NEEDS)
def test_what_codepipeline_does_for_an_action_its_role_may(kind: str) -> None:
    tried = [(role, told) for each, role, told in EVERY if each == kind and role in ROLES]

    assert tried
    assert [said for role, told in tried for said in refused(kind, told, ROLES[role])] == []


def test_no_action_is_of_a_kind_that_nothing_is_known_of() -> None:
    assert {kind for kind, _, _ in EVERY} == set(NEEDS)


def test_the_role_of_the_pipeline_may_take_on_that_of_every_action() -> None:
    roles = {role for _, role, _ in EVERY if role}

    assert DEPLOY_ROLE in roles
    assert [role for role in roles if not allowed(ROLES[""], Call("sts:AssumeRole", role))] == []


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        (kind, action)
        for kind, on in NEEDS.items()
        for said in on.values()
        for action in said.split()
    ],
)
def test_an_action_that_is_taken_away_is_missed(kind: str, action: str) -> None:
    role, told = next((role, told) for each, role, told in EVERY if each == kind and role in ROLES)
    given = [
        {**each, "Action": [form for form in as_list(each["Action"]) if not matches(form, action)]}
        for each in ROLES[role]
    ]

    assert any(said.startswith(f"{action} ") for said in refused(kind, told, given))
