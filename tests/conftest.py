"""Fixtures that every part of the suite may ask for."""

from __future__ import annotations

pytest_plugins = ["tests.support.mariadb", "tests.support.terminal"]
