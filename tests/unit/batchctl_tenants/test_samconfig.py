"""What `sam` is told is what the tenants' file says."""

from __future__ import annotations

import tomllib

import pytest

from batchctl.tenants import samconfig
from batchctl.tenants.catalogue import Tenant
from batchctl.tenants.project import Project
from tests.support.checkout import ROOT


def test_the_files_of_this_checkout_are_as_its_tenants_say() -> None:
    project = Project(ROOT)

    stale = project.stale(project.tenants(project.read()))

    assert stale == [], "write them anew with: batchctl tenants render"


def test_every_tenant_has_a_section_and_the_two_that_are_nobodys_stay(project: Project) -> None:
    tenants = project.tenants(project.read())

    written = tomllib.loads(samconfig.render(tenants))

    assert list(written) == ["version", "default", "local", "canary", "acme"]
    for tenant in tenants:
        given = written[tenant.name]["deploy"]["parameters"]
        assert given["stack_name"] == tenant.stack
        assert given["region"] == tenant.region
        assert (
            dict(pair.split("=", 1) for pair in given["parameter_overrides"]) == tenant.parameters
        )
        assert dict(pair.split("=", 1) for pair in given["tags"]) == tenant.tags


def test_rendering_is_deterministic_and_says_what_it_was_made_from(project: Project) -> None:
    tenants = project.tenants(project.read())

    text = samconfig.render(tenants)

    assert text == samconfig.render(tenants)
    assert "tenants/tenants.yaml" in text.splitlines()[0]


@pytest.mark.parametrize(
    ("value", "pair"),
    [
        ("https://a.example.com/x", "Name=https://a.example.com/x"),
        ("", 'Name=""'),
        ("two words", 'Name="two words"'),
        ('a"b', r'Name="a\"b"'),
    ],
)
def test_a_value_that_sam_would_split_is_quoted(value: str, pair: str) -> None:
    tenant = Tenant("a", 0, "1" * 12, "eu-west-1", {"Name": value}, {})

    written = tomllib.loads(samconfig.render([tenant]))

    assert written["a"]["deploy"]["parameters"]["parameter_overrides"] == [pair]
    assert "tags" not in written["a"]["deploy"]["parameters"]
