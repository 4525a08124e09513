"""A run with three faults, each of another kind: who asks afterwards is told of all three.

User 5's API always fails, the environment that calls the API for group 1 is killed, and the
database refuses user 25's row.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchctl.local import processes
from batchctl.local.cloud import LocalCloud
from sampleapi.activity import activity
from sampleapi.admin import SampleApiAdmin
from tests.support.terminal import Terminal, finished, last_line

USERS = 30
FAILING, WAITING, REFUSED, SERVED = 5, 15, 25, 26


def account(user: int) -> str:
    return f"u-{user:06d}"


@pytest.fixture(scope="module")
def run(cloud: LocalCloud, terminal: Terminal) -> Iterator[dict[str, Any]]:
    """The run's own report."""
    terminal.type("seed", "--tenant", "acme", "--users", str(USERS))
    sql(cloud, "DELETE FROM batch_user", "DELETE FROM batch_record", "DELETE FROM user_activity")
    sql(cloud, "ALTER TABLE user_activity ADD CONSTRAINT known CHECK (action <> 'poison')")
    api = SampleApiAdmin(cloud.sample_api_url, "acme")
    api.reset()
    poison = {**activity("acme", account(REFUSED), 0), "action": "poison"}
    api.script(
        {
            account(FAILING): [{"status": 500, "repeat": True}],
            account(WAITING): [{"delay_ms": 60_000, "repeat": True}],
            account(REFUSED): [{"body": json.dumps(poison), "repeat": True}],
        }
    )
    running = terminal.start("run", "--tenant", "acme", "--group-size", "10", "--json")
    # The other two groups are through, so that nothing else is in an environment that is killed.
    assert processes.wait_for(
        lambda: sql(cloud, "SELECT COUNT(*) FROM batch_record") == [(2,)], deadline_s=60
    )
    for environment in environments(cloud, "CallApi"):
        processes.send(environment, signal.SIGKILL)
    yield last_line(finished(running))
    sql(cloud, "ALTER TABLE user_activity DROP CONSTRAINT known")
    api.reset()
    finished(terminal.start("replay", "--tenant", "acme", "--json"))


def sql(cloud: LocalCloud, *statements: str) -> list[tuple[Any, ...]]:
    with cloud.database("acme") as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


def environments(cloud: LocalCloud, function: str) -> list[processes.ProcessId]:
    """The processes in which the emulator runs a function of acme."""
    stack = cloud.stack("acme").name
    found = []
    for process in processes.find(cloud.home, "ministack"):
        variables = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        names = [each for each in variables if each.startswith(b"AWS_LAMBDA_FUNCTION_NAME=")]
        if names and f"{stack}-{function}" in names[0].decode():
            found.append(process)
    assert found
    return found


def trace(terminal: Terminal, run: dict[str, Any], *words: str) -> dict[str, Any]:
    done = terminal.type("trace", run["run_id"], "--tenant", "acme", "--json", *words)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_every_user_is_accounted_for(run: dict[str, Any]) -> None:
    assert (run["listed"], run["unaccounted"]) == (USERS, 0)
    assert run["outcomes"]["stored"] == 18
    assert (run["outcomes"]["rejected"], run["outcomes"]["retry_later"]) == (1, 11)


def test_the_trace_names_each_fault_with_state_function_and_cause(
    terminal: Terminal, run: dict[str, Any]
) -> None:
    told = trace(terminal, run)

    (killed,) = [each for each in told["failures"] if each["group"] is not None]
    assert {name: killed[name] for name in ("state", "function", "chunk", "group", "cause")} == {
        "state": "Call API", "function": "call_api", "chunk": 0, "group": 1,
        "cause": "Worker process died",
    }  # fmt: skip
    assert places(told["users_without_row"]) == {
        ("retry_later", "http_500", 0, 0),
        ("rejected", "mysql_3819", 0, 2),
    }

    shown = terminal.type("trace", run["run_id"], "--tenant", "acme").stdout
    for said in ("Call API", "Worker process died", "http_500", "mysql_3819", "Write Rows"):
        assert said in shown


@pytest.mark.parametrize(
    ("user", "outcome"),
    [
        (FAILING, r"retry_later: http_500"),
        (WAITING, r"retry_later: the group failed in Call API: Runtime\.HandlerError"),
        (REFUSED, r"rejected: put aside in quarantine/\S+/0-2-0\.json: 3819: .*known.*"),
        (SERVED, "stored"),
    ],
)
def test_each_users_story_is_told(
    terminal: Terminal, run: dict[str, Any], user: int, outcome: str
) -> None:
    told = trace(terminal, run, "--user", str(user))["user"]

    assert re.fullmatch(outcome, told["outcome"])
    assert told["certain"]


def test_the_report_shows_all_three(run: dict[str, Any]) -> None:
    report = json.loads(Path(run["report"]).read_text(encoding="utf-8"))
    page = Path(run["report"]).with_suffix(".html").read_text(encoding="utf-8")

    assert places(report["failures"]) == {
        ("retry_later", "http_500", 0, 0),
        ("rejected", "mysql_3819", 0, 2),
    }
    assert [(each["chunk"], each["group"]) for each in report["failed_groups"]] == [(0, 1)]
    for said in ("http_500", "mysql_3819", "Runtime.HandlerError"):
        assert said in page


def places(failures: list[dict[str, Any]]) -> set[tuple[str, str, int, int]]:
    """Each class of failure, and where its examples were."""
    return {
        (each["outcome"], each["error"], example["chunk"], example["group"])
        for each in failures
        for example in each["examples"]
    }
