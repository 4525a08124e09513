"""The stages and the files of parameters that the pipeline gets."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samtranslator.yaml_helper import yaml_parse

from batchctl.errors import BatchctlError
from batchctl.tenants import fleet, pipeline
from batchctl.tenants.catalogue import Tenant
from batchctl.tenants.project import Project

MARKS = {place: "".join(pipeline.marks(place)) for place in pipeline.PLACES}
TEMPLATE = """\
Mappings:
{accounts}
Resources:
  Pipeline:
    Properties:
      Stages:
        - Name: Source
          Actions: [{{Name: GitHub}}]
        - Name: Pipeline
          Actions: [{{Name: Update}}]
        - Name: Build
          Actions: [{{Name: Build}}]
{stages}
{pipelines}
Outputs: {{}}
""".format(**MARKS)


def tenant(name: str, wave: int, region: str = "eu-west-1") -> Tenant:
    return Tenant(name, wave, "111122223333", region, {"TenantId": name}, {"team": "a"})


def read(text: str) -> dict[str, list[dict[str, Any]]]:
    """The stages of each pipeline in a template."""
    resources = yaml_parse(text)["Resources"]
    return {name: each["Properties"]["Stages"] for name, each in resources.items()}


def names(text: str) -> list[str]:
    """The names of the stages that tenants gave the first pipeline."""
    return [stage["Name"] for stage in read(text)["Pipeline"]][3:]


def test_waves_follow_the_canary_and_an_approval_in_their_order() -> None:
    tenants = [tenant("b", 2), tenant("canary", 0), tenant("a", 1), tenant("c", 1)]

    text = pipeline.render(TEMPLATE, tenants)

    assert names(text) == ["Canary", "Approve", "Wave1", "Wave2"]
    assert text.index("a-verify") < text.index("c-prepare") < text.index("b-prepare")


def test_a_lonely_canary_needs_no_approval() -> None:
    assert names(pipeline.render(TEMPLATE, [tenant("canary", 0)])) == ["Canary"]


def test_what_is_around_the_stages_stays() -> None:
    text = pipeline.render(TEMPLATE, [tenant("canary", 0)])

    assert text.startswith("Mappings:\n")
    assert text.endswith("Outputs: {}\n")
    assert pipeline.render(text, [tenant("canary", 0)]) == text


@pytest.mark.parametrize(
    "mark", [mark for each in pipeline.PLACES for mark in pipeline.marks(each)]
)
def test_a_template_without_the_place_is_told_how_to_get_it(mark: str) -> None:
    with pytest.raises(BatchctlError, match="Put these two lines"):
        pipeline.render(TEMPLATE.replace(mark, ""), [tenant("canary", 0)])


# --- as many as there are -------------------------------------------------------------------------


@st.composite
def fleets(draw: st.DrawFn) -> list[Tenant]:
    """Some tenants in waves without a gap, in any order, in some accounts."""
    sizes = draw(st.lists(st.integers(1, 120), max_size=60))
    accounts = draw(st.integers(1, 30))
    members = [Tenant("canary", 0, "000000000000", "eu-west-1", {}, {})]
    for wave, size in enumerate(sizes, 1):
        for number in range(size):
            account = f"{(wave * 7 + number) % accounts:012}"
            members.append(Tenant(f"t{wave}x{number}", wave, account, "eu-west-1", {}, {}))
    return draw(st.permutations(members)) if len(members) < 30 else members


@given(fleets())
def test_no_pipeline_is_larger_than_codepipeline_takes_and_nobody_is_left_out(
    tenants: list[Tenant],
) -> None:
    cut = fleet.pipelines(tenants)

    assert [t for stages in cut for stage in stages for t in stage.tenants] == sorted(
        tenants, key=lambda each: each.wave
    )
    for number, stages in enumerate(cut):
        besides = (5, 7) if number == 0 else (2, 5)
        assert len(stages) + besides[0] <= fleet.STAGES_PER_PIPELINE
        assert sum(each.actions for each in stages) + besides[1] <= fleet.ACTIONS_PER_PIPELINE
        assert all(0 < each.actions <= fleet.ACTIONS_PER_STAGE for each in stages)
        assert len({each.name for each in stages}) == len(stages)
        assert all(len({t.wave for t in each.tenants}) == 1 for each in stages)


def many(count: int, of_a_wave: int = 40) -> list[Tenant]:
    """A canary, and so many tenants behind it that there are `count`."""
    others = [tenant(f"tenant{n:03}", 1 + n // of_a_wave) for n in range(count - 1)]
    return [tenant("canary", 0), *others]


@pytest.mark.parametrize("count", [1, 2, 17, 18, 160, 200, 450])
def test_what_is_written_stays_below_the_quotas(count: int) -> None:
    """https://docs.aws.amazon.com/codepipeline/latest/userguide/limits.html"""
    written = read(pipeline.render(TEMPLATE, many(count)))

    for stages in written.values():
        assert 2 <= len(stages) <= 50
        assert sum(len(stage["Actions"]) for stage in stages) <= 500
        assert all(1 <= len(stage["Actions"]) <= 50 for stage in stages)
        assert len({stage["Name"] for stage in stages}) == len(stages)
    verified = [
        action["Name"]
        for stages in written.values()
        for stage in stages
        for action in stage["Actions"]
        if action["Name"].endswith("-verify")
    ]
    assert verified == [f"{each.name}-verify" for each in many(count)]


