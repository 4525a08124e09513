"""What `batchctl run` refuses before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from batchctl.__main__ import build_app


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home without a cloud, and no AWS account."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("BATCHCTL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*words: str) -> Result:
    return CliRunner().invoke(build_app(), ["run", *words], terminal_width=200)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--users", "-1"], "--users"),
        (["--users", "many"], "--users"),
        (["--group-size", "0"], "--group-size"),
        (["--group-size", "1001"], "--group-size"),
        (["--api-latency-ms", "-5"], "--api-latency-ms"),
        (["--api-error-rate", "1.5"], "--api-error-rate"),
        (["--tenant", "Not A Tenant"], "--tenant"),
        (["--quickly"], "--quickly"),
        (["--scheduled-time", "yesterday"], "give an ISO-8601 time such as 2026-01-31T10:20:00Z"),
        (["--region", "us-east-1"], "--region can only be used with --stack"),
        (
            ["--stack", "acme", "--users", "3", "--api-error-rate", "0"],
            "--users and --api-error-rate can only be used on the local cloud, without --stack",
        ),
        (["--stack", "acme"], "The AWS region is not known. Give it with --region."),
    ],
)
def test_a_wrong_word_is_named_and_nothing_is_started(
    nowhere: Path, words: list[str], said: str
) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not nowhere.exists()


def test_an_account_nobody_signed_in_to_is_named(nowhere: Path) -> None:
    result = run("--stack", "acme", "--region", "us-east-1")
    assert result.exit_code == 1
    assert "There are no AWS credentials. Sign in" in result.stderr
    assert not nowhere.exists()


def test_the_region_is_also_taken_from_where_the_aws_cli_takes_it(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")

    assert "There are no AWS credentials" in run("--stack", "acme").stderr


def test_an_unknown_profile_is_named(nowhere: Path) -> None:
    result = run("--stack", "acme", "--profile", "nobody")
    assert result.exit_code == 1
    assert "nobody" in result.stderr
    assert not nowhere.exists()
