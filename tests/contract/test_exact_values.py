"""What goes in is what is stored, or its user is rejected: from a row of the users query and an
answer of the API, by way of chunk, claim, record and SQL, to the job's table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch_core.adapters.mysql_connection import Database
from batch_core.adapters.mysql_rows import MySqlRowStore
from batch_core.adapters.mysql_users import MySqlUserSource
from batch_core.breaker import Breakers
from batch_core.call_api import ChunkReader, call_api
from batch_core.chunks import Chunk, pack, serialise
from batch_core.codec import parse_exact
from batch_core.job import Job, Request, Response, Row, Table, User
from batch_core.outcomes import Tally
from batch_core.process_users import process_users
from batch_core.records import decode
from batch_core.run import Run
from tests.support.fakes import FakePayloadStore
from tests.support.fakes_api import FakeApi, FakeStream, Served
from tests.support.world import MySqlWorld

TABLES = (
    """
    CREATE TABLE account (
      user_id BIGINT UNSIGNED NOT NULL PRIMARY KEY, amount DECIMAL(65,30) NOT NULL,
      number BIGINT NOT NULL
    ) ENGINE = InnoDB
    """,
    """
    CREATE TABLE kept (
      user_id BIGINT UNSIGNED NOT NULL PRIMARY KEY, amount DECIMAL(65,30), number BIGINT,
      exact DECIMAL(65,30), text VARCHAR(200), data JSON, version BIGINT NOT NULL
    ) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4
    """,
)
TABLE = Table("kept", columns=("amount", "number", "exact", "text", "data"))

numbers = st.from_regex(
    r"\A-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,32})?([eE][-+]?[0-9]{1,2})?\Z", fullmatch=True
)


@dataclass(frozen=True)
class Case:
    """A user, what the users query says of it, and the number that the API says."""

    user_id: int
    amount: Decimal
    number: int
    told: str
    column: str


cases = st.builds(
    Case,
    user_id=st.integers(1, 2**64 - 1),
    amount=st.decimals(-(10**34), 10**34, places=30),
    number=st.integers(-(2**63), 2**63 - 1),
    told=numbers
    | st.sampled_from(["123456789012345678901234567891", "9007199254740993.0", "1e-400"]),
    column=st.sampled_from(["exact", "text", "data"]),
)


def request(user: User) -> Request:
    return Request(f"/{user['user_id']}")


def process(user: User, response: Response) -> Row:
    (column, number) = next(iter(response.json().items()))
    kept = {"exact": number, "text": str(number), "data": {"n": [number]}}
    row = {name: kept[name] if name == column else None for name in kept}
    return {"amount": user["amount"], "number": user["number"], **row}


JOB = Job("SELECT user_id, amount, number FROM account", TABLE, request, process)


@pytest.fixture
def made(mysql_world: MySqlWorld) -> Database:
    for statement in TABLES:
        execute(mysql_world.database, statement)
    return mysql_world.database


def execute(database: Database, statement: str) -> None:
    database.ask(lambda session: session.execute(statement))


def run_batch(database: Database, asked: Sequence[Case]) -> Tally:
    """Take the users of the table `account` all the way; returns what became of them."""
    api, store, stream = FakeApi(), FakePayloadStore(), FakeStream()
    for case in asked:
        told = f'{{"{case.column}": {case.told}}}'
        api.serve(f"/{case.user_id}", Served(body=told.encode()))
    listed = [serialise(each.user) for each in MySqlUserSource(database).users(JOB.users)]
    run = Run("demo-20260131T102000Z", 1, 1, len(listed), 0.0, 9e9)
    body, groups, stride = pack(listed, len(listed))
    etag = store.put(f"{run.prefix}/chunks/0", body, metadata={})
    chunk = Chunk(0, len(listed), groups, stride, etag)
    event = {"run": run.to_json(), "chunk": chunk.to_json(), "group": 0}
    common: dict[str, Any] = {"tenant": "demo", "job": JOB, "store": store}
    called = call_api(
        event, reader=ChunkReader(store), api=api, breakers=Breakers(), seconds=60, **common
    )
    tally = Tally.from_json(process_users({**event, **called}, stream=stream, **common))
    records = [decode(data) for _, data in stream.records]
    refused = MySqlRowStore(database).write(TABLE, records)
    return Tally(stored=tally.queued - len(refused), rejected=tally.rejected + len(refused))


def stored(database: Database) -> dict[int, dict[str, Any]]:
    columns = "user_id", "amount", "number", "exact", "text", "data"
    rows = database.ask(lambda session: session.rows(f"SELECT {','.join(columns)} FROM kept"))
    return {row[0]: dict(zip(columns[1:], row[1:], strict=True)) for row in rows}


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(asked=st.lists(cases, min_size=1, max_size=12, unique_by=lambda case: case.user_id))
def test_a_value_is_stored_as_it_is_or_its_user_is_rejected(
    made: Database, asked: list[Case]
) -> None:
    execute(made, "DELETE FROM account")
    execute(made, "DELETE FROM kept")
    values = ",".join(f"({case.user_id},{case.amount:f},{case.number})" for case in asked)
    execute(made, f"INSERT INTO account VALUES {values}")

    tally = run_batch(made, asked)

    kept = stored(made)
    assert tally == Tally(stored=len(kept), rejected=len(asked) - len(kept))
    for case in asked:
        if row := kept.get(case.user_id):
            assert (Decimal(row["amount"]), row["number"]) == (case.amount, case.number)
            value = row[case.column]
            if case.column == "data":
                (value,) = parse_exact(value.encode())["n"]
                value = repr(value)
            told = Decimal(case.told)
            assert Decimal(value) == (declared(told) if case.column == "exact" else told)
        else:
            assert is_beyond(case), f"{case} could have been stored"


def declared(number: Decimal) -> Decimal:
    """As a column declares it: of a double too small for it DECIMAL(65,30) keeps 30 places."""
    with localcontext(prec=200):
        return number.quantize(Decimal("1E-30"), ROUND_HALF_UP)


def is_beyond(case: Case) -> bool:
    """Whether the column has no place for a number as it was told."""
    number = Decimal(case.told)
    match case.column:
        case "exact":
            return abs(number) >= 10**35 or number != declared(number)
        case "data" if case.told.lstrip("-").isdigit():
            return not -(2**63) <= number < 2**64
        case "data":
            return Decimal(repr(float(case.told))) != number
    return False
