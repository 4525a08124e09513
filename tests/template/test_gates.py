"""The gates let the project through, and each stops what it is there for."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.template.bad_examples import EXAMPLES, PER_TEMPLATE, Example
from tests.template.rendered import OPTIONAL
from tests.template.translation import ROOT, TEMPLATE

# How a gate says what it found in which template.
FOUND = {
    "cfn-lint": r"(?m)^{names} .*\n{template}\.yaml:",
    "checkov": r"Check: {names}: .*\n.*\n\s*File: /{template}\.yaml:",
    "cfn-guard": r"{template}\.(?:bare|full)\.json Status = FAIL\n(?:.+\n)*?rules\.guard/{names} ",
    "parliament": r"(?m)^{template}\..*: {names} ",
}
LEFT_OUT = shutil.ignore_patterns(
    *(".aws-sam", ".git", ".hypothesis", ".local", ".*_cache", ".venv", "node_modules"),
    *("__pycache__", "*.egg-info"),
)


def check(folder: Path, *gates: str) -> subprocess.CompletedProcess[str]:
    """Run gates as `make check` does."""
    return subprocess.run(
        [sys.executable, "scripts/check.py", *gates],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_gates_let_the_project_through() -> None:
    checked = check(ROOT)

    assert checked.returncode == 0, checked.stdout


# --- bad examples ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """What a gate says of a copy of the project with all of its bad examples in it."""

    @cache
    def said(gate: str) -> str:
        folder = tmp_path_factory.mktemp("project") / "copy"
        copy_project(folder)
        if gate in PER_TEMPLATE:
            for template in folder.glob("*.yaml"):
                template.unlink()
        for number, example in enumerate(EXAMPLES):
            if example.gate == gate:
                spoil(folder, example, number)
        gates = ["templates", gate] if gate in ("cfn-guard", "parliament") else [gate]
        checked = check(folder, *gates)
        assert checked.returncode == 1, checked.stdout + checked.stderr
        assert f"failed: {gate}\n" in checked.stdout
        return checked.stdout

    return said


def copy_project(folder: Path) -> None:
    """Copy what is written; what set-up has installed is used where it is."""
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT, dirs_exist_ok=True)
    (folder / ".local").mkdir()
    for made in (".local/gates-venv", ".local/wheels", "gates/node_modules"):
        (folder / made).symlink_to(ROOT / made)


def spoil(folder: Path, example: Example, number: int) -> None:
    """Make the change of an example; for some gates in a template of its own."""
    source = ROOT / example.file
    target = folder / example.file
    if alone(example):
        target = folder / f"example{number}.yaml"
    elif example.good:
        source = target
    text = source.read_text() if example.good else ""
    assert example.good in text, f"{example.file} no longer has what this example changes"
    target.write_text(text.replace(example.good, example.bad, 1) if example.good else example.bad)


def alone(example: Example) -> bool:
    """Whether an example is a template beside the others."""
    return example.gate in PER_TEMPLATE and example.file.endswith(".yaml")


@pytest.mark.parametrize(
    "number", range(len(EXAMPLES)), ids=[f"{each.gate}: {each.what}" for each in EXAMPLES]
)
def test_a_gate_stops(number: int, spoiled: Callable[[str], str]) -> None:
    example = EXAMPLES[number]
    names = re.escape(example.names)
    wanted = names
    if alone(example):
        wanted = FOUND[example.gate].format(names=names, template=f"example{number}")

    said = spoiled(example.gate)

    assert re.search(wanted, said), said


def test_every_rule_of_cfn_guard_has_an_example() -> None:
    rules = re.findall(r"(?m)^rule (\w+)", (ROOT / "gates" / "rules.guard").read_text())

    assert {each.names for each in EXAMPLES if each.gate == "cfn-guard"} == set(rules)


def test_every_example_is_in_the_documentation() -> None:
    page = (ROOT / "docs" / "gates.md").read_text()

    assert [each.what for each in EXAMPLES if each.what not in page] == []


# --- what is excused ------------------------------------------------------------------------------


def test_cfn_lint_needs_no_exception_once_every_parameter_is_given(tmp_path: Path) -> None:
    """The template excuses checks that try empty defaults; with real values nothing is excused."""
    text = TEMPLATE.read_text()
    for name, value in OPTIONAL.items():
        text = re.sub(rf'(\n  {name}:\n(?:    .*\n)*?    Default: )""', rf"\g<1>{value}", text)
    text, removed = re.subn(r"\n      ignore_checks: .*", "\n      ignore_checks: [WS1004]", text)
    assert removed == 1
    copy_project(tmp_path / "copy")
    (tmp_path / "copy" / "template.yaml").write_text(text)

    checked = check(tmp_path / "copy", "cfn-lint")

    assert checked.returncode == 0, checked.stdout


def test_a_template_that_checkov_cannot_read_is_not_let_through(tmp_path: Path) -> None:
    copy_project(tmp_path)
    for path in tmp_path.iterdir():
        if path.name not in ("scripts", "gates", ".local"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    template = tmp_path / "template.yaml"

    template.write_text("Resources: {Vpc: {Type: AWS::EC2::VPC}}\n")
    assert check(tmp_path, "checkov").returncode == 0
    template.write_text("Resources: {Vpc: {Type: AWS::EC2::VPC\n")
    assert check(tmp_path, "checkov").returncode == 1
