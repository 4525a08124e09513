"""What a person sees when a command is killed, or typed wrong."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchctl.local import processes
from batchctl.local.cloud import LocalCloud
from tests.support.terminal import Terminal


@pytest.fixture
def own_terminal() -> Iterator[Terminal]:
    """A terminal whose cloud is not started yet, and which leaves nothing running."""
    home = Path(tempfile.mkdtemp(prefix="batch-"))
    terminal = Terminal(home)
    yield terminal
    assert terminal.type("down").returncode == 0
    assert processes.find(home) == []
    shutil.rmtree(home)


@pytest.mark.parametrize("moment", ["starting", "deploying", "calling the API"])
def test_a_run_killed_at_any_moment_is_cleaned_up_after_and_the_next_one_works(
    own_terminal: Terminal, moment: str
) -> None:
    killed = own_terminal.start("run", "--users", "400", "--api-latency-ms", "2000")
    assert killed.stderr is not None
    for line in killed.stderr:
        if moment in line:
            break
    else:
        pytest.fail(f"the run never said that it is {moment}")
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()

    assert own_terminal.type("down").returncode == 0
    assert processes.find(own_terminal.home) == []
    assert own_terminal.run("--users", "40")["outcomes"]["stored"] == 40


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["run", "--user", "10"], 2, "--user"),
        (["run", "--users", "-1"], 2, "--users"),
        (["run", "--users", "many"], 2, "--users"),
        (["run", "--api-error-rate", "1.5"], 2, "--api-error-rate"),
        (["run", "--group-size", "0"], 2, "--group-size"),
        (["run", "--scheduled-time", "soon"], 2, "--scheduled-time"),
        (["run", "--tenant", "Acme!"], 2, "tenant"),
        (["run", "--stack", "other", "--users", "5"], 2, "--users"),
        (["seed", "--users", "-5"], 2, "--users"),
        (["logs", "no_such_function", "--tenant", "acme"], 2, "no_such_function"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_message(
    terminal: Terminal, words: list[str], status: int, told: str
) -> None:
    done = terminal.type(*words)

    assert done.returncode == status
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_that_was_asked_for_is_named(
    cloud: LocalCloud, own_terminal: Terminal
) -> None:
    taken = cloud.endpoint_url.rsplit(":", 1)[1]

    done = own_terminal.type("up", "--port-ministack", taken)

    assert done.returncode == 1
    assert taken in done.stderr
    assert "Traceback" not in done.stderr
