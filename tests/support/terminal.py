"""A local cloud of this test session's own, used as a person would: through the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from batchctl.local.cloud import LocalCloud
from sampleapi.admin import SampleApiAdmin
from tests.support.databases import USUAL

ROOT = Path(__file__).parents[2]
BATCHCTL = Path(sys.executable).with_name("batchctl")


@dataclass(frozen=True)
class Terminal:
    """Types commands at the cloud in `home`."""

    home: Path

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start ``batchctl`` with these words."""
        return subprocess.Popen(
            [BATCHCTL, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "BATCHCTL_HOME": str(self.home)},
        )

    def type(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``batchctl`` with these words to its end."""
        return finished(self.start(*words))

    def run(self, *words: str) -> dict[str, Any]:
        """``batchctl run WORDS --json``, which must succeed."""
        return result_of(self.type("run", *words, "--json"))


def finished(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for a command's end."""
    out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def last_line(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Read the object that ``--json`` promises as the last line, however the run ended."""
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def result_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Read the last line of a run that succeeded."""
    assert done.returncode == 0, done.stderr + done.stdout
    return last_line(done)


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    # Not pytest's own folder: a socket's path must stay short.
    folder = Path(tempfile.mkdtemp(prefix="batch-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def cloud(home: Path) -> Iterator[LocalCloud]:
    """Two tenants, deployed side by side, on the database that a tenant of AWS has."""
    with LocalCloud(home, database=USUAL) as cloud:
        cloud.deploy("acme")
        cloud.deploy("globex")
        yield cloud


@pytest.fixture(scope="session")
def terminal(cloud: LocalCloud) -> Terminal:
    return Terminal(cloud.home)


@pytest.fixture
def api(cloud: LocalCloud) -> SampleApiAdmin:
    """The tenant acme's side of the outside API, behaving well, with no user in disgrace."""
    with cloud.database("acme") as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM batch_user")
    admin = SampleApiAdmin(cloud.sample_api_url, "acme")
    admin.reset()
    return admin
