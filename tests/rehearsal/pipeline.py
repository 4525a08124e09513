"""What `pipeline.yaml` and `buildspec.yml` say is done to a push, read from the files. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import yaml
from samtranslator.yaml_helper import yaml_parse

# What no emulator makes, of a pipeline's stack.
_NOT_HERE = ("AWS::CodePipeline::Pipeline", "AWS::Events::Rule", "AWS::SNS::TopicPolicy")


@dataclass(frozen=True)
class Action:
    """One box of the pipeline.

    Attributes
    ----------
    name
        As the console shows it; a tenant's begins with the tenant's name.
    kind
        Category and provider, `Deploy CloudFormation` say.
    order
        Actions of one order run side by side, those of a higher one behind them.
    role
        What it is done as; the pipeline's own role, when empty.
    given
        Its configuration.
    """

    name: str
    kind: str
    order: int
    role: str
    given: Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """One column of the pipeline."""

    name: str
    rolls_back: bool
    actions: Sequence[Action]

    def steps(self) -> Iterator[list[Action]]:
        """Its actions in their order, those that run side by side together."""
        by_order = sorted(self.actions, key=lambda action: action.order)
        for _, together in groupby(by_order, key=lambda action: action.order):
            yield list(together)


def stages(template: str, names: Mapping[str, str]) -> tuple[Stage, ...]:
    """Read the stages of the first pipeline; `names` are what its references stand for."""
    pipeline = yaml_parse(template)["Resources"]["Pipeline"]
    return tuple(_stage(each, names) for each in pipeline["Properties"]["Stages"])


def _stage(written: Mapping[str, Any], names: Mapping[str, str]) -> Stage:
    return Stage(
        name=written["Name"],
        rolls_back=written.get("OnFailure", {}).get("Result") == "ROLLBACK",
        actions=tuple(_action(each, names) for each in written["Actions"]),
    )


def _action(written: Mapping[str, Any], names: Mapping[str, str]) -> Action:
    kind = written["ActionTypeId"]
    return Action(
        name=written["Name"],
        kind=f"{kind['Category']} {kind['Provider']}",
        order=written.get("RunOrder", 1),
        role=resolved(written.get("RoleArn", ""), names),
        given=resolved(written.get("Configuration", {}), names),
    )


def resolved(value: Any, names: Mapping[str, str]) -> Any:
    """Put what they stand for into the place of references, as CloudFormation does.

    Raises KeyError for a reference that nothing is known for.
    """
    match value:
        case {"Ref": name} | {"Fn::GetAtt": name}:
            return names[name if isinstance(name, str) else ".".join(name)]
        case {"Fn::Sub": written}:
            return _substituted(written, names)
        case {"Fn::Join": [between, parts]}:
            joined = resolved(parts, names)  # a list among the parameters is text here
            return joined if isinstance(joined, str) else between.join(joined)
        case dict():
            return {name: resolved(each, names) for name, each in value.items()}
        case list():
            return [resolved(each, names) for each in value]
    return value


def _substituted(written: Any, names: Mapping[str, str]) -> str:
    text, more = written if isinstance(written, list) else (written, {})
    inner = {name: str(resolved(each, names)) for name, each in more.items()}
    known = {**names, **inner}
    return re.sub(r"\$\{([^}]+)\}", lambda found: known[found[1]], text)


@dataclass(frozen=True)
class BuildSpec:
    """What CodeBuild is told to run, and which folder it hands on."""

    commands: Sequence[str]
    artifacts: str | None


def buildspec(text: str) -> BuildSpec:
    """Read a build specification; what it installs, the machine has already."""
    written = yaml.safe_load(text)
    commands = [
        command
        for phase in ("pre_build", "build", "post_build")
        for command in written["phases"].get(phase, {}).get("commands", [])
    ]
    return BuildSpec(commands, written.get("artifacts", {}).get("base-directory"))


def project(template: str, name: str) -> Mapping[str, Any]:
    """The properties of one of a template's resources."""
    properties: Mapping[str, Any] = yaml_parse(template)["Resources"][name]["Properties"]
    return properties


def variables(action: Action) -> dict[str, str]:
    """What an action puts into the environment of its build."""
    given = json.loads(action.given.get("EnvironmentVariables", "[]"))
    return {each["name"]: each["value"] for each in given}


def without_pipeline(template: str) -> str:
    """The template without pipelines and results, and whatever refers to them."""
    whole = yaml_parse(template)
    gone = {name for name, each in whole["Resources"].items() if each["Type"] in _NOT_HERE}
    while True:
        left = {name: each for name, each in whole["Resources"].items() if name not in gone}
        more = {name for name, each in left.items() if _refers(each, gone)}
        if not more:
            break
        gone |= more
    outputs = {name: each for name, each in whole["Outputs"].items() if not _refers(each, gone)}
    return json.dumps({**whole, "Resources": left, "Outputs": outputs}, default=str)


def _refers(value: Any, names: set[str]) -> bool:
    match value:
        case {"Ref": name} | {"Fn::GetAtt": [name, _]}:
            return name in names
        case {"Fn::Sub": str(text)}:
            return bool(names & set(re.findall(r"\$\{(\w+)", text)))
        case dict():
            return any(_refers(each, names) for each in value.values())
        case list():
            return any(_refers(each, names) for each in value)
    return False
