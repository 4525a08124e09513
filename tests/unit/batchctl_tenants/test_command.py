"""`batchctl tenants` as a person and as a program meets it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from batchctl.__main__ import build_app
from batchctl.tenants.project import Project

URL = ("--api-base-url", "https://globex.example.net")


def typed(project: Project, *words: str) -> Result:
    arguments = ["tenants", *words, "--checkout", str(project.root)]
    return CliRunner().invoke(build_app(), arguments, env={"COLUMNS": "80"})


def answered(project: Project, *words: str, status: int = 0) -> Any:
    result = typed(project, *words, "--json")
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


def test_the_list_is_a_table_that_cuts_nothing(project: Project) -> None:
    head, canary, acme = typed(project, "list").stdout.splitlines()

    assert canary.split() == [
        *("canary", "canary", "111122223333", "eu-west-1", "batch_canary"),
        "https://sandbox.example.com",
    ]
    assert acme.index("https://api.example.com") == head.index("API")


def test_the_list_for_a_program_has_everything(project: Project) -> None:
    canary, acme = answered(project, "list")

    assert (canary["name"], canary["wave"], canary["stack"]) == ("canary", 0, "batch-canary")
    assert acme["parameters"]["ScheduleMinutes"] == "15"


def test_check_asks_for_a_render_until_there_was_one(project: Project) -> None:
    before = typed(project, "check")
    typed(project, "render")
    after = typed(project, "check")

    assert (before.exit_code, after.exit_code) == (1, 0)
    assert "Type: batchctl tenants render" in before.output
    assert "2 tenants, a canary and 1 wave" in after.output


def test_check_tells_a_program_what_is_wrong_and_where(project: Project) -> None:
    project.file.write_text(project.file.read_text().replace("Minutes: 15", "Minutes: 3"))

    found = answered(project, "check", status=1)

    (problem,) = found["problems"]
    assert (found["valid"], problem["line"]) == (False, 26)


def test_render_writes_what_is_not_right_and_leaves_the_rest(project: Project) -> None:
    first = answered(project, "render")
    second = answered(project, "render")

    assert first["written"] == first["files"]
    assert second["written"] == []


def test_what_is_written_for_one_deployment_differs_in_the_digests_only(project: Project) -> None:
    typed(project, "render")
    usual = (project.root / "samconfig.toml").read_text()
    files = [project.root / name for name in ("one.toml", "other.toml")]

    for file in files:
        assert answered(project, "render", "--once", str(file))["written"] == [file.name]

    texts = [usual, *(file.read_text() for file in files)]
    digest = r"ParametersDigest=(\w+)"
    assert len({re.sub(digest, "", text) for text in texts}) == 1
    assert len({match for text in texts for match in re.findall(digest, text)}) == 3 * 2
    assert (project.root / "samconfig.toml").read_text() == usual


def test_a_tenant_is_added_with_a_schema_of_its_own_and_two_commands_to_type(
    project: Project,
) -> None:
    result = typed(project, "add", "big-co", "--wave", "2", *URL, "--set", "ScheduleMinutes=30")

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1:] == [
        "  make deploy TENANT=big-co",
        "  batchctl verify --stack batch-big-co --region eu-west-1",
    ]
    added = project.tenants(project.read())[-1]
    assert (added.name, added.wave, added.account) == ("big-co", 2, "111122223333")
    assert added.parameters["DatabaseName"] == "batch_big_co"
    assert "      ScheduleMinutes: 30\n" in project.file.read_text()


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("acme", "--wave", "1", *URL), 1, "is there already"),
        (("globex", "--wave", "5", *URL), 1, "no wave 4 before it"),
        (("globex", "--wave", "1", "--api-base-url", "globex"), 1, "https://host/path"),
        (("globex", "--wave", "1", *URL, "--set", "ChunkSize=0"), 1, "from 1 to 40000"),
        (("globex", "--wave", "1", *URL, "--set", "ChunkSize"), 2, "NAME=VALUE"),
        (("globex", "--wave", "1"), 2, "--api-base-url"),
        (("globex", *URL), 2, "--wave"),
    ],
)
def test_a_tenant_that_cannot_be_is_not_added(
    project: Project, words: tuple[str, ...], status: int, message: str
) -> None:
    before = project.file.read_text()

    result = typed(project, "add", *words)

    assert (result.exit_code, message in result.output) == (status, True), result.output
    assert project.file.read_text() == before


def test_removing_says_what_stays_and_what_to_do(project: Project) -> None:
    result = typed(project, "remove", "acme")

    assert result.exit_code == 0, result.output
    assert "aws cloudformation delete-stack --stack-name batch-acme --region eu-west-1" in (
        result.stdout
    )
    assert "the schema batch_acme" in result.stdout
    assert [tenant.name for tenant in project.tenants(project.read())] == ["canary"]


def test_the_canary_cannot_be_removed_before_another_is_named(project: Project) -> None:
    result = typed(project, "remove", "canary")

    assert result.exit_code == 1
    assert "Give wave 0 to one" in result.output
    assert len(project.tenants(project.read())) == 2


def test_removing_nobody_names_those_there_are(project: Project) -> None:
    result = typed(project, "remove", "initech")

    assert result.exit_code == 2
    assert "canary, acme" in result.output
