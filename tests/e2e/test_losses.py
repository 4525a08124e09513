"""A run whose database is killed under it, as a person at the terminal sees it."""

from __future__ import annotations

import time

import pytest

from batchctl.local.cloud import LocalCloud
from sampleapi.admin import SampleApiAdmin
from tests.support.activity_table import expected_rows, stored_rows
from tests.support.terminal import Terminal, finished, result_of

USERS = 1_500
# How long the database is away: a restart.
AWAY_S = 3


def test_a_database_killed_and_restarted_while_the_api_fails_costs_no_user(
    cloud: LocalCloud, terminal: Terminal, api: SampleApiAdmin
) -> None:
    api.touch(*(f"u-{number:06d}" for number in range(1, USERS + 1)))
    words = ("--tenant", "acme", "--users", str(USERS))
    run = terminal.start(
        "run", *words, "--api-error-rate", "0.1", "--api-latency-ms", "300", "--json"
    )
    assert run.stderr is not None
    for line in run.stderr:
        if "calling the API" in line:
            break
    else:
        pytest.fail("the run never said that it is calling the API")
    cloud.database_server.kill()
    time.sleep(AWAY_S)
    cloud.database_server.start()

    result = result_of(finished(run))

    assert (result["status"], result["listed"], result["unaccounted"]) == ("SUCCEEDED", USERS, 0)
    assert sum(result["outcomes"].values()) == USERS
    result_of(terminal.type("replay", "--tenant", "acme", "--json"))
    after = terminal.run(*words, "--everyone")
    assert after["outcomes"]["stored"] + after["outcomes"]["unchanged"] == USERS
    assert stored_rows(cloud, "acme") == expected_rows(cloud, "acme", USERS)
