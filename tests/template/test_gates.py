"""The linters have nothing to say; none of them needs an account or a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.template.translation import ROOT, TEMPLATE

TEMPLATES = sorted(path.name for path in ROOT.glob("*.yaml"))
SECRET = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:database-AbCdEf"
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


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("name", GATES)
def test_a_gate_lets_a_template_through(name: str, template: str, tmp_path: Path) -> None:
    passed = gate(name, ROOT / template, tmp_path)

    assert passed.returncode == 0, passed.stdout + passed.stderr


def test_cfn_lint_needs_no_exception_once_every_parameter_is_given(tmp_path: Path) -> None:
    """The template excuses checks that try empty defaults; with real values nothing is excused."""
    values = {
        "AlarmTopicArn": "arn:aws:sns:eu-west-1:111122223333:alarms",
        "PageTopicArn": "arn:aws:sns:eu-west-1:111122223333:pages",
        "ApiSecretArn": SECRET,
        "DatabaseEndpoint": "db.example.com",
        "DatabaseSecretArn": SECRET,
        "DatabaseProxySecretArn": SECRET,
        "DatabaseClusterIdentifier": "users",
        "DatabaseInstanceIdentifier": "users",
        "DatabaseSecurityGroupId": "sg-0123456789abcdef0",
        "DataKeyArn": "arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d",
        "SecretsKeyArn": "arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d",
        "SecurityGroupIds": "sg-0123456789abcdef0",
        "SubnetIds": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
        "VpcId": "vpc-0123456789abcdef0",
    }
    text = TEMPLATE.read_text()
    for name, value in values.items():
        text, given = re.subn(
            rf'(\n  {name}:\n(?:    .*\n)*?    Default: )""', rf"\g<1>{value}", text
        )
        assert given == 1, name
    text, removed = re.subn(r"\n      ignore_checks: .*", "\n      ignore_checks: []", text)
    assert removed == 1
    template = tmp_path / "template.yaml"
    template.write_text(text)
    link_folders(tmp_path)

    passed = gate("cfn-lint", template, tmp_path)

    assert passed.returncode == 0, passed.stdout + passed.stderr


def link_folders(folder: Path) -> None:
    """The template names its folders relative to itself."""
    for name in ("functions", "layers", "statemachine"):
        (folder / name).symlink_to(ROOT / name)


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
    link_folders(tmp_path)

    assert gate(name, template, tmp_path).returncode != 0
