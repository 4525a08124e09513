"""A checkout of its own for tests that change the tenants."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from batchctl.tenants.project import Project
from tests.support.checkout import ROOT

PLAIN = """\
# The first comment.
defaults:
  account: "111122223333"
  region: eu-west-1
  parameters:
    DatabaseEndpoint: db.example.com  # one server for all
    DatabaseResourceId: cluster-ABC
  tags: {project: batch}

tenants:
  # Who meets it first.
  - name: canary
    wave: 0
    parameters:
      ApiBaseUrl: https://sandbox.example.com
      DatabaseName: batch_canary
      DatabaseUser: batch_canary

  # Who pays.
  # A lot.
  - name: acme
    wave: 1
    account: "444455556666"
    parameters:
      ApiBaseUrl: https://api.example.com
      ScheduleMinutes: 15
      ApiAllowPrivateAddresses: false
      DatabaseName: batch_acme
      DatabaseUser: batch_acme
    tags: {cost-center: "4711"}
# The last comment.
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two tenants in a checkout that has the real templates and schema."""
    (tmp_path / "tenants").mkdir()
    for name in ("template.yaml", "pipeline.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copy(ROOT / "tenants" / "tenants.schema.json", tmp_path / "tenants")
    (tmp_path / "tenants" / "tenants.yaml").write_text(PLAIN)
    return Project(tmp_path)
