"""Who a function is to its database: a secret, or the token of its role."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from moto import mock_aws

from batch_core.adapters import secrets
from batch_core.adapters.mysql import AMAZON_ROOTS, RDS_ROOTS, connect
from batch_core.errors import ConfigurationError
from batch_core.settings.migrate import MigrateSettings


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        yield


def secret(**content: Any) -> str:
    made = boto3.client("secretsmanager").create_secret(Name="database", **content)
    return made["ARN"]


def configured(
    secret_arn: str = "", ca_file: str = "", endpoint: str = "proxy.example"
) -> MigrateSettings:
    return MigrateSettings(
        tenant_id="demo",
        aws_region="eu-west-1",
        database_endpoint=endpoint,
        database_port=3306,
        database_name="batch",
        database_user="batch_user",
        database_secret_arn=secret_arn,
        database_ca_file=ca_file,
    )


def test_a_secret_tells_user_and_password() -> None:
    arn = secret(SecretString='{"username": "ann", "password": "p", "engine": "mysql"}')

    assert secrets.database_login(arn) == ("ann", "p")


@pytest.mark.parametrize("text", ["hunter2", '"hunter2"', '{"username": "hunter2"}', "[]", "{"])
def test_a_secret_of_another_form_is_named_and_its_text_is_not_told(text: str) -> None:
    arn = secret(SecretString=text)

    with pytest.raises(ConfigurationError, match="must be JSON") as caught:
        secrets.database_login(arn)
    assert arn in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_binary_secret_is_named() -> None:
    arn = secret(SecretBinary=b"hunter2")

    with pytest.raises(ConfigurationError, match="is binary"):
        secrets.secret_text(arn)


def test_a_secret_that_is_not_there_is_named() -> None:
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nothing-abcdef"

    with pytest.raises(ConfigurationError, match="secret:nothing-abcdef cannot be read"):
        secrets.secret_text(arn)


def test_a_secret_is_read_once_and_again_only_when_it_was_refused() -> None:
    arn = secret(SecretString='{"username": "ann", "password": "old"}')
    login = connect(configured(arn))._login
    assert login(fresh=False) == ("ann", "old")

    boto3.client("secretsmanager").put_secret_value(
        SecretId=arn, SecretString='{"username": "ann", "password": "new"}'
    )
    assert login(fresh=False) == ("ann", "old")
    assert login(fresh=True) == ("ann", "new")
    assert login(fresh=False) == ("ann", "new")


def test_without_a_secret_the_password_is_a_token_for_the_endpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTING")
    user, password = connect(configured())._login(fresh=False)

    assert user == "batch_user"
    assert password.startswith("proxy.example:3306/?Action=connect&DBUser=batch_user&")
    assert "AKIATESTING%2F" in password


@pytest.mark.parametrize(
    ("endpoint", "file"),
    [
        ("batch.proxy-c0ffee.eu-west-1.rds.amazonaws.com", "amazon_roots.pem"),
        ("batch.endpoint.proxy-c0ffee.eu-west-1.rds.amazonaws.com", "amazon_roots.pem"),
        ("batch.cluster-c0ffee.eu-west-1.rds.amazonaws.com", "rds_roots/eu-west-1.pem"),
        ("batch.c0ffee.ap-northeast-1.rds.amazonaws.com", "rds_roots/ap-northeast-1.pem"),
        ("database.example", "amazon_roots.pem"),
    ],
)
def test_who_is_trusted_follows_from_the_endpoint(endpoint: str, file: str) -> None:
    assert connect(configured(endpoint=endpoint))._ca_file == AMAZON_ROOTS.parent / file


def test_a_file_that_is_named_is_trusted_instead() -> None:
    assert str(connect(configured(ca_file="/etc/ca.pem"))._ca_file) == "/etc/ca.pem"


def test_a_region_whose_authorities_are_not_here_is_named() -> None:
    endpoint = "batch.cluster-c0ffee.il-central-1.rds.amazonaws.com"

    with pytest.raises(ConfigurationError, match=r"RDS in il-central-1 .* DatabaseCaFile"):
        connect(configured(endpoint=endpoint))


@pytest.mark.parametrize("roots", sorted(RDS_ROOTS.iterdir()), ids=lambda path: path.stem)
def test_the_roots_of_rds_are_three_of_their_region_and_sign_themselves(roots: Path) -> None:
    certificates = x509.load_pem_x509_certificates(roots.read_bytes())

    names = [each.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0] for each in certificates]
    assert [name.value for name in names] == [
        f"Amazon RDS {roots.stem} Root CA {kind} G1" for kind in ("ECC384", "RSA2048", "RSA4096")
    ]
    for each in certificates:
        each.verify_directly_issued_by(each)
        assert each.not_valid_after_utc.year > 2060


def test_amazons_roots_can_be_read() -> None:
    roots: list[Any] = list(connect(configured())._tls.get_ca_certs())

    assert len(roots) >= 4
    names = {value for root in roots for part in root["subject"] for _, value in part}
    assert "Amazon Root CA 1" in names
