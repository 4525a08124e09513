"""The pipeline: once tested and packaged, then wave by wave, each tenant with its own roles."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from samtranslator.yaml_helper import yaml_parse

from batchctl.tenants.pipeline import ACCOUNTS_MAX
from tests.template.fleets import TENANTS, fleet_of
from tests.template.iam import Call, allowed, as_list
from tests.template.rendered import policies, render
from tests.template.translation import ROOT, Json, of_type, properties, short

WAVES = ["Canary", *(f"Wave{n + 1}" for n in range(max(t.wave for t in TENANTS)))]


@cache
def template(name: str) -> Json:
    parsed: Json = yaml_parse((ROOT / name).read_text())
    return parsed


def stages() -> dict[str, Json]:
    pipeline = properties(template("pipeline.yaml"), "Pipeline")
    return {stage["Name"]: stage for stage in pipeline["Stages"]}


def statements(name: str, kind: str) -> Iterator[Json]:
    for resource in of_type(template(name), kind).values():
        values = resource["Properties"]
        documents = [values["PolicyDocument"]] if "PolicyDocument" in values else []
        documents += [policy["PolicyDocument"] for policy in values.get("Policies", [])]
        for document in documents:
            yield from document["Statement"]


# --- the order of things --------------------------------------------------------------------------


def test_it_updates_itself_before_it_builds_and_asks_before_it_leaves_the_canary() -> None:
    later = ["Approve", *WAVES[1:]] if len(WAVES) > 1 else []
    assert list(stages()) == ["Source", "Pipeline", "Build", "Canary", *later]
    values = properties(template("pipeline.yaml"), "Pipeline")
    assert (values["PipelineType"], values["ExecutionMode"]) == ("V2", "QUEUED")
    (update,) = stages()["Pipeline"]["Actions"]
    assert update["Configuration"]["TemplatePath"] == "Source::pipeline.yaml"
    given = json.loads(short(update["Configuration"]["ParameterOverrides"]))
    assert set(given) == set(template("pipeline.yaml")["Parameters"])


@pytest.mark.parametrize("wave", WAVES)
def test_a_wave_that_fails_is_rolled_back_and_stops_the_next(wave: str) -> None:
    assert stages()[wave]["OnFailure"] == {"Result": "ROLLBACK"}


@pytest.mark.parametrize("wave", WAVES)
def test_tenants_of_a_wave_go_side_by_side_through_change_set_deployment_and_run(
    wave: str,
) -> None:
    members = [tenant for tenant in TENANTS if tenant.wave == WAVES.index(wave)]
    actions = {action["Name"]: action for action in stages()[wave]["Actions"]}

    assert len(actions) == 3 * len(members)
    for tenant in members:
        prepare, deploy, verify = (
            actions[f"{tenant.name}-{step}"] for step in ("prepare", "deploy", "verify")
        )
        assert [each["RunOrder"] for each in (prepare, deploy, verify)] == [1, 2, 3]
        role = f"arn:${{AWS::Partition}}:iam::{tenant.account}:role/{tenant.stack}-deploy"
        verifying = role.removesuffix("deploy") + "verify"
        assert short(prepare["RoleArn"]) == short(deploy["RoleArn"]) == role
        assert prepare["Configuration"]["ActionMode"] == "CHANGE_SET_REPLACE"
        assert prepare["Configuration"]["TemplatePath"] == "Package::template.yaml"
        assert prepare["Configuration"]["TemplateConfiguration"] == f"Package::{tenant.name}.json"
        assert prepare["Configuration"]["Capabilities"] == "CAPABILITY_IAM"
        assert deploy["Configuration"]["ActionMode"] == "CHANGE_SET_EXECUTE"
        variables = json.loads(short(verify["Configuration"]["EnvironmentVariables"]))
        assert {each["name"]: each["value"] for each in variables} == {
            "STACK": tenant.stack,
            "ROLE": verifying,
        }
        # With the wheels that were packaged, so that no mirror has a say in it.
        assert [each["Name"] for each in verify["InputArtifacts"]] == ["Source", "Package"]
        assert verify["Configuration"]["PrimarySource"] == "Source"


def test_two_hundred_tenants_are_what_cloudformation_reads_from_a_bucket() -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"""
    text = fleet_of(200)

    assert 51_200 < len(text.encode()) < 1_000_000
    assert list(of_type(yaml_parse(text), "CodePipeline::Pipeline")) == ["Pipeline", "Pipeline2"]
    policy = properties(yaml_parse(text), "ArtifactsPolicy")["PolicyDocument"]
    principal = '"arn:aws:iam::111122223333:root",'
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html
    assert len(json.dumps(policy)) + ACCOUNTS_MAX * len(principal) < 20 * 1024


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_every_template_that_is_deployed_without_a_bucket_is_small_enough(page: Path) -> None:
    commands = re.findall(r"aws cloudformation deploy (?:.*\\\n)*.*", page.read_text())
    files = [re.findall(r"--template-file (\S+)", command)[0] for command in commands]

    largest = {file: (ROOT / file).read_text() for file in files} | {"pipeline.yaml": fleet_of(200)}
    too_large = [file for file in files if len(largest[file].encode()) > 51_200]
    assert too_large == []


