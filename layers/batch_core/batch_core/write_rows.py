"""Write Rows: from records on the stream to rows in the table.

Nothing a record holds may stop the shard: what cannot be read or stored is put aside in S3 and the
shard moves on. A database that cannot be reached, or whose tables are not what the code expects,
raises, so that the whole batch is delivered again and no good row is put aside for it.

An error that may be either's holds up nothing but its own record: the others of the batch are
stored one by one. Once the record is `SEARCH_AFTER_SECONDS` old, which a delivery cannot be without
others before it unless the writer itself was away, its rows are searched.
docs/decisions/0023-whose-fault-an-error-of-the-database-is.md has the reasons.
"""

from __future__ import annotations

import re
import time
from base64 import b64decode
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from batch_core import meter, tracing
from batch_core.codec import dump_exact, dump_json
from batch_core.error_classes import ErrorClass, text_of
from batch_core.errors import AccessError, DatabaseError, SchemaError, UnknownDatabaseError
from batch_core.failures import Failures
from batch_core.job import Table
from batch_core.limits import TRANSACTION_ROWS
from batch_core.observability import debugging, logger, pseudonym
from batch_core.outcomes import Outcome
from batch_core.records import ATTEMPT_BITS, Record, RejectedRow, decode
from batch_core.upsert import is_name
from batch_core.user_state import class_of_row

if TYPE_CHECKING:
    from batch_core.ports import PayloadStore, RowStore

# The ledger's columns; a record beyond them was not made here.
_NUMBER_MAX: Final = 65_535
_VERSION_MAX: Final = 2**63 - 1
# They become parts of keys, metadata and log lines.
_RUN_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PLAIN: Final = re.compile(r"[A-Za-z0-9-]{0,64}")
# Longer than the attempts within an invocation, and short enough that what is behind such a record
# still reaches the database while Finish Run waits for it.
SEARCH_AFTER_SECONDS: Final = 20.0
# How long an attempt takes at least that ends in vain, so that the mapping's attempts last as long
# as a record may become old. One that waits for a database takes longer by itself.
ATTEMPT_SECONDS: Final = 18.0
# So many records that fail alike are no record's fault; the mapping delivers the rest in halves.
RECORDS_TO_GIVE_UP: Final = 3
# How much of a batch its log line names.
_NAMED: Final = 100


type _Place = tuple[str, int, int, int]

# The tables', the query's or the database's fault, and perhaps what a row sets off in them.
_EITHERS: Final = (SchemaError, AccessError, UnknownDatabaseError)


