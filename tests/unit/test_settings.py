"""Settings: every field comes from the environment, and an error names its variable."""

from __future__ import annotations

from dataclasses import fields

import pytest

from batch_core.errors import ConfigurationError
from batch_core.settings import Settings
from batch_core.settings.call_api import CallApiSettings
from batch_core.settings.finish_run import FinishRunSettings
from batch_core.settings.list_users import ListUsersSettings
from batch_core.settings.migrate import MigrateSettings
from batch_core.settings.process_users import ProcessUsersSettings
from batch_core.settings.write_rows import WriteRowsSettings

ENV = {
    "TENANT_ID": "demo",
    "PAYLOAD_BUCKET": "bucket",
    "API_BASE_URL": "https://api.example.com",
    "API_SECRET_ARN": "",
    "API_CONCURRENCY": "50",
    "API_TIMEOUT_SECONDS": "2.5",
    "API_ALLOW_PRIVATE_ADDRESSES": "true",
}

EVERY = [
    ListUsersSettings,
    CallApiSettings,
    ProcessUsersSettings,
    WriteRowsSettings,
    FinishRunSettings,
    MigrateSettings,
]


def test_fields_are_read_with_their_types() -> None:
    assert CallApiSettings.from_env(ENV) == CallApiSettings(
        tenant_id="demo",
        payload_bucket="bucket",
        api_base_url="https://api.example.com",
        api_secret_arn="",
        api_concurrency=50,
        api_timeout_seconds=2.5,
        api_allow_private_addresses=True,
    )


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    assert CallApiSettings.from_env() == CallApiSettings.from_env(ENV)


@pytest.mark.parametrize("name", list(ENV))
def test_a_missing_variable_is_named(name: str) -> None:
    env = {key: value for key, value in ENV.items() if key != name}
    with pytest.raises(ConfigurationError, match=rf"{name} is not set"):
        CallApiSettings.from_env(env)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("API_CONCURRENCY", "many", "API_CONCURRENCY is 'many', not a whole number"),
        ("API_CONCURRENCY", "2.5", "API_CONCURRENCY is '2.5', not a whole number"),
        ("API_CONCURRENCY", "", "API_CONCURRENCY is '', not a whole number"),
        ("API_TIMEOUT_SECONDS", "soon", "API_TIMEOUT_SECONDS is 'soon', not a number"),
        ("API_ALLOW_PRIVATE_ADDRESSES", "yes", "not true or false"),
        ("API_ALLOW_PRIVATE_ADDRESSES", "", "not true or false"),
    ],
)
def test_a_variable_that_cannot_be_read_is_named(name: str, value: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        CallApiSettings.from_env({**ENV, name: value})


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("True", True), ("false", False), ("FALSE", False)]
)
def test_truth_is_read_in_any_case(text: str, value: bool) -> None:
    settings = CallApiSettings.from_env({**ENV, "API_ALLOW_PRIVATE_ADDRESSES": text})
    assert settings.api_allow_private_addresses is value


@pytest.mark.parametrize("kind", EVERY)
def test_every_function_can_read_its_settings(kind: type[Settings]) -> None:
    env = {field.name.upper(): "1" for field in fields(kind)}
    env |= {name: "true" for name in env if name.startswith("API_ALLOW")}
    settings = kind.from_env(env)
    assert settings.tenant_id == "1"