# --- what it runs ---------------------------------------------------------------------------------


def commands() -> Iterator[str]:
    build = yaml.safe_load((ROOT / "buildspec.yml").read_text())
    verify = properties(template("pipeline.yaml"), "VerifyProject")["Source"]["BuildSpec"]
    for spec in (build, yaml.safe_load(verify)):
        for phase in spec["phases"].values():
            yield from phase.get("commands", [])


def test_every_command_is_a_target_of_make() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    words = [command.split() for command in commands()]

    assert {word[0] for word in words} == {"make"}
    assert {word[1] for word in words} <= targets


def test_a_tenant_is_verified_with_what_was_packaged() -> None:
    (verify,) = (command for command in commands() if command.startswith("make verify "))

    assert 'WHEELS="$CODEBUILD_SRC_DIR_Package/client"' in verify
    # One asterisk would leave out what is in folders.
    assert yaml.safe_load((ROOT / "buildspec.yml").read_text())["artifacts"]["files"] == ["**/*"]


def test_it_is_packaged_once_after_everything_was_tested() -> None:
    said = [command.split()[1] for command in commands()]

    assert said == ["check", "test", "audit", "sbom", "package", "verify"]


def test_the_project_that_runs_the_tests_may_deploy_nothing() -> None:
    role = properties(template("pipeline.yaml"), "BuildRole")
    actions = [
        action
        for statement in role["Policies"][0]["PolicyDocument"]["Statement"]
        for action in [statement["Action"]]
    ]

    assert {str(each).split(":")[0].strip("['") for each in actions} == {"logs", "s3", "kms"}


@pytest.mark.parametrize("name", ["BuildProject", "VerifyProject"])
def test_a_project_is_encrypted_and_unprivileged(name: str) -> None:
    values = properties(template("pipeline.yaml"), name)

    assert values["Environment"]["PrivilegedMode"] is False
    assert short(values["EncryptionKey"]) == "ArtifactKey.Arn"


# --- what travels ---------------------------------------------------------------------------------