@dataclass(frozen=True, slots=True)
class RowWriter:
    """What writing needs, made once per execution environment.

    Parameters
    ----------
    quarantine
        Makes the store for what cannot be stored; called only when there is something, since
        loading the AWS SDK takes longer than writing a batch.
    now
        Seconds since 1970.
    """

    tenant: str
    table: Table
    rows: RowStore
    quarantine: Callable[[], PayloadStore]
    now: Callable[[], float] = field(default=time.time)
    sleep: Callable[[float], None] = field(default=time.sleep)

    def __call__(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Answer the event source mapping: nothing of the batch needs to be delivered again.

        Raises
        ------
        TransientDatabaseError, SchemaError, AccessError, UnknownDatabaseError
            When the database cannot take the batch, or a record of it; it must be delivered again.
        """
        started = self.now()
        self._measure_lag(event["Records"])
        arrivals = list(self._readable(event["Records"]))
        records = [record for record, _ in arrivals]
        _join_logs(records)
        undone: DatabaseError | None = None
        for batch in batches(records):
            try:
                self._write(batch)
            except _EITHERS as error:
                old = {
                    _place(record)
                    for record, at in arrivals
                    if self.now() - at >= SEARCH_AFTER_SECONDS
                }
                undone = self._write_one_by_one(batch, error, old=old) or undone
        if undone is not None:
            self.sleep(max(started + ATTEMPT_SECONDS - self.now(), 0.0))
            raise undone
        return {"batchItemFailures": []}

    def _write(self, records: Sequence[Record], *, search: bool = False) -> None:
        rejected = self.rows.write(self.table, records, search=search)
        meter.count("rows", sum(len(record.rows) for record in records))
        if debugging():
            keys = (row[0] for record in records for row in record.rows)
            users = " ".join(pseudonym(self.tenant, key) for key in keys)
            logger.debug("rows written", users=users, rejected=len(rejected))
        self._put_aside([row for row in rejected if row.outcome is Outcome.REJECTED])

    def _write_one_by_one(
        self, batch: Sequence[Record], error: DatabaseError, *, old: Set[_Place]
    ) -> DatabaseError | None:
        """Write what can be written of a batch that failed; gives the error of what cannot."""
        undone: DatabaseError | None = None
        failed = 0
        for record in batch:
            search = _place(record) in old
            if search:
                meter.count("records_searched")
            elif len(batch) == 1:
                return error
            try:
                self._write([record], search=search)
            except _EITHERS as its_own:
                undone, failed = its_own, failed + 1
                if failed == RECORDS_TO_GIVE_UP:
                    break
        return undone

    def _measure_lag(self, deliveries: Sequence[Mapping[str, Any]]) -> None:
        """Enter how long the oldest record of the batch was on the stream."""
        arrived = [
            kinesis["approximateArrivalTimestamp"]
            for kinesis in (delivery["kinesis"] for delivery in deliveries)
            if "approximateArrivalTimestamp" in kinesis
        ]
        if arrived:
            meter.peak("stream_lag_ms", round((self.now() - min(arrived)) * 1000))

    def _readable(self, deliveries: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Record, float]]:
        """Yield the records, each with the moment since which it lies on the stream."""
        meter.count("records", len(deliveries))
        for delivery in deliveries:
            kinesis = delivery["kinesis"]
            try:
                record = decode(b64decode(kinesis["data"], validate=True))
                self._check(record)
            except ValueError as error:
                meter.count("poison_records")
                name = f"quarantine/records/{kinesis['sequenceNumber']}.json"
                logger.error(
                    "record put aside",
                    object=name,
                    error=ErrorClass.UNREADABLE_RECORD,
                    outcome=Outcome.REJECTED,
                )
                self.quarantine().put(
                    name,
                    dump_json({"error": text_of(error), "data": kinesis["data"]}),
                    metadata={"reason": "record"},
                )
            else:
                at = kinesis.get("approximateArrivalTimestamp")
                yield record, self.now() if at is None else float(at)

    def _check(self, record: Record) -> None:
        """Raise ValueError for a record that is well formed but not for here."""
        if record.tenant != self.tenant:
            raise ValueError(f"the record belongs to the tenant {record.tenant[:64]!r}")
        if record.columns[:1] != (self.table.key,):
            raise ValueError(f"the first column is not the key {self.table.key}")
        # A plain name that the table lacks is another matter: then a deployment is at fault.
        if not all(map(is_name, record.columns)):
            raise ValueError("the columns are not names of columns")
        # To the database names are the same in any case.
        names = [self.table.version.lower(), *(column.lower() for column in record.columns)]
        if len(set(names)) < len(names):
            raise ValueError("a column is named twice, or is the version")
        if not all(map(_PLAIN.fullmatch, (record.trace_id, record.segment_id))):
            raise ValueError("the trace is none")
        numbers = (record.chunk, record.group, record.part, len(record.rows))
        if (
            not _RUN_ID.fullmatch(record.run_id)
            or not 0 <= record.version <= _VERSION_MAX
            or not 0 <= record.fence <= _VERSION_MAX
            or not 0 <= record.attempt < 2**ATTEMPT_BITS
            or any(not 0 <= number <= _NUMBER_MAX for number in numbers)
        ):
            raise ValueError("a number or the run's name is out of range")

    def _put_aside(self, rejected: Sequence[RejectedRow]) -> None:
        by_record: dict[_Place, list[RejectedRow]] = defaultdict(list)
        for row in rejected:
            by_record[_place(row.record)].append(row)
        for (run_id, chunk, group, part), rows in by_record.items():
            record = rows[0].record
            # The same for every delivery of the record, so that a retry overwrites.
            name = f"quarantine/{run_id}/{chunk}-{group}-{part}.json"
            # What the rows and the errors hold is the users' own; the log names the place, and of
            # an error its number.
            failures = Failures(self.tenant)
            for row in rows:
                failures.add(row.outcome, class_of_row(row.error), row.row[0])
            failures.log({"run_id": run_id, "chunk": chunk, "group": group, "object": name})
            body = {
                "tenant": record.tenant,
                "run": run_id,
                "chunk": chunk,
                "group": group,
                "part": part,
                "version": record.version,
                "columns": record.columns,
                "rejected": [{"row": row.row, "error": row.error} for row in rows],
            }
            self.quarantine().put(name, dump_exact(body)[0], metadata={"run-id": run_id})


def batches(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Gather whole records into transactions of about `limits.TRANSACTION_ROWS` rows."""
    batch: list[Record] = []
    rows = 0
    for record in records:
        if batch and rows + len(record.rows) > TRANSACTION_ROWS:
            yield batch
            batch, rows = [], 0
        batch.append(record)
        rows += len(record.rows)
    if batch:
        yield batch


def _place(record: Record) -> _Place:
    return record.run_id, record.chunk, record.group, record.part


def _join_logs(records: Sequence[Record]) -> None:
    """Log, for each run in the batch, what its records were and which traces they came from."""
    by_run: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_run[record.run_id].append(record)
    for place, (run_id, own) in enumerate(by_run.items()):
        traces = sorted({r.trace_id for r in own if r.trace_id})
        logger.info(
            "records received",
            run_id=run_id,
            records=len(own),
            rows=sum(len(record.rows) for record in own),
            groups=[f"{r.chunk}-{r.group}-{r.part}" for r in own[:_NAMED]],
            traces=traces[:_NAMED],
        )
        if place < tracing.LINKS:
            with tracing.run_records(run_id, records=len(own), producers=traces[: tracing.LINKS]):
                pass
    if by_run:
        # The invocation's own line is found by any run that it worked for.
        logger.append_keys(runs=sorted(by_run)[:_NAMED])
