"""What is read from the pipeline's own files, and how a push goes through."""

from __future__ import annotations

import json
from threading import Barrier
from typing import Any

import pytest

from tests.rehearsal import pipeline
from tests.rehearsal.pipeline import Action, Stage
from tests.rehearsal.play import ActionError, Done, Pipeline, Push
from tests.support.checkout import ROOT

PIPELINE = (ROOT / "pipeline.yaml").read_text()
NAMES = {
    "AWS::AccountId": "111122223333",
    "AWS::Partition": "aws",
    "AWS::StackName": "batch-pipeline",
    **{name: name for name in ("ConnectionArn", "Repository", "Branch")},
    **{name: name for name in ("BuildProject", "VerifyProject", "Notifications")},
}


def test_the_stages_are_those_of_the_file_with_their_actions_in_order() -> None:
    read = {stage.name: stage for stage in pipeline.stages(PIPELINE, NAMES)}

    assert list(read)[:5] == ["Source", "Pipeline", "Build", "Canary", "Approve"]
    canary = read["Canary"]
    assert canary.rolls_back
    assert not read["Build"].rolls_back
    assert [[each.name for each in step] for step in canary.steps()] == [
        ["canary-prepare"],
        ["canary-deploy"],
        ["canary-verify"],
    ]
    prepare, _, verify = canary.actions
    assert prepare.kind == "Deploy CloudFormation"
    assert prepare.role == "arn:aws:iam::111122223333:role/batch-canary-deploy"
    assert prepare.given["TemplateConfiguration"] == "Package::canary.json"
    assert pipeline.variables(verify) == {
        "STACK": "batch-canary",
        "ROLE": prepare.role.removesuffix("deploy") + "verify",
    }


def test_the_commands_are_those_of_the_files() -> None:
    build = pipeline.buildspec((ROOT / "buildspec.yml").read_text())
    verify = pipeline.buildspec(pipeline.project(PIPELINE, "VerifyProject")["Source"]["BuildSpec"])

    assert build.commands[-1] == 'make package BUCKET="$BUCKET" KEY="$KEY"'
    assert build.artifacts == ".aws-sam/package"
    (verifying,) = verify.commands
    assert verifying.startswith('make verify STACK="$STACK" ROLE="$ROLE" ')


def test_a_reference_that_nothing_is_known_for_is_an_error() -> None:
    with pytest.raises(KeyError, match="Nowhere"):
        pipeline.resolved({"Fn::Sub": "arn:${Nowhere}"}, {})


def test_what_is_deployed_without_the_pipeline_has_nothing_that_refers_to_it() -> None:
    left = json.loads(pipeline.without_pipeline(PIPELINE))

    assert "Pipeline" not in left["Resources"]
    assert {"ResultRule", "NotificationsPolicy"} & left["Resources"].keys() == set()
    assert {"PipelineRole", "Artifacts", "VerifyProject"} <= left["Resources"].keys()
    assert "PipelineConsole" not in left["Outputs"]
    assert "ArtifactsArn" in left["Outputs"]


# --- a push ---------------------------------------------------------------------------------------


def action(name: str, order: int = 1) -> Action:
    return Action(name, "Test", order, "", {})


def wave(name: str, *tenants: str, rolls_back: bool = True) -> Stage:
    steps = ("prepare", "deploy", "verify")
    return Stage(
        name,
        rolls_back,
        tuple(
            action(f"{tenant}-{step}", number)
            for tenant in tenants
            for number, step in enumerate(steps, 1)
        ),
    )


STAGES = (
    Stage("Build", rolls_back=False, actions=(action("Build"),)),
    wave("Canary", "canary"),
    wave("Wave1", "acme", "globex"),
    wave("Wave2", "initech"),
)
FIRST, SECOND = Push(1, "c1", "the first"), Push(2, "c2", "the second")