def test_a_wave_that_one_stage_cannot_hold_is_cut_in_parts() -> None:
    tenants = many(fleet.TENANTS_PER_STAGE + 2)

    assert names(pipeline.render(TEMPLATE, tenants)) == ["Canary", "Approve", "Wave1-1", "Wave1-2"]


def test_a_pipeline_hands_on_what_it_was_started_with_and_starts_the_next() -> None:
    written = read(pipeline.render(TEMPLATE, many(400)))

    assert list(written) == ["Pipeline", "Pipeline2", "Pipeline3"]
    for before, after in pairwise(written):
        *artifacts, start = written[before][-1]["Actions"]
        handed = [each["Configuration"]["ObjectKey"] for each in artifacts]
        taken = written[after][0]["Actions"]
        assert [each["Configuration"]["S3ObjectKey"] for each in taken] == handed
        assert [each["OutputArtifacts"] for each in taken] == [
            [{"Name": "Source"}],
            [{"Name": "Package"}],
        ]
        assert [each["InputArtifacts"] for each in artifacts] == [
            each["OutputArtifacts"] for each in taken
        ]
        assert start["RunOrder"] > artifacts[0]["RunOrder"]
        assert start["Configuration"] == {"PipelineName": {"Ref": after}}
    assert written["Pipeline3"][-1]["Name"] != "Next"


def test_one_tenant_more_in_the_last_pipeline_leaves_those_before_as_they_are() -> None:
    """A pipeline that changes has nothing to roll back to."""
    before, after = (read(pipeline.render(TEMPLATE, many(count))) for count in (199, 200))

    assert len(before) == 2
    assert before["Pipeline"] == after["Pipeline"]
    assert before["Pipeline2"] != after["Pipeline2"]


def test_a_fleet_that_no_template_holds_is_told_where_to_go() -> None:
    with pytest.raises(
        BatchctlError, match=r"pipeline\.yaml would have [\d,]+ bytes.*another checkout"
    ):
        pipeline.render(TEMPLATE, many(900))


def test_more_accounts_than_the_buckets_policy_can_name_are_refused() -> None:
    tenants = [
        Tenant(f"t{n:03}", min(n, 1), f"{n:012}", "eu-west-1", {}, {})
        for n in range(pipeline.ACCOUNTS_MAX + 1)
    ]

    assert pipeline.render(TEMPLATE, tenants[:-1])
    with pytest.raises(BatchctlError, match="401 accounts"):
        pipeline.render(TEMPLATE, tenants)


def test_every_account_of_a_tenant_may_read_the_packages_and_is_named_once() -> None:
    others = [Tenant(f"t{n}", 1, f"{n % 3:012}", "eu-west-1", {}, {}) for n in range(9)]
    text = pipeline.render(TEMPLATE, [tenant("canary", 0), *others])

    assert yaml_parse(text)["Mappings"]["Tenants"]["Accounts"]["All"] == [
        *(f"{n:012}" for n in range(3)),
        "111122223333",
    ]


# --- what CloudFormation is told ------------------------------------------------------------------


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
