"""The templates with every function worked out, for the gates that understand none.

    python -m tests.template.rendered FOLDER TEMPLATE...

Each is written twice, with every optional parameter given (`full`) and with none (`bare`), so that
both sides of a condition are seen: FOLDER/templates/NAME.full.json, and the policies of its roles,
each by itself, in FOLDER/policies.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from batchctl.tenants.parameters import text
from tests.template.translation import Json, of_type, translate

ACCOUNT = "111122223333"
SECRET = f"arn:aws:secretsmanager:ap-northeast-1:{ACCOUNT}:secret:batch/acme/database-AbCdEf"
KEY = f"arn:aws:kms:ap-northeast-1:{ACCOUNT}:key/0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"
ARTIFACT_KEY = f"arn:aws:kms:ap-northeast-1:{ACCOUNT}:key/1a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"
REQUIRED = {
    "TenantId": "acme",
    "ApiBaseUrl": "https://api.example.com",
    "DatabaseUser": "batch_acme",
    "PipelineAccount": ACCOUNT,
    "ArtifactsArn": "arn:aws:s3:::batch-pipeline-artifacts-1a2b3c4d5e6f",
    "ArtifactKeyArn": ARTIFACT_KEY,
    "ConnectionArn": f"arn:aws:codestar-connections:ap-northeast-1:{ACCOUNT}:connection/0a1b",
    "S3PrefixListId": "pl-0123456789abcdef0",
}
OPTIONAL = {
    "PermissionsBoundaryArn": f"arn:aws:iam::{ACCOUNT}:policy/batch-acme-boundary",
    "ReservedConcurrency": "80",
    # A connection is of one of two services, by its age.
    "ConnectionArn": f"arn:aws:codeconnections:ap-northeast-1:{ACCOUNT}:connection/0a1b2c3d",
    "AlarmTopicArn": f"arn:aws:sns:ap-northeast-1:{ACCOUNT}:alarms",
    "PageTopicArn": f"arn:aws:sns:ap-northeast-1:{ACCOUNT}:pages",
    "ApiSecretArn": SECRET,
    "DatabaseEndpoint": "db.example.com",
    "DatabaseSecretArn": SECRET,
    "SecretsKeyArn": KEY,
    "DataKeyArn": KEY,
    "CreateDatabaseProxy": "true",
    "CreateDataKey": "true",
    "DatabaseClusterIdentifier": "users",
    "DatabaseInstanceIdentifier": "users",
    "DatabaseProxySecretArn": SECRET,
    "DatabaseSecurityGroupId": "sg-0123456789abcdef0",
    "VpcId": "vpc-0123456789abcdef0",
    "SubnetIds": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
    "SecurityGroupIds": "sg-0123456789abcdef0",
}
GIVEN = {"bare": REQUIRED, "full": REQUIRED | OPTIONAL}
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": "ap-northeast-1",
    "AWS::URLSuffix": "amazonaws.com",
}
# What a stack of each template is called.
STACKS = {
    "template": "batch-acme",
    "access": "access-acme",
    "pipeline": "batch-pipeline",
    "pipeline-access": "batch-pipeline-access",
    "foundation": "batch-foundation",
}
# What a reference to the ARN of a resource becomes; any other attribute is named by the logical id.
ARNS = {
    "CodeBuild::Project": "codebuild:{place}:project/{name}",
    "IAM::ManagedPolicy": "iam::{account}:policy/{name}",
    "IAM::Role": "iam::{account}:role/{name}",
    "KMS::Key": "kms:{place}:key/{name}",
    "Kinesis::Stream": "kinesis:{place}:stream/{name}",
    "Lambda::Function": "lambda:{place}:function:{name}",
    "Logs::LogGroup": "logs:{place}:log-group:{name}:*",
    "RDS::DBProxy": "rds:{place}:db-proxy:prx-0123456789abcdef0",
    "S3::Bucket": "s3:::{name}",
    "SNS::Topic": "sns:{place}:{name}",
    "SQS::Queue": "sqs:{place}:{name}",
    "StepFunctions::StateMachine": "states:{place}:stateMachine:{name}",
}
# The property that names a resource. Without it, or without such a property, CloudFormation does.
NAMED_BY = {
    "CloudWatch::Alarm": "AlarmName",
    "CloudWatch::CompositeAlarm": "AlarmName",
    "CloudWatch::Dashboard": "DashboardName",
    "IAM::ManagedPolicy": "ManagedPolicyName",
    "IAM::Role": "RoleName",
    "Lambda::LayerVersion": "LayerName",
    "Logs::LogGroup": "LogGroupName",
    "RDS::DBProxy": "DBProxyName",
}
REF_IS_ARN = {"IAM::ManagedPolicy", "SNS::Topic", "StepFunctions::StateMachine"}
# What CloudFormation puts behind a name that it makes up.
SUFFIX = "1A2B3C4D5E6F"
NOTHING = object()


class Stack:
    """A template, the values of its parameters, and the name of its stack."""

    def __init__(self, template: Json, given: dict[str, str], stack: str = "batch-acme") -> None:
        self._template = template
        self._stack = stack
        parameters = template.get("Parameters", {})
        self._values: dict[str, Any] = {
            name: given.get(name, text(parameter.get("Default", "given")))
            for name, parameter in parameters.items()
        }
        for name, parameter in parameters.items():
            if parameter["Type"] == "CommaDelimitedList":
                self._values[name] = self._values[name].split(",")
        self._values |= PSEUDO | {
            "AWS::StackId": f"arn:aws:cloudformation:ap-northeast-1:{ACCOUNT}:stack/{stack}/0a1b",
            "AWS::StackName": stack,
        }
        self._functions: dict[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Fn::Cidr": lambda argument: [f"10.80.{n}.0/24" for n in range(int(argument[1]))],
            "Fn::FindInMap": self._find,
            "Fn::GetAZs": lambda _: ["ap-northeast-1a", "ap-northeast-1c"],
            "Fn::GetAtt": self._attribute,
            "Fn::If": self._either,
            "Fn::Join": self._join,
            "Fn::Select": self._select,
            "Fn::Split": self._split,
            "Fn::Sub": self._fill,
        }

    def resources(self) -> Json:
        """What is made, by logical id."""
        return {
            name: self.value({key: each for key, each in resource.items() if key != "Condition"})
            for name, resource in self._template["Resources"].items()
            if self._holds(resource.get("Condition"))
        }

    def value(self, written: Any) -> Any:
        """A value without functions; `NOTHING` where there would be none."""
        match written:
            case list():
                return [each for each in map(self.value, written) if each is not NOTHING]
            case {**values} if len(values) == 1 and (name := next(iter(values))) in self._functions:
                return self._functions[name](values[name])
            case {**values}:
                found = {key: self.value(each) for key, each in values.items()}
                return {key: each for key, each in found.items() if each is not NOTHING}
        return written

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NOTHING
        return self._values[name] if name in self._values else self._resource(name)

    def _attribute(self, path: str | list[str]) -> str:
        return self._resource(*(path.split(".", 1) if isinstance(path, str) else path))

    def _either(self, branches: list[Any]) -> Any:
        condition, yes, no = branches
        return self.value(yes if self._holds(condition) else no)

    def _fill(self, form: str | list[Any]) -> str:
        text, written = (form, {}) if isinstance(form, str) else form
        names = self.value(written)

        def put(found: re.Match[str]) -> str:
            name = found[1]
            if name in names:
                return str(names[name])
            return str(self._attribute(name) if "." in name else self._ref(name))

        return re.sub(r"\$\{([\w:.]+)\}", put, text)

    def _find(self, path: list[Any]) -> Any:
        found = self._template["Mappings"]
        for key in self.value(path):
            found = found[key]
        return found

    def _join(self, argument: list[Any]) -> str:
        between, parts = argument
        return str(between).join(map(str, self.value(parts)))

    def _split(self, argument: list[Any]) -> list[str]:
        between, whole = argument
        parts: list[str] = self.value(whole).split(between)
        return parts

    def _select(self, argument: list[Any]) -> Any:
        index, parts = argument
        return self.value(parts)[int(index)]

    def _holds(self, condition: Any) -> bool:
        match condition:
            case None:
                return True
            case str(name) | {"Condition": str(name)}:
                return self._holds(self._template["Conditions"][name])
            case {"Fn::Not": [one]}:
                return not self._holds(one)
            case {"Fn::And": [*all_of]}:
                return all(map(self._holds, all_of))
            case {"Fn::Or": [*any_of]}:
                return any(map(self._holds, any_of))
            case {"Fn::Equals": [one, other]}:
                return bool(self.value(one) == self.value(other))
        raise ValueError(f"a condition may not use {condition}")

    def _resource(self, name: str, attribute: str = "") -> str:
        kind = self._template["Resources"][name]["Type"].removeprefix("AWS::")
        if kind in ARNS and (attribute.endswith("Arn") or (not attribute and kind in REF_IS_ARN)):
            place = f"{PSEUDO['AWS::Region']}:{ACCOUNT}"
            return "arn:aws:" + ARNS[kind].format(
                name=self.physical_name(name), account=ACCOUNT, place=place
            )
        return f"{name}.{attribute}" if attribute else self.physical_name(name)

    def physical_name(self, name: str) -> str:
        """What a resource is called: as its properties say, or as CloudFormation makes up names.

        https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-name.html
        """
        resource = self._template["Resources"][name]
        kind = resource["Type"].removeprefix("AWS::")
        given = resource.get("Properties", {}).get(NAMED_BY.get(kind, ""))
        if given is not None:
            return str(self.value(given))
        if kind in ("CodeBuild::Project", "StepFunctions::StateMachine"):  # without the stack's
            return f"{name}-{SUFFIX}"
        whole = f"{self._stack}-{name}-{SUFFIX}"
        return whole.lower() if kind in ("S3::Bucket", "RDS::DBCluster") else whole


def stacks(path: Path, **always: str) -> Iterator[tuple[str, Stack]]:
    """The stack of a template file, with everything optional and without; `always` has both."""
    template = translate(yaml_parse(path.read_text("utf-8")))
    for kind, given in GIVEN.items():
        yield kind, Stack(template, given | always, STACKS.get(path.stem, "batch-acme"))


def render(path: Path) -> Iterator[tuple[str, Json]]:
    """A template file with and without everything optional."""
    serverless = "Transform" in yaml_parse(path.read_text("utf-8"))
    for kind, stack in stacks(path):
        metadata = {"Serverless": serverless, "Given": kind}
        yield kind, {"Metadata": metadata, "Resources": stack.resources()}


def policies(template: Json) -> Iterator[tuple[str, Json]]:
    """What the roles of a rendered template may do, policy by policy."""
    for name, role in of_type(template, "IAM::Role").items():
        for policy in role["Properties"].get("Policies", []):
            yield f"{name}.{policy['PolicyName']}", policy["PolicyDocument"]
    for name, policy in of_type(template, "IAM::ManagedPolicy").items():
        yield name, policy["Properties"]["PolicyDocument"]


def main() -> None:
    """Write what the gates read."""
    folder, *paths = map(Path, sys.argv[1:])
    for part in ("templates", "policies"):
        shutil.rmtree(folder / part, ignore_errors=True)
        (folder / part).mkdir(parents=True)
    for path in paths:
        for kind, template in render(path):
            target = folder / "templates" / f"{path.stem}.{kind}.json"
            target.write_text(json.dumps(template, indent=1))
            for name, policy in policies(template):
                target = folder / "policies" / f"{path.stem}.{name}.{kind}.json"
                target.write_text(json.dumps(policy, indent=1))


if __name__ == "__main__":
    main()