class Actors:
    """Fails the actions of the pushes it was told to."""

    def __init__(self, *failing: tuple[str, Push]) -> None:
        self.failing = set(failing)
        self.performed: list[tuple[str, int]] = []

    def perform(self, action: Action, push: Push) -> str:
        self.performed.append((action.name, push.number))
        if (action.name, push) in self.failing:
            raise ActionError("no")
        return "yes"

    def of(self, push: Push) -> list[str]:
        return [name for name, number in self.performed if number == push.number]


def test_a_good_push_goes_through_every_stage() -> None:
    actors = Actors()
    shown: list[Done] = []

    passage = Pipeline(actors, shown.append).play(FIRST, STAGES)

    assert (passage.stopped_in, passage.rolled_back_to) == ("", None)
    assert len(passage.done) == len(shown) == len(actors.performed) == 1 + 4 * 3
    assert actors.of(FIRST)[:4] == ["Build", "canary-prepare", "canary-deploy", "canary-verify"]
    assert set(actors.of(FIRST)[4:6]) == {"acme-prepare", "globex-prepare"}


def test_a_push_that_fails_in_the_canary_stops_there_and_the_last_good_one_comes_back() -> None:
    actors = Actors(("canary-verify", SECOND))
    played = Pipeline(actors)
    played.play(FIRST, STAGES)
    actors.performed.clear()

    passage = played.play(SECOND, STAGES)

    assert (passage.stopped_in, passage.rolled_back_to) == ("Canary", FIRST)
    assert actors.of(SECOND) == ["Build", "canary-prepare", "canary-deploy", "canary-verify"]
    assert actors.of(FIRST) == ["canary-prepare", "canary-deploy", "canary-verify"]
    assert [each.ok for each in passage.done] == [True, True, True, False, True, True, True]
    assert [each.rolling_back for each in passage.done] == [False] * 4 + [True] * 3


def test_the_next_step_of_a_wave_waits_for_all_and_does_not_begin_when_one_failed() -> None:
    actors = Actors(("globex-deploy", FIRST))

    passage = Pipeline(actors).play(FIRST, STAGES)

    assert passage.stopped_in == "Wave1"
    assert not [name for name in actors.of(FIRST) if name.endswith("verify") and "acme" in name]
    assert "initech-prepare" not in actors.of(FIRST)


def test_a_first_deployment_has_nothing_to_go_back_to() -> None:
    actors = Actors(("canary-verify", FIRST))

    passage = Pipeline(actors).play(FIRST, STAGES)

    assert (passage.stopped_in, passage.rolled_back_to) == ("Canary", None)
    assert len(actors.performed) == 4


def test_a_stage_that_does_not_say_so_is_not_rolled_back() -> None:
    stages = (wave("Canary", "canary", rolls_back=False),)
    played = Pipeline(Actors(("canary-verify", SECOND)))
    played.play(FIRST, stages)

    assert played.play(SECOND, stages).rolled_back_to is None


def test_a_pipeline_that_has_changed_since_does_not_go_back() -> None:
    played = Pipeline(Actors(("canary-verify", SECOND)))
    played.play(FIRST, STAGES)

    passage = played.play(SECOND, (*STAGES, wave("Wave3", "hooli")))

    assert (passage.stopped_in, passage.rolled_back_to) == ("Canary", None)


def test_what_failed_is_never_gone_back_to() -> None:
    third = Push(3, "c3", "the third")
    played = Pipeline(Actors(("canary-verify", SECOND), ("canary-verify", third)))
    played.play(FIRST, STAGES)
    played.play(SECOND, STAGES)

    assert played.play(third, STAGES).rolled_back_to == FIRST


def test_tenants_of_a_wave_are_deployed_side_by_side() -> None:
    met = Barrier(2, timeout=10)

    class Meeting(Actors):
        def perform(self, action: Action, push: Push) -> str:
            if action.name in ("acme-deploy", "globex-deploy"):
                met.wait()  # each of them waits for the other
            return super().perform(action, push)

    passage: Any = Pipeline(Meeting()).play(FIRST, STAGES)

    assert passage.stopped_in == ""
