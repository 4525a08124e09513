"""Parameters say what they are and refuse what cannot work, before anything is deployed."""

from __future__ import annotations

import pytest

from batch_core import limits
from batchctl.tenants.parameters import Parameters, read_parameters
from tests.template.translation import TEMPLATE, Json, written

INTERFACE = written()["Metadata"]["AWS::CloudFormation::Interface"]
PARAMETERS: dict[str, Json] = written()["Parameters"]


def test_every_parameter_is_in_one_group_and_has_a_label() -> None:
    grouped = [name for group in INTERFACE["ParameterGroups"] for name in group["Parameters"]]
    labels = {name: label["default"] for name, label in INTERFACE["ParameterLabels"].items()}

    assert grouped == list(PARAMETERS)
    assert list(labels) == list(PARAMETERS)
    assert all(labels.values())


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_is_described_and_bounded(name: str) -> None:
    parameter = PARAMETERS[name]

    assert len(parameter["Description"]) > 20
    if parameter["Type"] == "Number":
        assert "AllowedValues" in parameter or {"MinValue", "MaxValue"} <= set(parameter)
    else:
        assert parameter["Type"] == "String"
        assert "AllowedValues" in parameter or {
            "AllowedPattern",
            "ConstraintDescription",
        } <= set(parameter)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_takes_its_own_default(name: str) -> None:
    parameter = PARAMETERS[name]
    if "Default" in parameter:
        assert accepts(parameter, str(parameter["Default"]))
    else:
        assert name in ("TenantId", "ApiBaseUrl")


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_is_used(name: str) -> None:
    template = written()
    used = str([template[part] for part in ("Globals", "Conditions", "Resources")])

    assert f"'Ref': '{name}'" in used or f"${{{name}}}" in used


def test_bounds_are_those_that_the_code_enforces() -> None:
    def bound(name: str, which: str) -> float:
        return float(PARAMETERS[name][which])

    assert bound("GroupConcurrency", "MaxValue") == limits.MAP_CONCURRENCY_QUOTA
    assert bound("ScheduleMinutes", "MinValue") * 60 > limits.RUN_SECONDS
    wide = bound("ChunkConcurrency", "MaxValue") * bound("GroupConcurrency", "MaxValue")
    assert bound("ReservedConcurrency", "MaxValue") == wide


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("TenantId", "demo", True),
        ("TenantId", "a" * 24, True),
        ("TenantId", "a" * 25, False),
        ("TenantId", "Demo", False),
        ("TenantId", "1st", False),
        ("TenantId", "", False),
        ("ApiBaseUrl", "https://api.example.com/v2", True),
        ("ApiBaseUrl", "http://127.0.0.1:8080/demo", True),
        ("ApiBaseUrl", "https://user:word@api.example.com", False),
        ("ApiBaseUrl", "https://api.example.com/?key=1", False),
        ("ApiBaseUrl", "ftp://api.example.com", False),
        ("ApiBaseUrl", "https://", False),
        ("ApiSecretArn", "arn:aws:secretsmanager:eu-west-1:111122223333:secret:a/b-AbCdEf", True),
        ("ApiSecretArn", "arn:aws-cn:secretsmanager:cn-north-1:111122223333:secret:a", True),
        ("ApiSecretArn", "arn:aws:secretsmanager:eu-west-1:111122223333:secret:*", False),
        ("ApiSecretArn", "my-secret", False),
        ("DatabaseEndpoint", "db.cluster-abc.eu-west-1.rds.amazonaws.com", True),
        ("DatabaseEndpoint", "db.example.com:3306", False),
        ("DatabaseResourceId", "prx-0123456789abcdef0", True),
        ("DatabaseResourceId", "cluster-ABCDEFGHIJKL", True),
        ("DatabaseResourceId", "my-proxy", False),
        ("DatabaseUser", "batch_demo", True),
        ("DatabaseUser", "batch*", False),
        ("SubnetIds", "subnet-0123456789abcdef0,subnet-0123456789abcdef1", True),
        ("SubnetIds", "subnet-0123456789abcdef0, subnet-0123456789abcdef1", False),
        ("SecurityGroupIds", "sg-0123456789abcdef0", True),
        ("SecurityGroupIds", "default", False),
        ("GroupConcurrency", "41", False),
        ("UsersPerInvocation", "0", False),
        ("ScheduleMinutes", "4", False),
        ("LogRetentionDays", "2", False),
        ("LogLevel", "WARNING", False),
    ],
)
def test_what_a_parameter_takes(name: str, value: str, taken: bool) -> None:
    assert accepts(PARAMETERS[name], value) is taken


