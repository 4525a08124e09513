"""Fixtures that every part of the suite may ask for."""

from __future__ import annotations

import pytest

from batch_core import observability

pytest_plugins = [
    "tests.support.browser",
    "tests.support.jsonata",
    "tests.support.mariadb",
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
