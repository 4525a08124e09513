"""What a cold start loads: every import is billed, and waited for by the first run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AWS = {"boto3", "botocore.session"}
# Loaded by the first invocation whose trace is recorded.
TRACING = {"aws_xray_sdk"}
OTHERS = {
    "list_users": {"pycurl"},
    "call_api": {"pymysql"},
    "process_users": {"pymysql", "pycurl"},
    # The writer makes a dataclass for each thing it handles, and for nothing else.
    "write_rows": {"pycurl", "batch_core.ports"} | AWS,
    "finish_run": {"pycurl"} | AWS,
    "migrate": {"pycurl"} | AWS,
}


def loaded(function: str) -> set[str]:
    """The modules that importing a function's handler loads, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys, app; print(*sys.modules)"],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(
                str(ROOT / folder)
                for folder in (f"functions/{function}", "layers/job", "layers/batch_core")
            ),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("function", OTHERS)
def test_a_cold_start_loads_only_what_its_function_needs(function: str) -> None:
    modules = loaded(function)

    assert "batch_core.observability" in modules
    assert modules & (OTHERS[function] | TRACING) == set()
