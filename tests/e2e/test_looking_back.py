"""A run looked at after it is over: its timeline, one of its users, its page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.terminal import Terminal


def traced(terminal: Terminal, *words: str) -> dict[str, Any]:
    done = terminal.type("trace", *words, "--tenant", "acme", "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_run_is_traced_and_one_user_is_followed_to_the_row(terminal: Terminal) -> None:
    run = terminal.run("--tenant", "acme", "--users", "30", "--group-size", "10")
    told = traced(terminal, run["run_id"], "--user", "12")
    assert (told["ending"], told["listed"], told["failures"]) == ("ExecutionSucceeded", 30, [])
    places = {(s["chunk"], s["group"]) for s in told["steps"] if s["state"] == "Call API"}
    assert places == {(0, 0), (0, 1), (0, 2)}
    assert any(state["state"] == "For Each Chunk" for state in told["states"])
    assert told["execution"] in {start["execution"] for start in told["starts"]}
    assert (told["user"]["chunk"], told["user"]["group"]) == (0, 1)
    assert (told["user"]["outcome"].partition(":")[0], told["user"]["certain"]) in {
        ("stored", True),
        ("unchanged", True),  # an earlier test had stored the same
    }


def test_the_page_of_a_run_is_beside_its_report(terminal: Terminal) -> None:
    run = terminal.run("--tenant", "acme", "--users", "10")
    page = Path(run["report"]).with_suffix(".html")
    assert run["run_id"] in page.read_text(encoding="utf-8")
    done = terminal.type("report", run["run_id"])
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).name == page.name
