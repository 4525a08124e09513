"""Processes of a local cloud are recognised, and only they are ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchctl.errors import BatchctlError
from batchctl.local import processes
from batchctl.local.processes import ProcessId

if TYPE_CHECKING:
    from collections.abc import Iterator

SLEEPS = "import time; print('ready', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPS!r}]).wait()"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    processes.stop(tmp_path, grace_s=0)


def spawn(home: Path, code: str, role: str = "worker") -> ProcessId:
    log = home / f"{role}.log"
    process = processes.spawn(
        home, role, [sys.executable, "-c", code], env=dict(os.environ), log=log
    )
    assert processes.wait_for(lambda: "ready" in log.read_text(), deadline_s=20)
    return process


def test_a_process_is_found_by_its_home_and_role(home: Path, tmp_path: Path) -> None:
    one, two = spawn(home, SLEEPS, "one"), spawn(home, SLEEPS, "two")
    assert processes.find(home, "one") == [one]
    assert set(processes.find(home)) == {one, two}


def test_a_role_that_begins_like_another_is_not_found(home: Path) -> None:
    spawn(home, SLEEPS, "sampleapi-helper")
    assert processes.find(home, "sampleapi") == []


def test_a_home_that_begins_like_another_is_left_alone(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "cloud", tmp_path / "cloud2"
    ours.mkdir()
    theirs.mkdir()
    process = spawn(theirs, SLEEPS)
    try:
        assert processes.stop(ours) == 0
        assert process.alive()
    finally:
        processes.stop(theirs)


def test_the_orphans_of_a_killed_parent_are_ended_too(home: Path) -> None:
    parent = spawn(home, PARENT)
    processes.send(parent, signal.SIGKILL)
    assert processes.wait_until_gone([parent], deadline_s=20)
    (orphan,) = processes.find(home)
    assert processes.stop(home) == 1
    assert not orphan.alive()


def test_a_process_that_ignores_sigterm_is_ended_when_patience_is_over(home: Path) -> None:
    process = spawn(home, STUBBORN)
    assert processes.stop(home, grace_s=0.1) == 1
    assert not process.alive()


def test_a_recycled_pid_is_neither_alive_nor_signalled(home: Path) -> None:
    process = spawn(home, SLEEPS)
    recorded_before = ProcessId(process.pid, process.started - 1)
    processes.send(recorded_before, signal.SIGKILL)
    assert not recorded_before.alive()
    assert process.alive()


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    try:
        assert processes.wait_for(lambda: processes.identify(child.pid) is None, deadline_s=20)
    finally:
        child.wait()


def test_a_program_that_is_run_leaves_its_status_and_its_output(home: Path) -> None:
    log = home / "logs" / "run.log"
    command = [sys.executable, "-c", "print('said'); raise SystemExit(3)"]
    for _ in range(2):
        status = processes.run(home, "run", command, env=dict(os.environ), log=log, cwd=home)
        assert (status, log.read_text()) == (3, "said\n")


def test_a_program_that_is_absent_is_named(home: Path) -> None:
    with pytest.raises(BatchctlError, match=r"absent-program cannot be started .*make setup"):
        processes.run(home, "x", ["absent-program"], env={}, log=home / "x.log", cwd=home)


def test_an_interrupted_command_ends_what_it_was_running(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from batchctl.local import processes\n"
        # What a shell starts in the background ignores it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"home = Path({str(tmp_path)!r})\n"
        f"processes.run(home, 'run', [sys.executable, '-c', {SLEEPS!r}], env=dict(os.environ),"
        " log=home / 'run.log', cwd=home)"
    )
    command = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    try:
        assert processes.wait_for(lambda: bool(processes.find(tmp_path)), deadline_s=20)
        command.send_signal(signal.SIGINT)
        command.wait(timeout=30)
        assert processes.find(tmp_path) == []
    finally:
        command.kill()
        command.wait()
        processes.stop(tmp_path)


def test_the_end_of_a_log_is_quoted(tmp_path: Path) -> None:
    log = tmp_path / "some.log"
    log.write_text("\n".join(f"line {number}" for number in range(30)))
    quoted = processes.tail(log, lines=2)
    assert quoted == f" The end of {log}:\n  | line 28\n  | line 29"


def test_a_log_that_is_absent_is_not_quoted(tmp_path: Path) -> None:
    assert processes.tail(tmp_path / "none.log") == ""
