"""A column too short for one user's value, and the way back for that value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from batchctl.local.cloud import LocalCloud
from batchctl.local.processes import wait_for
from sampleapi.activity import activity
from sampleapi.admin import SampleApiAdmin
from tests.support.activity_table import stored_rows, versions
from tests.support.terminal import Terminal, result_of

USER = "u-000003"


def test_a_row_that_did_not_fit_is_put_back_once_the_column_is_wider(
    cloud: LocalCloud, terminal: Terminal, api: SampleApiAdmin
) -> None:
    terminal.run("--tenant", "acme", "--users", "50")
    with too_short_a_column(cloud) as longest:
        note = "n" * (longest + 1)
        body = json.dumps({**activity("acme", USER, 0), "note": note})
        api.script({USER: [{"body": body, "repeat": True}]})
        api.touch(USER)
        run = terminal.run("--tenant", "acme", "--users", "50")
        assert run["outcomes"]["rejected"] == 1

        # Too early: it comes back.
        assert replay(terminal)["replayed"]["rows"] == 1
        assert wait_for(lambda: waiting(terminal) == 1, deadline_s=30)

    (line,) = replay(terminal, "--dry-run", "--run", run["run_id"])["found"]
    assert (line["kind"], line["runs"], line["errors"]) == ("rows", [run["run_id"]], {"1406": 1})
    assert replay(terminal)["replayed"]["rows"] == 1

    assert wait_for(lambda: stored_rows(cloud, "acme")[USER]["note"] == note, deadline_s=30)
    assert versions(cloud, "acme")[USER] == max(versions(cloud, "acme").values())
    again = terminal.type("replay", "--tenant", "acme")
    assert (again.returncode, again.stdout) == (0, "Nothing to put back.\n")
    # What happened to the user in that run is history.
    assert account(cloud, run["run_id"]) == (0, 1)


@contextmanager
def too_short_a_column(cloud: LocalCloud) -> Iterator[int]:
    """Make the notes' column as long as the longest note for a while, and say how long that is."""
    with cloud.database("acme") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT MAX(CHAR_LENGTH(note)) FROM user_activity")
        ((longest,),) = cursor.fetchall()
        cursor.execute(f"ALTER TABLE user_activity MODIFY note VARCHAR({longest}) NOT NULL")
        try:
            yield longest
        finally:
            cursor.execute("ALTER TABLE user_activity MODIFY note VARCHAR(500) NOT NULL")


def replay(terminal: Terminal, *words: str) -> dict[str, Any]:
    """``batchctl replay WORDS --json``, which must succeed."""
    return result_of(terminal.type("replay", "--tenant", "acme", *words, "--json"))


def waiting(terminal: Terminal) -> int:
    """How many rows are put aside."""
    return sum(line["rows"] for line in replay(terminal, "--dry-run")["found"])


def account(cloud: LocalCloud, run_id: str) -> tuple[int, int]:
    """How many rows of a run were stored and rejected, as its ledger says."""
    with cloud.database("acme") as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT CAST(SUM(`stored`) AS SIGNED), CAST(SUM(rejected) AS SIGNED)"
            " FROM batch_record WHERE run_id = %s",
            (run_id,),
        )
        ((stored, rejected),) = cursor.fetchall()
        return stored, rejected
