"""Fixtures that every part of the suite may ask for."""

from __future__ import annotations

import os

import pytest

from batch_core import observability

# Whoever runs the suite may be signed in to an account: a person by a profile, CodeBuild by the
# endpoint that gives its container credentials. No test may find any of it, nor a region.
for _name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[_name]
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

pytest_plugins = [
    "tests.support.browser",
    "tests.support.jsonata",
    "tests.support.databases",
    "tests.support.tenant",
    "tests.support.terminal",
    "tests.support.x_ray",
]


@pytest.fixture(autouse=True)
def ended_environments(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count the environments that end themselves, which here would be pytest's process."""
    ended: list[str] = []
    monkeypatch.setattr(observability, "end_environment", lambda: ended.append("ended"))
    return ended
