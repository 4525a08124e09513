"""The stages and the files of parameters that the pipeline gets."""

from __future__ import annotations

import json

import pytest

from batchctl.errors import BatchctlError
from batchctl.tenants import pipeline
from batchctl.tenants.catalogue import Tenant
from batchctl.tenants.project import Project

TEMPLATE = f"Stages:\n{pipeline.BEGIN}\n        - Name: Old\n{pipeline.END}\nOutputs: {{}}\n"


def tenant(name: str, wave: int, region: str = "eu-west-1") -> Tenant:
    return Tenant(name, wave, "111122223333", region, {"TenantId": name}, {"team": "a"})


def names(text: str) -> list[str]:
    return [line.strip()[8:] for line in text.splitlines() if line.startswith("        - Name: ")]


def test_waves_follow_the_canary_and_an_approval_in_their_order() -> None:
    tenants = [tenant("b", 2), tenant("canary", 0), tenant("a", 1), tenant("c", 1)]

    text = pipeline.render(TEMPLATE, tenants)

    assert names(text) == ["Canary", "Approve", "Wave1", "Wave2"]
    assert text.index("a-verify") < text.index("c-prepare") < text.index("b-prepare")


def test_a_lonely_canary_needs_no_approval() -> None:
    assert names(pipeline.render(TEMPLATE, [tenant("canary", 0)])) == ["Canary"]


def test_what_is_around_the_stages_stays() -> None:
    text = pipeline.render(TEMPLATE, [tenant("canary", 0)])

    assert text.startswith(f"Stages:\n{pipeline.BEGIN}\n")
    assert text.endswith(f"{pipeline.END}\nOutputs: {{}}\n")
    assert pipeline.render(text, [tenant("canary", 0)]) == text


@pytest.mark.parametrize("mark", [pipeline.BEGIN, pipeline.END])
def test_a_template_without_the_place_is_told_how_to_get_it(mark: str) -> None:
    with pytest.raises(BatchctlError, match="Put these two lines"):
        pipeline.render(TEMPLATE.replace(mark, ""), [tenant("canary", 0)])


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
def test_a_stack_gets_its_parameters_its_tags_and_its_boundary(region: str, partition: str) -> None:
    told = json.loads(pipeline.configuration(tenant("acme", 1, region)))

    boundary = f"arn:{partition}:iam::111122223333:policy/batch-acme-boundary"
    assert told == {
        "Parameters": {"TenantId": "acme", "PermissionsBoundaryArn": boundary},
        "Tags": {"team": "a"},
    }


def test_a_project_without_a_pipeline_is_told_which_file_is_missing(project: Project) -> None:
    (project.root / "pipeline.yaml").unlink()

    with pytest.raises(BatchctlError, match=r"pipeline\.yaml cannot be read"):
        project.rendered(project.tenants(project.read()))
