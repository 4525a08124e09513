"""Who may do what, to what: the whole of it, in one table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.template.translation import TEMPLATE, Json, of_type, properties, short, translated

OWN_ACCOUNT = {"StringEquals": {"s3:ResourceAccount": {"Ref": "AWS::AccountId"}}}

# Role or policy: {what it is given on: actions}. What is given under a condition of the template
# stands here too; `test_what_is_given_under_a_condition` knows which.
ALLOWED = {
    "TracingPolicy": {"*": "xray:PutTelemetryRecords xray:PutTraceSegments"},
    "DatabasePolicy": {
        "DatabaseSecretArn": "secretsmanager:GetSecretValue",
        "SecretsKeyArn": "kms:Decrypt",
        "arn:${AWS::Partition}:rds-db:${AWS::Region}:${AWS::AccountId}:dbuser:${Id}/${DatabaseUser}"
        " with Id": "rds-db:connect",
    },
    "NetworkPolicy": {
        "*": "ec2:AssignPrivateIpAddresses ec2:CreateNetworkInterface ec2:DeleteNetworkInterface "
        "ec2:DescribeNetworkInterfaces ec2:DescribeSubnets ec2:UnassignPrivateIpAddresses",
    },
    "ListUsersRole": {
        "ListUsersLogGroup.Arn": "logs:CreateLogStream logs:PutLogEvents",
        "${PayloadBucket.Arn}/runs/*/chunks/*": "s3:PutObject",
        "DataKeyArn": "kms:Decrypt kms:GenerateDataKey",
    },
    "CallApiRole": {
        "CallApiLogGroup.Arn": "logs:CreateLogStream logs:PutLogEvents",
        "${PayloadBucket.Arn}/runs/*/chunks/*": "s3:GetObject",
        "${PayloadBucket.Arn}/runs/*/claims/*": "s3:PutObject",
        "${PayloadBucket.Arn}/runs/*/breaker": "s3:GetObject s3:PutObject",
        "${PayloadBucket.Arn}/runs/*/asked/*": "s3:GetObject s3:PutObject",
        "PayloadBucket.Arn": "s3:ListBucket",
        "ApiSecretArn": "secretsmanager:GetSecretValue",
        "SecretsKeyArn": "kms:Decrypt",
        "DataKeyArn": "kms:Decrypt kms:GenerateDataKey",
    },
    "ProcessUsersRole": {
        "ProcessUsersLogGroup.Arn": "logs:CreateLogStream logs:PutLogEvents",
        "${PayloadBucket.Arn}/runs/*/claims/*": "s3:GetObject",
        "PayloadBucket.Arn": "s3:ListBucket",
        "RowStream.Arn": "kinesis:PutRecords",
        "DataKeyArn": "kms:Decrypt kms:GenerateDataKey",
    },
    "WriteRowsRole": {
        "WriteRowsLogGroup.Arn": "logs:CreateLogStream logs:PutLogEvents",
        "RowStream.Arn": "kinesis:DescribeStream kinesis:DescribeStreamSummary kinesis:GetRecords "
        "kinesis:GetShardIterator kinesis:ListShards",
        "${PayloadBucket.Arn}/quarantine/*": "s3:PutObject",
        "${PayloadBucket.Arn}/aws/lambda/*": "s3:PutObject",
        "PayloadBucket.Arn": "s3:ListBucket",
        "DataKeyArn": "kms:Decrypt kms:GenerateDataKey",
    },
    "FinishRunRole": {
        "FinishRunLogGroup.Arn": "logs:CreateLogStream logs:PutLogEvents",
        "${PayloadBucket.Arn}/runs/*/chunks/*": "s3:GetObject",
        "PayloadBucket.Arn": "s3:ListBucket",
        "DataKeyArn": "kms:Decrypt",
    },
    "MigrateRole": {
        "MigrateLogGroup.Arn": "logs:CreateLogStream logs:PutLogEvents",
        "DataKeyArn": "kms:Decrypt",
    },
    "BatchMachineRole": {
        "${ListUsersFunction.Arn}:*": "lambda:InvokeFunction",
        "${CallApiFunction.Arn}:*": "lambda:InvokeFunction",
        "${ProcessUsersFunction.Arn}:*": "lambda:InvokeFunction",
        "${FinishRunFunction.Arn}:*": "lambda:InvokeFunction",
        "*": "logs:CreateLogDelivery logs:DeleteLogDelivery logs:DescribeLogGroups "
        "logs:DescribeResourcePolicies logs:GetLogDelivery logs:ListLogDeliveries "
        "logs:PutResourcePolicy logs:UpdateLogDelivery xray:GetSamplingRules "
        "xray:GetSamplingTargets xray:PutTelemetryRecords xray:PutTraceSegments",
    },
    "ScheduleRole": {
        "BatchMachine": "states:StartExecution",
        "ScheduleDeadLetterQueue.Arn": "sqs:SendMessage",
        "DataKeyArn": "kms:Decrypt kms:GenerateDataKey",
    },
    "DatabaseProxyRole": {
        "DatabaseProxySecretArn": "secretsmanager:GetSecretValue",
        "SecretsKeyArn": "kms:Decrypt",
    },
}
USERS_OF_THE_DATA_KEY = [name for name, given in ALLOWED.items() if "DataKeyArn" in given]
DATABASE = ["TracingPolicy", "DatabasePolicy", "UseVpc: NetworkPolicy"]
SHARED = {
    "ListUsersRole": DATABASE,
    "CallApiRole": ["TracingPolicy"],
    "ProcessUsersRole": ["TracingPolicy"],
    "WriteRowsRole": DATABASE,
    "FinishRunRole": DATABASE,
    "MigrateRole": DATABASE,
}


def statements(template: Json, name: str) -> Iterator[tuple[str, Json]]:
    """The statements of a role or a policy, each with the condition it is given under."""
    values = properties(template, name)
    documents = [values.get("PolicyDocument", {"Statement": []})]
    documents += [policy["PolicyDocument"] for policy in values.get("Policies", [])]
    for document in documents:
        for statement in document["Statement"]:
            if "Fn::If" in statement:
                condition, *branches = statement["Fn::If"]
                for mark, branch in zip(("", "not "), branches, strict=True):
                    if branch != {"Ref": "AWS::NoValue"}:
                        yield mark + condition, branch
            else:
                yield "", statement


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def granted(template: Json, name: str) -> dict[str, str]:
    """What a role or a policy allows, in the form of the table."""
    found: dict[str, set[str]] = {}
    for _, statement in statements(template, name):
        if statement["Effect"] == "Allow":
            for resource in as_list(statement["Resource"]):
                found.setdefault(short(resource), set()).update(as_list(statement["Action"]))
    return {resource: " ".join(sorted(actions)) for resource, actions in found.items()}


def test_every_role_may_do_exactly_what_the_table_says() -> None:
    template = translated()
    names = [*of_type(template, "IAM::Role"), *of_type(template, "IAM::ManagedPolicy")]

    assert {name: granted(template, name) for name in names} == ALLOWED


def test_functions_share_the_policies_that_the_table_says() -> None:
    template = translated()

    def said(policy: Json) -> str:
        if "Fn::If" in policy:
            return f"{policy['Fn::If'][0]}: {short(policy['Fn::If'][1])}"
        return short(policy)

    assert {
        name: [said(policy) for policy in role["Properties"]["ManagedPolicyArns"]]
        for name, role in of_type(template, "IAM::Role").items()
        if "ManagedPolicyArns" in role["Properties"]
    } == SHARED


def test_what_is_given_under_a_condition() -> None:
    template = translated()
    names = [*of_type(template, "IAM::Role"), *of_type(template, "IAM::ManagedPolicy")]

    assert {
        (name, statement["Sid"]): condition
        for name in names
        for condition, statement in statements(template, name)
        if condition
    } == {
        ("DatabasePolicy", "ReadDatabaseSecret"): "UseDatabaseSecret",
        ("DatabasePolicy", "Connect"): "not UseDatabaseSecret",
        ("DatabasePolicy", "DecryptDatabaseSecret"): "UseDatabaseSecretWithKey",
        ("CallApiRole", "ReadApiSecret"): "UseApiSecret",
        ("CallApiRole", "DecryptApiSecret"): "UseApiSecretWithKey",
        ("DatabaseProxyRole", "DecryptDatabaseSecret"): "UseSecretsKey",
        **dict.fromkeys(((role, "UseTheDataKey") for role in USERS_OF_THE_DATA_KEY), "UseDataKey"),
    }


def test_the_database_is_named_by_the_resource_id_of_its_proxy() -> None:
    template = translated()
    (resource,) = (
        statement["Resource"]
        for _, statement in statements(template, "DatabasePolicy")
        if statement["Sid"] == "Connect"
    )
    chosen = resource["Fn::Sub"][1]["Id"]
    arn = "arn:aws:rds:ap-northeast-1:111122223333:db-proxy:prx-0123456789abcdef0"

    condition, of_new, of_given = chosen["Fn::If"]
    index, parts = of_new["Fn::Select"]
    separator, source = parts["Fn::Split"]

    assert condition == "CreateProxy"
    assert short(source) == "DatabaseProxy.DBProxyArn"
    assert arn.split(separator)[int(index)] == "prx-0123456789abcdef0"
    assert short(of_given) == "DatabaseResourceId"


def test_objects_are_given_in_the_own_account_only() -> None:
    template = translated()
    statements_on_s3 = [
        statement
        for name in of_type(template, "IAM::Role")
        for _, statement in statements(template, name)
        if any(action.startswith("s3:") for action in as_list(statement["Action"]))
    ]

    assert statements_on_s3
    assert all(statement["Condition"] == OWN_ACCOUNT for statement in statements_on_s3)


def test_a_key_is_given_through_the_services_that_use_it_only() -> None:
    template = translated()
    names = [*of_type(template, "IAM::Role"), *of_type(template, "IAM::ManagedPolicy")]
    services = {
        (name, short(statement["Resource"])): " ".join(
            short(service).split(".")[0]
            for service in as_list(statement["Condition"]["StringEquals"]["kms:ViaService"])
        )
        for name in names
        for _, statement in statements(template, name)
        if "kms:" in str(statement["Action"])
    }

    secrets = ("DatabasePolicy", "CallApiRole", "DatabaseProxyRole")
    assert services == {
        **{(name, "SecretsKeyArn"): "secretsmanager" for name in secrets},
        ("ListUsersRole", "DataKeyArn"): "lambda s3",
        ("CallApiRole", "DataKeyArn"): "lambda s3",
        ("ProcessUsersRole", "DataKeyArn"): "kinesis lambda s3",
        ("WriteRowsRole", "DataKeyArn"): "kinesis lambda s3",
        ("FinishRunRole", "DataKeyArn"): "lambda s3",
        ("MigrateRole", "DataKeyArn"): "lambda",
        ("ScheduleRole", "DataKeyArn"): "sqs",
    }


def test_network_interfaces_are_denied_to_the_functions_own_code() -> None:
    allow, deny = (statement for _, statement in statements(translated(), "NetworkPolicy"))

    assert (allow["Effect"], deny["Effect"]) == ("Allow", "Deny")
    assert allow["Action"] == deny["Action"]
    assert list(deny["Condition"]["ArnLike"]) == ["lambda:SourceFunctionArn"]


def without_reason(text: str) -> list[str]:
    """The resources of the file that allow something on "*" more often than they say why."""
    wrong = []
    for block in re.split(r"\n\n(?=  (?:#|\w))", text):
        allowed = len(re.findall(r"Effect: Allow\n(?:.*\n)*?\s+Resource: (.*)", block))
        stars = len(re.findall(r'Resource: "\*"', block)) - block.count("Effect: Deny")
        if allowed and stars > block.count('# "*": '):
            wrong.append(block.strip().splitlines()[0])
    return wrong


def test_every_star_has_its_reason_beside_it() -> None:
    text = TEMPLATE.read_text()

    assert 'Resource: "*"' in text
    assert without_reason(text) == []


@pytest.mark.parametrize("reason", ['# "*": traces are no resources.', '# "*": log delivery'])
def test_a_star_without_a_reason_is_found(reason: str) -> None:
    assert without_reason(TEMPLATE.read_text().replace(reason, "# ", 1))
