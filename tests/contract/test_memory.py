"""What Call API and Process Users hold of a group whose answers are as large as is allowed.

The memory that matters is the operating system's, so that each of them runs in a process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

from batch_core.limits import API_BODY_BYTES, KIB
from tests.support.scripted_server import ScriptedServer, answer

USERS = 200
# Of the 256 MB that both functions have, about 100 are taken before they begin. A third is left.
ALLOWED = 96 * KIB * KIB


def grown(step: str, folder: Path, url: str) -> dict[str, Any]:
    """Run a step; returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.memory", step, folder, url, str(USERS)],
        check=True,
        capture_output=True,
        text=True,
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_a_group_of_the_largest_answers_is_served_within_a_functions_memory(tmp_path: Path) -> None:
    text = Random(1).randbytes(API_BODY_BYTES // 2 - 6).hex()
    body = b'{"text":"%b"}' % text.encode()
    assert len(body) + 1 == API_BODY_BYTES
    with ScriptedServer() as server:
        server.on("/", answer(200, body))
        called = grown("call", tmp_path, server.url)
        processed = grown("process", tmp_path, server.url)

    assert processed["tally"]["queued"] == USERS
    assert called["grown"] < ALLOWED
    assert processed["grown"] < ALLOWED
