"""CPU seconds are those of this cloud's processes, function by function."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchctl.bench import cpu
from batchctl.bench.cpu import CpuSeconds
from batchctl.local import processes

WORKS = "sum(range(5_000_000)); print('ready', flush=True); import time; time.sleep(600)"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    processes.stop(tmp_path, grace_s=0)


def start(home: Path, role: str, **env: str) -> None:
    log = home / f"{role}{len(env)}.log"
    command = [sys.executable, "-c", WORKS]
    processes.spawn(home, role, command, env={**os.environ, **env}, log=log)
    assert processes.wait_for(lambda: "ready" in log.read_text(), deadline_s=20)


def test_each_process_counts_for_its_server_and_a_worker_for_its_function(home: Path) -> None:
    before = cpu.read(home)
    start(home, "sampleapi")
    start(home, "ministack")
    start(home, "ministack", AWS_LAMBDA_FUNCTION_NAME="stack-CallApiFunction-1")

    used = cpu.read(home).since(before)

    assert before == CpuSeconds()
    assert used.api > 0
    assert used.emulator > 0
    assert used.database == 0
    assert used.functions.keys() == {"stack-CallApiFunction-1"}
    assert used.all_functions > 0


def test_a_worker_that_was_there_before_counts_from_then(home: Path) -> None:
    earlier = CpuSeconds(database=1.0, functions={"old": 2.0})
    later = CpuSeconds(database=1.5, functions={"old": 2.25, "new": 0.5})

    assert later.since(earlier) == CpuSeconds(database=0.5, functions={"old": 0.25, "new": 0.5})


def test_a_process_that_has_ended_counts_nothing() -> None:
    child = os.posix_spawnp(sys.executable, [sys.executable, "-c", ""], os.environ)
    os.waitpid(child, 0)

    assert cpu.seconds_of(child) == 0
