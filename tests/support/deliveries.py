"""What is delivered to the writer, and what the tables must hold in the end.

The reference is as simple as can be: of each user the row with the highest version.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final

from batch_core.adapters.mysql_connection import Database
from batch_core.adapters.mysql_rows import MySqlRowStore
from batch_core.records import Record, encode
from batch_core.write_rows import RowWriter
from tests.support.databases import Schema
from tests.support.fakes import FakePayloadStore
from tests.support.ledger import Total
from tests.support.world import TABLE, MySqlWorld

RUN: Final = "demo-20260131T100000Z"

type Writer = Callable[[dict[str, Any]], Any]


class Deliveries:
    """Batches of records for the table `note`, whose text takes 20 characters.

    Parameters
    ----------
    schema
        An empty one; its tables are made here, and looked at past any proxy.
    write
        Takes the event of a batch, as the function Write Rows does.
    """

    def __init__(self, schema: Schema, write: Writer) -> None:
        self._database = schema.reach()
        self._world = MySqlWorld.made_in(self._database)
        self._write = write
        self._numbers = count()
        self._sent: list[Record] = []
        self._expected: dict[object, tuple[int, str]] = {}

    def record(self, users: Sequence[int], version: int, *, text: str = "") -> Record:
        """Make a record, and expect its rows to be stored unless `text` is given."""
        self._world.people(*users)
        texts = {user: text or f"{user} at {version}" for user in users}
        record = Record(
            tenant="demo",
            run_id=RUN,
            chunk=0,
            group=next(self._numbers),
            version=version,
            trace_id="",
            segment_id="",
            part=0,
            columns=(TABLE.key, *TABLE.columns),
            rows=tuple((user, text, None) for user, text in texts.items()),
        )
        self._sent.append(record)
        if not text:
            for user, written in texts.items():
                known = self._expected.get(user, (0, ""))
                self._expected[user] = max(known, (version, written))
        return record

    def deliver(self, *records: Record, to: Writer | None = None) -> None:
        """Invoke the writer, or another one, with a batch; raises what it raises."""
        kinesis = [
            {"sequenceNumber": str(record.group), "data": b64encode(encode(record)).decode()}
            for record in records
        ]
        answer = (to or self._write)({"Records": [{"kinesis": record} for record in kinesis]})
        assert answer == {"batchItemFailures": []}

    @property
    def users(self) -> int:
        """How many rows went in."""
        return sum(len(record.rows) for record in self._sent)

    @property
    def accounted(self) -> int:
        """Of how many rows the ledger knows what became of them."""
        written = Total.of(self._world.ledger, RUN)
        assert written.rows == written.tally.settled
        return written.rows

    @property
    def rejected(self) -> int:
        """How many rows the ledger has as rejected."""
        return Total.of(self._world.ledger, RUN).tally.rejected

    @property
    def lost(self) -> int:
        """For how many users the table does not hold what it must."""
        stored = self._world.notes()
        users = self._expected.keys() | stored.keys()
        return sum(self._expected.get(user) != stored.get(user) for user in users)

    @property
    def stored(self) -> int:
        """How many rows the table holds."""
        return len(self._world.notes())

    def figures(self) -> dict[str, int]:
        """What the table of faults asks for."""
        return {"users": self.users, "accounted": self.accounted, "lost": self.lost}

    def close(self) -> None:
        """Let go of the schema."""
        self._database.discard()


def writer(database: Database, quarantine: FakePayloadStore | None = None) -> Writer:
    """Make a writer on this database; without `quarantine` it must have nothing to put aside."""

    def store() -> FakePayloadStore:
        assert quarantine is not None, "good rows are put aside"
        return quarantine

    return RowWriter(
        tenant="demo",
        table=TABLE,
        rows=MySqlRowStore(database),
        quarantine=store,
        sleep=lambda _: None,
    )
