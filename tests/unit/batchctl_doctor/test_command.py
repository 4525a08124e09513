"""`batchctl doctor` as a person types it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from batchctl.__main__ import build_app
from batchctl.commands import doctor
from batchctl.doctor.checks import Finding, Status
from batchctl.errors import BatchctlError
from batchctl.stacks import Stack
from batchctl.tenants.fleet import TENANTS_PER_STAGE
from batchctl.tenants.project import Project
from tests.support.checkout import ROOT

PROJECT = Project(ROOT)
CANARY = PROJECT.tenants(PROJECT.read())[0]
ACME = replace(CANARY, name="acme", wave=1, parameters={"ApiBaseUrl": "https://api.example.com"})
BAD = Finding("database", Status.BAD, "version 5.7", "MySQL 8.0", "aws rds modify-db-cluster")
FINE = Finding("api", Status.OK, "status 200", "an answer")


def test_a_tenant_that_is_not_deployed_is_looked_after_by_its_entry() -> None:
    place = doctor.place_of("batch-acme", ACME.region, None, [CANARY, ACME])

    assert (place.tenant, place.stack, place.wave) == ("acme", "batch-acme", 1)
    assert place.parameters["ApiBaseUrl"] == "https://api.example.com"
    assert place.parameters["StreamShards"] == "1"  # the template's default


def test_a_stack_is_looked_after_by_its_own_parameters() -> None:
    stack = Stack("batch-acme", "UPDATE_COMPLETE", {}, {"TenantId": "acme", "StreamShards": "7"})

    parameters = doctor.place_of("batch-acme", "eu-west-1", stack, ()).parameters

    assert parameters["StreamShards"] == "7"
    assert parameters["GroupConcurrency"] == "20"  # of a template that did not know it


def test_who_has_neither_a_stack_nor_an_entry_is_told_to_add_one() -> None:
    with pytest.raises(BatchctlError, match=r"no stack batch-nobody .*batchctl tenants add"):
        doctor.place_of("batch-nobody", "eu-west-1", None, [CANARY])


@pytest.mark.parametrize(("found", "status"), [([FINE], 0), ([FINE, BAD], 1)])
def test_the_status_says_whether_something_is_bad_and_json_says_all(
    monkeypatch: pytest.MonkeyPatch, found: list[Finding], status: int
) -> None:
    monkeypatch.setattr(doctor, "examine_locally", lambda *_: None)
    monkeypatch.setattr(doctor, "findings", lambda _: found)

    result = CliRunner().invoke(build_app(), ["doctor", "--json"])

    assert result.exit_code == status
    told: list[dict[str, Any]] = json.loads(result.stdout)
    assert [each["status"] for each in told] == [each.status for each in found]
    assert told[0].keys() == {"about", "status", "found", "needed", "remedy"}


def test_a_person_sees_each_command_on_a_line_of_its_own_however_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    commands = ["aws rds modify-db-cluster " + "--option value " * 20, "aws iam get-role"]
    bad = replace(BAD, remedy="\n".join(commands))
    monkeypatch.setattr(doctor, "examine_locally", lambda *_: None)
    monkeypatch.setattr(doctor, "findings", lambda _: [FINE, bad])

    result = CliRunner().invoke(build_app(), ["doctor"])

    first, second, *lines = result.stdout.rstrip("\n").splitlines()
    assert first.startswith("✔ api  status 200  needed: an answer")
    assert second.startswith("✘ database  version 5.7  needed: MySQL 8.0")
    assert [line.removeprefix("    ") for line in lines] == commands


def test_what_belongs_to_aws_needs_a_stack() -> None:
    result = CliRunner().invoke(build_app(), ["doctor", "--role", "arn"])

    assert result.exit_code == 2
    assert "--stack" in result.stderr


def test_as_many_builds_are_wanted_as_the_widest_stage_has_tenants() -> None:
    wave = [replace(ACME, name=f"t{number}") for number in range(40)]

    place = doctor.place_of("batch-t7", "eu-west-1", None, [CANARY, *wave])

    assert place.wave == TENANTS_PER_STAGE
