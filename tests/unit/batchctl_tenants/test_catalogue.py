"""What a tenant inherits, and what is said about a file that does not hold."""

from __future__ import annotations

import pytest

from batchctl.errors import BatchctlError
from batchctl.tenants.document import InvalidFileError, Problem
from batchctl.tenants.project import Project


def said(project: Project, *changes: tuple[str, str]) -> list[Problem]:
    """What is wrong with the file after some replacements."""
    text = project.file.read_text()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    project.file.write_text(text)
    with pytest.raises(InvalidFileError) as caught:
        project.tenants(project.read())
    return list(caught.value.problems)


def test_a_tenant_inherits_what_it_does_not_say_itself(project: Project) -> None:
    canary, acme = project.tenants(project.read())

    assert (canary.account, acme.account) == ("111122223333", "444455556666")
    assert (canary.region, acme.region) == ("eu-west-1", "eu-west-1")
    assert acme.tags == {"project": "batch", "cost-center": "4711"}
    assert acme.parameters == {
        "TenantId": "acme",
        "DatabaseEndpoint": "db.example.com",
        "DatabaseResourceId": "cluster-ABC",
        "ApiBaseUrl": "https://api.example.com",
        "ScheduleMinutes": "15",
        "ApiAllowPrivateAddresses": "false",
        "DatabaseName": "batch_acme",
        "DatabaseUser": "batch_acme",
        "ParametersDigest": acme.parameters["ParametersDigest"],
    }
    assert acme.stack == "batch-acme"


def test_the_digest_changes_with_every_parameter(project: Project) -> None:
    def digests() -> list[str]:
        return [t.parameters["ParametersDigest"] for t in project.tenants(project.read())]

    first = digests()
    project.file.write_text(project.file.read_text().replace("https://api.", "https://api2."))
    second = digests()

    assert (second[0], second[1] == first[1]) == (first[0], False)


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "message"),
    [
        ("  - name: acme\n", "  - name: Acme\n", 21, "tenants[1].name", "Give this: a lower-case"),
        ("  - name: acme\n", "  - name: default\n", 21, "tenants[1].name", "another name"),
        ("  - name: acme\n", "  - name: canary\n", 21, "tenants[1].name", "on line 12"),
        ("  - name: acme\n", "  - name: canary-2\n", 21, "tenants[1].name", "another name"),
        ("  - name: acme\n", "  - \n", 22, "tenants[1].name", "it is missing. Give a name"),
        ("  - name: acme\n", "  - name: 7\n", 21, "tenants[1].name", "Give a name"),
        ("    wave: 1\n", "", 21, "tenants[1].wave", "it is missing. Give a whole number"),
        ("    wave: 1\n", "    wave: one\n", 22, "tenants[1].wave", "Give a whole number"),
        ("    wave: 1\n", "    wave: -1\n", 22, "tenants[1].wave", "Give a whole number"),
        ("    wave: 1\n", "    wave: 0\n", 22, "tenants[1].wave", "a later wave"),
        ("    wave: 1\n", "    wave: 3\n", 22, "tenants[1].wave", "no wave 2 before it"),
        ("    wave: 0\n", "    wave: 1\n", 10, "tenants", "Give wave 0 to one"),
        ("    wave: 1\n", "    wave: 1\n    size: 5\n", 23, "tenants[1].size", "not known here"),
        ('"444455556666"', "444455556666", 23, "tenants[1].account", "12 digits"),
        ('"444455556666"', '"4444"', 23, "tenants[1].account", "12 digits"),
        ('"444455556666"', '"444455556666"\n    account: "1"', 24, "tenants[1].account", "twice"),
        ("  region: eu-west-1\n", "", 11, "tenants[0].region", "under `defaults`"),
        ("  region: eu-west-1\n", "  region: Ireland\n", 4, "defaults.region", "Give the name of"),
        ("ScheduleMinutes", "ScheduleMinute", 26, "ScheduleMinute", "Did you mean Schedule"),
        ("Minutes: 15", "Minutes: 61", 26, "tenants[1].parameters.ScheduleMinutes", "from 5 to 60"),
        ("Minutes: 15", "Minutes: 7.5", 26, "ScheduleMinutes", "Give a whole number"),
        ("Minutes: 15", "Minutes: often", 26, "ScheduleMinutes", "Give a whole number"),
        ("Minutes: 15", "Minutes: [15]", 26, "ScheduleMinutes", "each with one value"),
        ("Addresses: false", "Addresses: maybe", 27, "ApiAllowPrivate", "Give one of true, false"),
        ("https://api.", "ftp://api.", 25, "ApiBaseUrl", "Give this: https://host/path"),
        ("      ApiBaseUrl: https://api.example.com\n", "", 24, "ApiBaseUrl", "it is missing"),
        ("cluster-ABC\n", "my-cluster\n", 7, "defaults.parameters.Database", "Give this: prx-"),
        ("    DatabaseResourceId: cluster-ABC\n", "", 13, "tenants[0].parameters", "Give either"),
        ("      DatabaseName: batch_acme\n", "      TenantId: acme\n", 28, "TenantId", "Remove it"),
        ('"4711"', "4711", 30, "tenants[1].tags.cost-center", "goes in quotes"),
        ("  tags: {project: batch}\n", "  <<: {}\n", 8, "defaults.<<", "merging"),
        ("tenants:\n", "tenant:\n", 1, "tenants", "it is missing"),
        ("tenants:\n", "tenants\n", 11, "", "this is not YAML"),
    ],
)
def test_a_problem_names_the_line_the_field_and_the_remedy(
    project: Project, old: str, new: str, line: int, field: str, message: str
) -> None:
    problem, *_ = [each for each in said(project, (old, new)) if field in each.field]

    assert (problem.line, message in problem.message) == (line, True), problem


def test_every_problem_is_told_at_once_and_in_the_order_of_the_lines(project: Project) -> None:
    problems = said(project, ("Minutes: 15", "Minutes: 3"), ("cluster-ABC", "prx"))

    assert [problem.line for problem in problems] == [7, 26]


def test_a_person_reads_file_line_field_and_a_sentence(project: Project) -> None:
    text = project.file.read_text().replace("Minutes: 15", "Minutes: 3")
    project.file.write_text(text)

    with pytest.raises(InvalidFileError) as caught:
        project.tenants(project.read())

    assert str(caught.value) == (
        f"{project.file}:26: tenants[1].parameters.ScheduleMinutes: "
        "3 is out of bounds. Give a whole number from 5 to 60."
    )


def test_two_tenants_may_not_share_a_schema_or_a_user(project: Project) -> None:
    shared = ('    account: "444455556666"\n', "")

    problems = said(project, shared, ("DatabaseName: batch_acme", "DatabaseName: batch_canary"))

    assert [problem.field for problem in problems] == ["tenants[1].parameters.DatabaseName"]
    assert "Give each tenant its own" in problems[0].message


def test_the_same_schema_on_another_accounts_server_is_another_schema(project: Project) -> None:
    text = project.file.read_text().replace("batch_acme", "batch_canary")
    project.file.write_text(text)

    assert len(project.tenants(project.read())) == 2


def test_tenants_of_two_regions_are_refused(project: Project) -> None:
    (problem,) = said(project, ('    account: "444455556666"\n', "    region: us-east-1\n"))

    assert (problem.line, problem.field) == (23, "tenants[1].region")
    assert "checkout of their own" in problem.message


def test_a_file_that_is_not_there_is_named(project: Project) -> None:
    project.file.unlink()

    with pytest.raises(BatchctlError, match=r"tenants\.yaml cannot be read"):
        project.read()