def accepts(parameter: Json, value: str) -> bool:
    """Whether CloudFormation would take the value."""
    return Parameters({"It": parameter}, []).refusal("It", value) is None


# --- combinations ---------------------------------------------------------------------------------

SECRET = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:database-AbCdEf"
NETWORK = {"SubnetIds": "subnet-01234567", "SecurityGroupIds": "sg-01234567"}
PROXY = {
    **NETWORK,
    "CreateDatabaseProxy": "true",
    "VpcId": "vpc-01234567",
    "DatabaseClusterIdentifier": "users",
    "DatabaseProxySecretArn": SECRET,
    "DatabaseSecurityGroupId": "sg-76543210",
}
BY_PASSWORD = {"DatabaseEndpoint": "db.example.com", "DatabaseSecretArn": SECRET}
BY_IAM = {"DatabaseEndpoint": "db.example.com", "DatabaseResourceId": "prx-0abc"}


@pytest.mark.parametrize(
    "given",
    [
        BY_PASSWORD,
        BY_IAM,
        {**BY_IAM, **NETWORK},
        PROXY,
        {**PROXY, "DatabaseClusterIdentifier": "", "DatabaseInstanceIdentifier": "users"},
    ],
)
def test_a_combination_that_works_is_taken(given: dict[str, str]) -> None:
    assert refused(given) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"DatabaseSecretArn": SECRET}, "Give DatabaseEndpoint, or let the stack make a proxy"),
        ({"DatabaseEndpoint": "db.example.com"}, "Give either DatabaseSecretArn"),
        ({**BY_PASSWORD, "DatabaseResourceId": "prx-0abc"}, "Give either DatabaseSecretArn"),
        ({**BY_IAM, "DatabaseClusterIdentifier": "users"}, "go with CreateDatabaseProxy"),
        ({**BY_IAM, "DatabaseProxySecretArn": SECRET}, "go with CreateDatabaseProxy"),
        ({**BY_IAM, "SubnetIds": "subnet-01234567"}, "SubnetIds and SecurityGroupIds together"),
        ({**BY_IAM, "SecurityGroupIds": "sg-01234567"}, "SubnetIds and SecurityGroupIds together"),
        ({**PROXY, "VpcId": ""}, "A proxy needs VpcId"),
        ({**PROXY, "SubnetIds": "", "SecurityGroupIds": ""}, "A proxy needs VpcId"),
        ({**PROXY, "DatabaseSecurityGroupId": ""}, "A proxy needs VpcId"),
        ({**PROXY, "DatabaseProxySecretArn": ""}, "A proxy needs DatabaseProxySecretArn"),
        ({**PROXY, "DatabaseClusterIdentifier": ""}, "either DatabaseClusterIdentifier or"),
        ({**PROXY, "DatabaseInstanceIdentifier": "users"}, "either DatabaseClusterIdentifier or"),
        ({**PROXY, "DatabaseEndpoint": "db.example.com"}, "stay empty"),
        ({**PROXY, "DatabaseSecretArn": SECRET}, "stay empty"),
        ({**PROXY, "DatabaseResourceId": "prx-0abc"}, "stay empty"),
    ],
)
def test_a_combination_that_cannot_work_is_refused(given: dict[str, str], said: str) -> None:
    assert len(refused(given)) == 1
    assert said in refused(given)[0]


def refused(given: dict[str, str]) -> list[str]:
    """What CloudFormation would say to these parameters, by the template's rules."""
    return read_parameters(TEMPLATE).broken_rules(given)
