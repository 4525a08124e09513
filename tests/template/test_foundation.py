"""The foundation: what is closed, what is kept, and that tenants fit on it."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from batch_core.adapters.mysql_connection import STRICT_MODES
from batchctl.tenants.parameters import read_parameters
from tests.template.translation import ROOT, TEMPLATE, Json, of_type, short

# Values of no parameter: for the operator's own statements.
BY_HAND = {"DatabaseArn", "DatabaseAdministratorSecretArn"}


@cache
def foundation() -> Json:
    parsed: Json = yaml_parse((ROOT / "foundation.yaml").read_text())
    return parsed


def database() -> Json:
    values: Json = foundation()["Resources"]["Database"]["Properties"]
    return values


def test_nothing_leads_in_or_out_but_the_endpoint_of_s3() -> None:
    kinds = {resource["Type"] for resource in foundation()["Resources"].values()}
    doors = ("InternetGateway", "NatGateway", "VPNGateway", "EIP", "EC2::Route")

    assert [kind for kind in kinds if kind.endswith(doors)] == []
    (endpoint,) = of_type(foundation(), "EC2::VPCEndpoint").values()
    assert endpoint["Properties"]["VpcEndpointType"] == "Gateway"
    assert endpoint["Properties"]["RouteTableIds"] == [{"Ref": "RouteTable"}]


def test_the_endpoint_takes_own_credentials_to_own_buckets_only() -> None:
    (endpoint,) = of_type(foundation(), "EC2::VPCEndpoint").values()
    (statement,) = endpoint["Properties"]["PolicyDocument"]["Statement"]

    own = {"Ref": "AWS::AccountId"}
    wanted = {"aws:PrincipalAccount": own, "aws:ResourceAccount": own}
    assert statement["Condition"] == {"StringEquals": wanted}


def test_every_security_group_says_what_it_may_reach() -> None:
    groups = of_type(foundation(), "EC2::SecurityGroup")
    entries: list[Any] = []
    for group in groups.values():
        assert "SecurityGroupIngress" not in group["Properties"]
        entries += group["Properties"]["SecurityGroupEgress"]
    entries += [
        each["Properties"] for each in of_type(foundation(), "EC2::SecurityGroupEgress").values()
    ]

    assert {entry.get("FromPort") for entry in entries if "CidrIp" not in entry} == {443, 3306}


def test_the_subnets_are_private_and_in_two_zones() -> None:
    subnets = [each["Properties"] for each in of_type(foundation(), "EC2::Subnet").values()]

    assert [subnet["MapPublicIpOnLaunch"] for subnet in subnets] == [False, False]
    assert [subnet["AvailabilityZone"]["Fn::Select"][0] for subnet in subnets] == [0, 1]
    assert [subnet["CidrBlock"]["Fn::Select"][0] for subnet in subnets] == [0, 1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Engine", "aurora-mysql"),
        ("EnableHttpEndpoint", True),
        ("BackupRetentionPeriod", {"Ref": "BackupRetentionDays"}),
    ],
)
def test_the_database_is_set_up_with(name: str, value: Any) -> None:
    assert database()[name] == value


def test_the_database_speaks_utf8mb4() -> None:
    (group,) = of_type(foundation(), "RDS::DBClusterParameterGroup").values()
    parameters = group["Properties"]["Parameters"]

    assert parameters["character_set_server"] == "utf8mb4"


def test_outputs_are_parameters_of_a_tenant_and_exported_by_the_stacks_name() -> None:
    outputs = foundation()["Outputs"]

    assert set(outputs) - BY_HAND <= set(read_parameters(TEMPLATE).declared)
    for name, output in outputs.items():
        assert short(output["Export"]["Name"]) == f"${{AWS::StackName}}-{name}"


def test_a_tenant_on_the_foundation_is_a_combination_that_the_template_takes() -> None:
    given = dict.fromkeys(set(foundation()["Outputs"]) - BY_HAND, "given")
    given |= {"CreateDatabaseProxy": "true", "DatabaseProxySecretArn": "given"}

    assert read_parameters(TEMPLATE).broken_rules(given) == []


def test_the_database_refuses_values_that_do_not_fit_and_counts_in_utc() -> None:
    group = foundation()["Resources"]["DatabaseParameters"]["Properties"]["Parameters"]

    assert STRICT_MODES & set(group["sql_mode"].split(","))
    assert group["time_zone"] == "UTC"
