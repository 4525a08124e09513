"""Secrets Manager."""

from __future__ import annotations

from typing import Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from batch_core import tracing
from batch_core.codec import parse_json
from batch_core.errors import ConfigurationError

CONFIG: Final = Config(
    connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 4}
)


def secret_text(arn: str) -> str:
    """Read a secret's current text.

    Raises
    ------
    ConfigurationError
        When it cannot be read, or is binary; names the secret.
    """
    client = boto3.client("secretsmanager", config=CONFIG)
    try:
        with tracing.aws_call("SecretsManager", "GetSecretValue"):
            answer = client.get_secret_value(SecretId=arn)
    except (ClientError, BotoCoreError) as error:
        raise ConfigurationError(f"the secret {arn} cannot be read: {error}") from error
    text = answer.get("SecretString")
    if text is None:
        raise ConfigurationError(f"the secret {arn} is binary; it must be text")
    return text


def database_login(arn: str) -> tuple[str, str]:
    """Read the user name and the password out of a database's secret.

    Raises
    ------
    ConfigurationError
        When the secret cannot be read, or is not JSON with "username" and "password".
    """
    return login_of(arn, secret_text(arn))


def login_of(arn: str, text: str) -> tuple[str, str]:
    """Take the user name and the password out of the text of a database's secret.

    Raises
    ------
    ConfigurationError
        When it is not JSON with "username" and "password"; names the secret, not the text.
    """
    try:
        match parse_json(text):
            case {"username": str(user), "password": str(password)}:
                return user, password
    except ValueError:
        pass  # told below, without the text
    raise ConfigurationError(
        f'the secret {arn} must be JSON with the texts "username" and "password"'
    )
