"""Building and deploying: what `sam` is told, and what is not done twice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from batchctl.errors import BatchctlError
from batchctl.local import sam


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a project with a template, a function and a place for builds of its own."""
    monkeypatch.setattr(sam, "_BUILDS", tmp_path / "builds")
    function = tmp_path / "project" / "functions" / "hello"
    function.mkdir(parents=True)
    (function / "app.py").write_text("def lambda_handler(event, context): return event\n")
    template = tmp_path / "project" / "template.yaml"
    template.write_text(
        "AWSTemplateFormatVersion: '2010-09-09'\n"
        "Transform: AWS::Serverless-2016-10-31\n"
        "Parameters: {Architecture: {Type: String, Default: arm64}}\n"
        "Resources:\n"
        "  HelloFunction:\n"
        "    Type: AWS::Serverless::Function\n"
        "    Properties:\n"
        "      Runtime: python3.13\n"
        "      Architectures: [!Ref Architecture]\n"
        "      Handler: app.lambda_handler\n"
        "      CodeUri: functions/hello\n"
    )
    return template.parent


def test_a_build_is_repeated_only_when_a_source_changed(project: Path, tmp_path: Path) -> None:
    said: list[str] = []
    template = project / "template.yaml"
    first = sam.build(tmp_path, template, said.append)
    assert sam.build(tmp_path, template, said.append) == first
    assert said == ["building template.yaml"]
    (project / "functions" / "hello" / "app.py").write_text("lambda_handler = print\n")
    second = sam.build(tmp_path, template, said.append)
    assert second != first
    assert (second.parent / "HelloFunction" / "app.py").read_text() == "lambda_handler = print\n"


def test_what_the_emulator_has_no_type_for_is_built_for_aws_alone(
    project: Path, tmp_path: Path
) -> None:
    template = project / "template.yaml"
    query = "{Type: AWS::Logs::QueryDefinition, Properties: {Name: q, QueryString: limit 1}}"
    template.write_text(f"{template.read_text()}  LastRuns: {query}\n")

    built = yaml.safe_load(sam.build(tmp_path, template, lambda _: None).read_text())

    assert list(built["Resources"]) == ["HelloFunction"]
    (function,) = built["Resources"].values()
    assert function["Properties"]["Architectures"] == [{"Ref": "Architecture"}]


def test_bytecode_that_a_test_left_changes_no_fingerprint(project: Path) -> None:
    before = sam.fingerprint(project / "template.yaml")
    cache = project / "functions" / "hello" / "__pycache__"
    cache.mkdir()
    (cache / "app.pyc").write_bytes(b"compiled")
    assert sam.fingerprint(project / "template.yaml") == before


def test_renaming_a_source_changes_the_fingerprint(project: Path) -> None:
    before = sam.fingerprint(project / "template.yaml")
    app = project / "functions" / "hello" / "app.py"
    app.rename(app.with_name("other.py"))
    assert sam.fingerprint(project / "template.yaml") != before


def test_a_template_that_does_not_build_is_quoted_and_built_again_next_time(
    project: Path, tmp_path: Path
) -> None:
    template = project / "template.yaml"
    whole = template.read_text()
    template.write_text(whole.replace("python3.13", "cobol"))
    for _ in range(2):
        with pytest.raises(BatchctlError, match=r"sam build failed[\s\S]*cobol"):
            sam.build(tmp_path, template, lambda _: None)


def test_an_absent_template_is_named(tmp_path: Path) -> None:
    with pytest.raises(BatchctlError, match=r"no template at .*template\.yaml"):
        sam.build(tmp_path, tmp_path / "template.yaml", lambda _: None)


def test_old_builds_are_forgotten(project: Path, tmp_path: Path) -> None:
    for number in range(6):
        old = tmp_path / "builds" / f"old{number}"
        old.mkdir(parents=True)
        (old / ".complete").touch()
        os.utime(old / ".complete", (number, number))
    built = sam.build(tmp_path, project / "template.yaml", lambda _: None)
    left = {path.parent.name for path in (tmp_path / "builds").glob("*/.complete")}
    assert left == {built.parent.name, "old5", "old4", "old3"}


def test_sam_sees_no_aws_account_but_the_local_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "secret")
    monkeypatch.setenv("NO_PROXY", "intranet")
    environment = sam.environment(tmp_path, "http://127.0.0.1:1")
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN"} & environment.keys()
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert environment["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
    assert environment["NO_PROXY"] == "intranet,127.0.0.1,localhost"
    assert environment["SAM_CLI_TELEMETRY"] == "0"


@pytest.mark.parametrize("value", ["\"ChunkSize=500 Name='a b'\"", '["ChunkSize=500", "Name=a b"]'])
def test_the_local_parameters_are_those_of_samconfig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    config = tmp_path / "samconfig.toml"
    config.write_text(f"[local.deploy.parameters]\nparameter_overrides = {value}\n")
    monkeypatch.setattr(sam, "CONFIG", config)
    assert sam.local_parameters() == {"ChunkSize": "500", "Name": "a b"}


def test_alarms_that_the_emulator_refuses_are_left_out_of_a_build(
    project: Path, tmp_path: Path
) -> None:
    template = project / "template.yaml"
    with template.open("a") as text:
        text.write(
            "  Plain: {Type: 'AWS::CloudWatch::Alarm', Properties: {MetricName: Errors}}\n"
            "  Sum: {Type: 'AWS::CloudWatch::Alarm', Properties: {Metrics: []}}\n"
            "  Both: {Type: 'AWS::CloudWatch::CompositeAlarm', Properties: {}}\n"
        )

    built = yaml.safe_load(sam.build(tmp_path, template, print).read_text())

    assert list(built["Resources"]) == ["HelloFunction", "Plain"]
    assert built["Resources"]["HelloFunction"]["Properties"]["CodeUri"] == "HelloFunction"
