"""Every alarm has a section in docs/operations.md, and every section an alarm."""

from __future__ import annotations

import re

import pytest

from tests.template.alarms import NAMES, PAGING
from tests.template.translation import ROOT

RUNBOOK = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### ([a-z-]+)\n(.*?)(?=^##|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))
COMMANDS = {
    name: "".join(re.findall(r"^```\n(.*?)^```", body, re.MULTILINE | re.DOTALL)).splitlines()
    for name, body in SECTIONS.items()
}


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
