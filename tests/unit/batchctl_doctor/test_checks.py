"""What is judged of an account and a tenant, fact by fact."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core.ports import ServerFacts
from batchctl.doctor.checks import (
    RIGHTS,
    WRITERS_PER_SHARD,
    Finding,
    Status,
    environments_needed,
    findings,
)
from batchctl.doctor.facts import (
    ApiAnswer,
    Builds,
    Facts,
    Network,
    Place,
    Quota,
    Refused,
    Secret,
    Unknown,
)
from batchctl.tenants.project import Project
from tests.support.checkout import ROOT
from tests.template.translation import properties, written

GIVEN = {
    "ApiBaseUrl": "https://api.example.com/v1",
    "ApiSecretArn": "arn:aws:secretsmanager:eu-west-1:111122223333:secret:batch/acme/api-1",
    "DatabaseName": "batch_acme",
    "DatabaseUser": "batch_acme",
    "DatabaseSecretArn": "arn:aws:secretsmanager:eu-west-1:111122223333:secret:batch/acme/db-1",
    "SubnetIds": "subnet-0a,subnet-0b",
    "SecurityGroupIds": "sg-0c",
}
PARAMETERS = {**Project(ROOT).parameters().defaults, **GIVEN}
PLACE = Place("acme", "batch-acme", "eu-west-1", PARAMETERS, wave=3)
SERVER = ServerFacts(
    "8.0.39", "STRICT_TRANS_TABLES", "utf8mb4", "utf8mb4_0900_ai_ci", frozenset(RIGHTS)
)
NETWORK = Network("vpc-0d", [], [], secrets_endpoint=False)
GOOD = Facts(
    place=PLACE,
    concurrency=1000,
    builds=Builds(Quota(60, "L-S"), Quota(60, "L-M")),
    database=SERVER,
    secrets={"DatabaseSecretArn": Secret(user="batch_acme"), "ApiSecretArn": Secret()},
    api=ApiAnswer(404, secret=True),
    network=NETWORK,
    missing_roles=[],
)


def lacking(**changes: Any) -> list[Finding]:
    """What is not as it should be when these facts are otherwise."""
    return [each for each in findings(replace(GOOD, **changes)) if each.status is not Status.OK]


def test_where_everything_is_as_it_should_be_everything_is_told_and_nothing_is_to_mend() -> None:
    found = findings(GOOD)

    assert {each.status for each in found} == {Status.OK}
    assert all(each.found and each.needed and not each.remedy for each in found)
    assert [each.about for each in found] == [
        "lambda concurrency",
        "codebuild builds at once",
        "route to S3",
        "route to Secrets Manager",
        "DatabaseSecretArn",
        "ApiSecretArn",
        *["database"] * 4,
        "api",
        "roles of the pipeline",
    ]


SCHEMA_PATTERN = r"`batch\_acme`"


@pytest.mark.parametrize(
    ("changes", "about", "status", "told", "remedy"),
    [
        (
            {"concurrency": 10},
            "lambda concurrency", "bad", "10, enough for ChunkConcurrency 1 and GroupConcurrency 7",
            "--quota-code L-B99A9384 --desired-value 83",
        ),
        (
            {"builds": Builds(Quota(1, "L-S"), Quota(1, "L-M"))},
            "codebuild builds at once", "note", "1 small", "--quota-code L-S --desired-value 3",
        ),
        (
            {"builds": Builds(Quota(60, "L-S"), Quota(0, "L-M"))},
            "codebuild builds at once", "note", "0 medium", "--quota-code L-M --desired-value 1",
        ),
        (
            {"network": replace(NETWORK, without_s3=["rtb-1"])},
            "route to S3", "bad", "rtb-1", "com.amazonaws.eu-west-1.s3 --route-table-ids rtb-1",
        ),
        (
            {"network": replace(NETWORK, without_internet=["rtb-1"])},
            "route to Secrets Manager", "bad", "rtb-1", "--subnet-ids subnet-0a subnet-0b",
        ),
        (
            {"secrets": {"DatabaseSecretArn": Secret(fault="of another shape")}},
            "DatabaseSecretArn", "bad", "another shape", "put-secret-value",
        ),
        (
            {"secrets": {"DatabaseSecretArn": Secret(user="root")}},
            "DatabaseSecretArn", "bad", "its username is root", '"username": "batch_acme"',
        ),
        (
            {"secrets": {"ApiSecretArn": Secret(fault="of another shape")}},
            "ApiSecretArn", "bad", "another shape", "--secret-string TOKEN",
        ),
        (
            {"database": Refused("the database is not strict: sql_mode ''")},
            "database", "bad", "not strict", "modify-db-cluster-parameter-group",
        ),
        (
            {"database": Refused("2003: cannot connect")},
            "database", "bad", "cannot connect", "/aws/lambda/batch-acme/migrate",
        ),
        (
            {"database": replace(SERVER, version="5.7.44")},
            "database", "bad", "5.7.44", "modify-db-cluster ",
        ),
        (
            {"database": replace(SERVER, version="10.5.9-MariaDB")},
            "database", "bad", "10.5.9", "modify-db-cluster ",
        ),
        (
            {"database": replace(SERVER, sql_mode="")},
            "database", "bad", "sql_mode empty", "ParameterName=sql_mode",
        ),
        (
            {"database": replace(SERVER, character_set="utf8mb3", collation="utf8mb3_bin")},
            "database", "bad", "utf8mb3_bin", "CHARACTER SET utf8mb4",
        ),
        (
            {"database": replace(SERVER, rights=frozenset(RIGHTS) - {"INSERT", "ALTER"})},
            "database", "bad", "batch_acme may not ALTER, INSERT", f"GRANT ALL ON {SCHEMA_PATTERN}",
        ),
        (
            {"database": replace(SERVER, rights=frozenset(), role="writer")},
            "database", "unknown", "by the role writer", "",
        ),
        ({"api": Refused("no answer: timed out")}, "api", "bad", "timed out", "curl "),
        ({"api": ApiAnswer(401, secret=True)}, "api", "bad", "401", "put-secret-value"),
        ({"api": ApiAnswer(401, secret=False)}, "api", "note", "without the tenant's secret", ""),
        ({"api": ApiAnswer(403, secret=True)}, "api", "note", "it is there", ""),
        ({"api": ApiAnswer(503, secret=True)}, "api", "note", "503", "curl "),
        (
            {"missing_roles": ["batch-acme-deploy"]},
            "roles of the pipeline", "note", "no batch-acme-deploy", "--template-file access.yaml",
        ),
        ({"database": Unknown("until deployed")}, "database", "unknown", "until deployed", ""),
        ({"concurrency": Unknown("denied")}, "lambda concurrency", "unknown", "denied", ""),
        ({"builds": Unknown("denied")}, "codebuild builds at once", "unknown", "denied", ""),
        ({"network": Unknown("denied")}, "route to S3", "unknown", "denied", ""),
        ({"missing_roles": Unknown("denied")}, "roles of the pipeline", "unknown", "denied", ""),
        (
            {"secrets": {"ApiSecretArn": Unknown("denied")}},
            "ApiSecretArn", "unknown", "denied", "",
        ),
    ],
)  # fmt: skip
def test_what_is_not_as_it_should_be_is_one_line_with_the_command_that_mends_it(
    changes: dict[str, Any], about: str, status: str, told: str, remedy: str
) -> None:
    (found,) = lacking(**changes)

    assert (found.about, found.status) == (about, status)
    assert told in found.found
    assert remedy in found.remedy
    for command in found.remedy.splitlines():
        assert shlex.split(command)[0] in ("aws", "curl")


def test_what_does_not_matter_to_a_tenant_is_not_told() -> None:
    iam = replace(PLACE, parameters={**PARAMETERS, "DatabaseSecretArn": ""}, wave=None)
    network = replace(NETWORK, without_internet=["rtb-1"])

    told = {each.about for each in findings(replace(GOOD, place=iam, network=network))}
    assert not {"route to Secrets Manager", "codebuild builds at once"} & told
    assert not {each.about for each in findings(replace(GOOD, network=None))} & {"route to S3"}


@given(
    chunks=st.integers(1, 40),
    groups=st.integers(1, 40),
    shards=st.integers(1, 100),
    reserved=st.integers(0, 1600),
)
def test_a_run_and_what_must_stay_unreserved_fit_exactly_into_what_is_needed(
    chunks: int, groups: int, shards: int, reserved: int
) -> None:
    sizes = {
        "ChunkConcurrency": str(chunks),
        "GroupConcurrency": str(groups),
        "StreamShards": str(shards),
        "ReservedConcurrency": str(reserved),
    }
    place = replace(PLACE, parameters={**PARAMETERS, **sizes})
    needed = environments_needed(place)

    if reserved:
        assert needed - 2 * reserved >= max(100, 2 * shards + 1)
    else:
        assert needed == chunks * groups + 2 * shards + 1
    for concurrency, bad in ((needed, False), (needed - 1, True)):
        (found, *_) = findings(replace(GOOD, place=place, concurrency=concurrency))
        assert (found.status is Status.BAD) is bad


def test_the_writers_of_a_shard_are_as_many_as_the_template_says() -> None:
    events = properties(written(), "WriteRowsFunction")["Events"]

    (mapping,) = (each["Properties"] for each in events.values())
    assert mapping["ParallelizationFactor"] == WRITERS_PER_SHARD


@given(concurrency=st.integers(1, 200), shards=st.integers(1, 5))
def test_the_sizes_that_are_told_to_fit_do_fit(concurrency: int, shards: int) -> None:
    sizes = {"ChunkConcurrency": "40", "GroupConcurrency": "40", "StreamShards": str(shards)}
    place = replace(PLACE, parameters={**PARAMETERS, **sizes})
    (found, *_) = findings(replace(GOOD, place=place, concurrency=concurrency))

    told = re.search(r"ChunkConcurrency 1 and GroupConcurrency (\d+)", found.found)
    if told is None:
        assert concurrency <= 2 * shards + 1
        return
    smaller = {**sizes, "ChunkConcurrency": "1", "GroupConcurrency": told[1]}
    fitting = replace(PLACE, parameters={**PARAMETERS, **smaller})
    assert environments_needed(fitting) <= concurrency
