"""`batchctl doctor` on the local cloud: the database is looked at from inside the stack."""

from __future__ import annotations

import json

from tests.support.terminal import Terminal


def test_a_tenants_surroundings_are_looked_at_and_told(terminal: Terminal) -> None:
    done = terminal.type("doctor", "--tenant", "acme", "--json")

    told = json.loads(done.stdout)
    assert done.returncode == 0, told
    of = {each["about"]: each for each in told}
    database = [each for each in told if each["about"] == "database"]
    assert [each["status"] for each in database] == ["ok"] * 4
    assert "MariaDB" in database[0]["needed"] or "MySQL" in database[0]["needed"]
    assert of["DatabaseSecretArn"]["status"] == of["api"]["status"] == "ok"
    assert of["lambda concurrency"]["status"] == "ok"
    assert of["roles of the pipeline"]["status"] == "note"
