"""The linters have nothing to say; none of them needs an account or a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.template.translation import ROOT, TEMPLATE

GATES = {
    # Both: each finds what the other one lets through.
    "sam validate": ["sam", "validate", "--template-file"],
    "sam validate --lint": ["sam", "validate", "--lint", "--template-file"],
    # With its advice (I), which asks for a deletion policy on everything that holds data.
    "cfn-lint": ["cfn-lint", "--include-checks", "I", "--"],
}


def gate(name: str, template: Path, home: Path) -> subprocess.CompletedProcess[str]:
    folder = Path(sys.executable).parent
    return subprocess.run(
        [*GATES[name], str(template)],
        cwd=ROOT,
        env={
            "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(home),
            "SAM_CLI_TELEMETRY": "0",
            "AWS_DEFAULT_REGION": "ap-northeast-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", GATES)
def test_a_gate_lets_the_template_through(name: str, tmp_path: Path) -> None:
    passed = gate(name, TEMPLATE, tmp_path)

    assert passed.returncode == 0, passed.stdout + passed.stderr


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("sam validate", "Type: S3\n", "Type: S3Bucket\n"),
        ("sam validate --lint", "RetentionInDays: !Ref", "RetentionInDay: !Ref"),
        ("cfn-lint", "    UpdateReplacePolicy: Retain\n", ""),
    ],
)
def test_a_gate_stops_a_bad_template(name: str, good: str, bad: str, tmp_path: Path) -> None:
    text = TEMPLATE.read_text()
    assert good in text
    template = tmp_path / "template.yaml"
    template.write_text(text.replace(good, bad))
    # The template names its folders relative to itself.
    for folder in ("functions", "layers", "statemachine"):
        (tmp_path / folder).symlink_to(ROOT / folder)

    assert gate(name, template, tmp_path).returncode != 0
