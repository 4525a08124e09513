"""Every alarm has a section in docs/operations.md, every section an alarm and real commands."""

from __future__ import annotations

import itertools
import re
import shlex
from typing import Any

import botocore.session
import pytest
from botocore import xform_name
from typer.main import get_command

from batchctl.__main__ import build_app
from tests.template.alarms import NAMES, PAGING
from tests.template.translation import ROOT

RUNBOOK = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### ([a-z-]+)\n(.*?)(?=^##|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))
COMMANDS = {
    name: "".join(re.findall(r"^```\n(.*?)^```", body, re.MULTILINE | re.DOTALL)).splitlines()
    for name, body in SECTIONS.items()
}
EVERY_COMMAND = sorted({command for commands in COMMANDS.values() for command in commands})


def test_every_alarm_has_a_section_and_every_section_an_alarm() -> None:
    assert sorted(re.findall(r"^### (.*)$", RUNBOOK, re.MULTILINE)) == sorted(NAMES)
    assert set(SECTIONS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_alarm_leads_to_its_section(name: str) -> None:
    assert NAMES[name]["AlarmDescription"].endswith(f" See docs/operations.md#{name}")


@pytest.mark.parametrize("name", NAMES)
def test_a_section_says_what_to_do_first_and_how_the_alarm_is_cleared(name: str) -> None:
    assert len(COMMANDS[name]) == 3
    assert "**Cleared** " in SECTIONS[name]


def test_the_sections_mark_those_that_page() -> None:
    assert {name for name, body in SECTIONS.items() if "**Pages.**" in body} == PAGING


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_a_command_of_the_runbook_exists_with_its_options(command: str) -> None:
    program, *words = shlex.split(command)

    assert UNKNOWN_TO[program](words) == []


def unknown_to_batchctl(words: list[str]) -> list[str]:
    """The words that batchctl does not take: commands, options, and arguments without a place."""
    named = list(itertools.takewhile(lambda word: not word.startswith("-"), words))
    command: Any = get_command(build_app())
    while named and hasattr(command, "commands"):
        command = command.commands.get(named.pop(0))
    if command is None:
        return words
    options = {option for each in command.params for option in each.opts}
    places = [each for each in command.params if each.param_type_name == "argument"]
    return named[len(places) :] + [
        word for word in words if word.startswith("-") and word not in options
    ]


def unknown_to_aws(words: list[str]) -> list[str]:
    """The words that the AWS CLI does not take: services, operations and members of their input."""
    service, operation, *options = words
    model = botocore.session.get_session().get_service_model(service)
    names = {xform_name(name, "-"): name for name in model.operation_names}
    if operation not in names:
        return [operation]
    shape = model.operation_model(names[operation]).input_shape
    members = {xform_name(name, "-") for name in shape.members} if shape else set()
    return [
        word for word in options if word.startswith("--") and word.removeprefix("--") not in members
    ]


UNKNOWN_TO = {"batchctl": unknown_to_batchctl, "aws": unknown_to_aws}


@pytest.mark.parametrize(
    "command",
    [
        "batchctl runs --stack batch-acme",
        "batchctl trace --stack batch-acme --everyone",
        "batchctl run RUN",
        "aws sqs read-message --queue-url QUEUE_URL",
        "aws sqs purge-queue --url QUEUE_URL",
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str) -> None:
    program, *words = shlex.split(command)

    assert UNKNOWN_TO[program](words)
