"""Whatever the kind of their ids, users that do not fit have their turn: on real databases."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

import pytest

from batch_core.adapters.mysql_ledger import MySqlRunLedger
from batch_core.adapters.mysql_users import MySqlUserSource
from batch_core.chunks import Chunk, Listed, unpack
from batch_core.finish_run import RunFinisher
from batch_core.list_users import UserLister
from batch_core.outcomes import Tally
from batch_core.run import Run
from tests.support.fakes import FakePayloadStore
from tests.support.finishing import configured as finish_settings
from tests.support.world import MySqlWorld
from tests.unit.test_list_users import configured

USERS = 60
KINDS = {
    "BIGINT UNSIGNED": [str(2**63 + n) for n in range(USERS)],
    # Doubles tell no two of these apart.
    "DECIMAL(40,2)": [f"{10**30 + n}.50" for n in range(USERS)],
    "VARCHAR(20)": [f"'u{n:04}'" for n in range(USERS)],
    "BINARY(16)": [f"X'{n:032x}'" for n in range(USERS)],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reached", [22, 13])
def test_every_user_has_a_turn_within_as_many_runs_as_it_takes_and_one(
    mysql_world: MySqlWorld, kind: str, reached: int
) -> None:
    """22 users fit into a run; of these the API's time reaches all, or 13 only."""
    database = mysql_world.database
    database.ask(lambda s: s.execute(f"CREATE TABLE u (id {kind} PRIMARY KEY)"))
    values = ",".join(f"({value})" for value in KINDS[kind])
    database.ask(lambda s: s.execute(f"INSERT INTO u VALUES {values}"))
    store, ledger = FakePayloadStore(), MySqlRunLedger(database)
    lister = UserLister(
        settings=configured(api_requests_per_second=0.1, users_per_invocation=50),
        query="SELECT id AS user_id FROM u",
        code="c0de",
        users=MySqlUserSource(database),
        ledger=ledger,
        store=store,
    )
    finish = RunFinisher(finish_settings(), ledger, lambda: store)
    at = datetime.now(UTC).replace(microsecond=0)
    asked: Counter[str] = Counter()

    for _ in range(ceil(USERS / reached) + 1):
        listed = lister(
            {"started_at": at.isoformat(), "scheduled_time": at.isoformat(), "execution": str(at)}
        )
        finish(reach(listed, store, reached, asked), remaining_seconds=6)
        at += timedelta(minutes=5)

    assert len(asked) == USERS


def reach(
    listed: dict[str, Any], store: FakePayloadStore, users: int, asked: Counter[str]
) -> dict[str, Any]:
    """Ask the first users of a run, group by group; what the workflow hands to Finish Run."""
    run, late = Run.from_json(listed["run"]), list[dict[str, Any]]()
    for pointer in listed["chunks"]:
        chunk = Chunk.from_json(pointer)
        for group in range(chunk.groups):
            body = store.get(chunk.key(run), etag=chunk.etag, span=chunk.span(group))
            for at, each in enumerate(members(body, chunk, group, run), start=1):
                if users:
                    users -= 1
                    asked[str(each.user["user_id"])] += 1
                else:
                    late.append({"chunk": pointer, "group": group, "at": at})
    tally = Tally(unchanged=listed["listed"] - sum(listed["held_back"].values()))
    tally += Tally(skipped=sum(listed["held_back"].values()))
    return {
        "run": listed["run"],
        "listed": listed["listed"],
        "tally": tally.to_json(),
        "held_back": listed["held_back"],
        "called": len(asked),
        "late": late[:1],
        "awaited": [],
    }


def members(body: bytes, chunk: Chunk, group: int, run: Run) -> list[Listed]:
    return unpack(body, expected=chunk.users_in(group, run.group_size))
