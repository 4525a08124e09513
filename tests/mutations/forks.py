"""Runs pytest again and again, each time in a fork of one process that has imported what is slow.

The mutations would spend most of their time on importing pytest, boto3 and moto. Nothing of this
project is imported before the fork, so each one gets the code of the copy that it is sent to.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

SLOW: Final = (
    "aws_xray_sdk.core",
    "boto3",
    "hypothesis.strategies",
    "moto.core.models",
    "moto.kinesis",
    "moto.s3",
    "moto.secretsmanager",
    "pytest",
    "samtranslator.translator.translator",
)
# A mutation may make a test wait for ever.
SECONDS: Final = 300


class Forks:
    """The process that forks, as those see it who want pytest to be run.

    Parameters
    ----------
    variables
        What is added to the environment.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            # Safe path: the folder of this file is no place to import from.
            [sys.executable, "-P", __file__],
            env={**os.environ, **self._variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def pytest(self, checkout: Path, *tests: str) -> tuple[int, str]:
        """Run these tests of a checkout; returns the exit code and what was printed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        log = checkout / "pytest.log"
        order = {"checkout": str(checkout), "tests": tests, "log": str(log)}
        self._process.stdin.write(f"{json.dumps(order)}\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return code, log.read_text()


def main() -> None:
    """Fork for each order on standard input, and answer with the fork's exit code."""
    for name in SLOW:
        importlib.import_module(name)

    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(**order)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _run(*, checkout: str, tests: list[str], log: str) -> None:
    import pytest

    # As Ctrl-C does, so that the servers of the tests are stopped.
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(SECONDS)
    with Path(log).open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(checkout)
    options = ["-q", "--tb=short", "-p", "no:cacheprovider", "--basetemp=tmp"]
    # The table of faults says which verdicts are flipped.
    options += ["-p", "tests.support.fault_table"]
    # Of Hypothesis, whose asserts nobody needs explained.
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    code = pytest.main([*options, *tests])
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