def test_the_bucket_is_under_the_key_and_kept() -> None:
    resource = template("pipeline.yaml")["Resources"]["Artifacts"]

    (rule,) = resource["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert short(rule["ServerSideEncryptionByDefault"]["KMSMasterKeyID"]) == "ArtifactKey.Arn"
    assert {resource["DeletionPolicy"], resource["UpdateReplacePolicy"]} == {"Retain"}


def test_other_accounts_may_read_at_most() -> None:
    policy = properties(template("pipeline.yaml"), "ArtifactsPolicy")["PolicyDocument"]
    (allowed,) = (s for s in policy["Statement"] if s["Effect"] == "Allow")

    assert allowed["Action"] == ["s3:GetObject", "s3:GetObjectVersion"]
    assert allowed["Principal"] == {"AWS": {"Fn::FindInMap": ["Tenants", "Accounts", "All"]}}


# --- who may deploy -------------------------------------------------------------------------------


def test_a_role_of_a_tenant_is_made_within_the_boundary_or_not_at_all() -> None:
    grants = {"iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"}
    grants |= {"iam:PutRolePermissionsBoundary", "iam:DetachRolePolicy", "iam:DeleteRolePolicy"}
    granting = [
        statement
        for statement in statements("access.yaml", "IAM::ManagedPolicy")
        if grants & set(statement["Action"])
    ]

    (only,) = granting
    assert grants == set(only["Action"])
    assert only["Condition"] == {"StringEquals": {"iam:PermissionsBoundary": {"Ref": "Boundary"}}}


def test_nobody_may_take_a_boundary_away_or_change_what_access_yaml_made() -> None:
    text = (ROOT / "access.yaml").read_text()
    own = {
        short(resource["Properties"].get(key))
        for resource in template("access.yaml")["Resources"].values()
        for key in ("RoleName", "ManagedPolicyName")
        if key in resource["Properties"]
    }

    assert "DeleteRolePermissionsBoundary" not in text
    assert len(own) == len(template("access.yaml")["Resources"])
    assert [name for name in own if re.search(r"(Role|Policy)-", name)] == []


@pytest.mark.parametrize(("role", "trusted"), [("Deploy", "Pipeline"), ("Verify", "Verify")])
def test_each_role_trusts_the_one_role_of_the_pipeline_that_acts_as_it(
    role: str, trusted: str
) -> None:
    (trust,) = properties(template("access.yaml"), f"{role}Role")["AssumeRolePolicyDocument"][
        "Statement"
    ]

    assert short(trust["Condition"]["ArnLike"]["aws:PrincipalArn"]).endswith(
        f":role/${{PipelineStack}}-{trusted}Role-*"
    )


def test_the_deploy_role_passes_one_role_to_cloudformation() -> None:
    (passing,) = (
        s for s in statements("access.yaml", "IAM::Role") if s["Action"] == "iam:PassRole"
    )
    assert short(passing["Resource"]) == "CloudFormationRole.Arn"


@pytest.mark.parametrize("file", ["access.yaml", "pipeline-access.yaml"])
@pytest.mark.parametrize("role", ["PipelineRole", "VerifyRole"])
def test_the_longest_name_of_a_pipeline_leaves_the_names_of_its_roles_whole(
    role: str, file: str
) -> None:
    """CloudFormation cuts what is longer than 64 characters, and what trusts it by name ends."""
    form = template(file)["Parameters"]["PipelineStack"]["AllowedPattern"]
    longest = max(n for n in range(1, 64) if re.fullmatch(form, "p" * n))

    assert len(f"{'p' * longest}-{role}-") + len("1A2B3C4D5E6F0") <= 64


def test_the_project_that_runs_packages_of_others_can_act_as_nobody_who_deploys() -> None:
    assumed = {
        role: [
            short(statement["Resource"])
            for statement in every(of_type(template("pipeline.yaml"), "IAM::Role")[role])
            if "sts:AssumeRole" in as_list(statement["Action"])
        ]
        for role in of_type(template("pipeline.yaml"), "IAM::Role")
    }

    assert {role: [arn.rpartition("-")[2] for arn in arns] for role, arns in assumed.items()} == {
        "PipelineRole": ["deploy"],
        "BuildRole": [],
        "VerifyRole": ["verify"],
    }


def test_the_roles_of_the_pipeline_are_within_a_boundary_that_no_push_changes() -> None:
    made = template("pipeline.yaml")["Resources"]
    roles = of_type(template("pipeline.yaml"), "IAM::Role")
    boundary = properties(template("pipeline-access.yaml"), "Boundary")["ManagedPolicyName"]

    assert [n for n, each in made.items() if each["Type"] == "AWS::IAM::ManagedPolicy"] == []
    assert {short(role["Properties"]["PermissionsBoundary"]) for role in roles.values()} == {
        "arn:${AWS::Partition}:iam::${AWS::AccountId}:policy/"
        + short(boundary).replace("PipelineStack", "AWS::StackName")
    }


@pytest.mark.parametrize(
    ("roles", "access"), [("pipeline", "pipeline-access"), ("template", "access")]
)
def test_a_boundary_lets_every_role_do_what_it_is_given(roles: str, access: str) -> None:
    """Action by action, on the resources that the role's policies name."""
    within = [
        {each: said for each, said in statement.items() if each != "Condition"}
        for statement in properties(rendered(access), "Boundary")["PolicyDocument"]["Statement"]
    ]
    given = [
        Call(action, resource)
        for _, document in policies(rendered(roles))
        for statement in document["Statement"]
        if statement["Effect"] == "Allow"
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    ]

    assert given
    assert [str(call) for call in given if not allowed(within, call)] == []


def rendered(stem: str) -> Json:
    return dict(render(ROOT / f"{stem}.yaml"))["full"]


def test_the_table_of_the_roles_has_all_of_them() -> None:
    page = (ROOT / "docs" / "pipeline.md").read_text()
    table = re.findall(r"(?m)^\| `([^`]+)` \|", page.partition("## Who may do what")[2])

    made = []
    for file in ("pipeline-access.yaml", "pipeline.yaml", "access.yaml"):
        for kind, name in (("IAM::Role", "RoleName"), ("IAM::ManagedPolicy", "ManagedPolicyName")):
            for logical_id, resource in of_type(template(file), kind).items():
                given = resource["Properties"].get(name, f"${{PipelineStack}}-{logical_id}-*")
                made.append(short(given))
    said = {"${TenantId}": "TENANT", "${PipelineStack}": "batch-pipeline"}
    for variable, value in said.items():
        made = [name.replace(variable, value) for name in made]

    assert sorted(table) == sorted(made)


def outside(statement: Json) -> list[Any]:
    """The resources of a statement that do not say whose they are."""
    named = ("batch-${TenantId}", "batch/${TenantId}/", "${DatabaseUser}", "BatchMachine-")
    resources = statement["Resource"]
    return [
        short(each)
        for each in (resources if isinstance(resources, list) else [resources])
        if not any(name in short(each) for name in named)
    ]


def test_what_a_tenants_roles_can_reach_is_the_tenants_but_for_what_has_no_name() -> None:
    document = properties(template("access.yaml"), "Boundary")["PolicyDocument"]

    left = {s["Sid"]: s for s in document["Statement"] if outside(s)}

    assert set(left) == {"KeysThroughServices", "WithoutNames"}
    assert "kms:ViaService" in str(left["KeysThroughServices"]["Condition"])
    services = {action.split(":")[0] for action in left["WithoutNames"]["Action"]}
    assert services == {"ec2", "logs", "xray"}


def every(value: Any) -> Iterator[Json]:
    """The statements anywhere in a value, those under a condition too."""
    if isinstance(value, dict) and {"Effect", "Action", "Resource"} <= value.keys():
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from every(each)
    elif isinstance(value, list):
        for each in value:
            yield from every(each)
