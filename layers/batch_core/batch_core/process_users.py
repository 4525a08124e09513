"""The state Process Users: turn one group's answers into rows and put them on the stream."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from batch_core import claims, meter
from batch_core.chunks import Chunk
from batch_core.codec import dump_json
from batch_core.failures import Failures
from batch_core.job import Job, RejectError, Response, Table, User
from batch_core.limits import ROW_BYTES
from batch_core.observability import trace_ids
from batch_core.outcomes import Outcome, Tally
from batch_core.ports import PayloadStore, RecordStream
from batch_core.records import Record, encode_parts
from batch_core.run import Run


def process_users(
    event: Mapping[str, Any],
    *,
    tenant: str,
    job: Job,
    store: PayloadStore,
    stream: RecordStream,
) -> dict[str, int]:
    """Process the answers of one group.

    Parameters
    ----------
    event
        The state's input: run, chunk, group, claim and the tally of Call API.
    tenant, job, store, stream
        What it works for and with.

    Returns
    -------
    The group's tally; ``queued`` counts the rows that are on the stream.
    """
    run, chunk = Run.from_json(event["run"]), Chunk.from_json(event["chunk"])
    failures = Failures(tenant)
    unchanged = 0
    rows: list[tuple[Any, ...]] = []
    for user, status, etag, text in claims.redeem(event["claim"], run=run, store=store):
        try:
            row = job.process(user, Response(status, text.encode(), etag))
            if row is None:
                unchanged += 1
            else:
                rows.append(_values(job.table, user, row))
        except RejectError as error:
            failures.add(Outcome.REJECTED, str(error) or "RejectError", user.get("user_id"))
        except Exception as error:  # noqa: BLE001 - whatever a job raises concerns this user only
            failures.add(Outcome.REJECTED, type(error).__name__, user.get("user_id"))
    if rows:
        _put(rows, tenant=tenant, job=job, run=run, chunk=chunk, event=event, stream=stream)
        meter.count("rows", len(rows))
    failures.log()
    own = failures.tally + Tally(unchanged=unchanged, queued=len(rows))
    return (Tally.from_json(event["tally"]) + own).to_json()


def _put(
    rows: list[tuple[Any, ...]],
    *,
    tenant: str,
    job: Job,
    run: Run,
    chunk: Chunk,
    event: Mapping[str, Any],
    stream: RecordStream,
) -> None:
    trace_id, segment_id = trace_ids()
    record = Record(
        tenant=tenant,
        run_id=run.id,
        chunk=chunk.n,
        group=int(event["group"]),
        version=run.version,
        trace_id=trace_id,
        segment_id=segment_id,
        part=0,
        columns=(job.table.key, *job.table.columns),
        rows=tuple(rows),
    )
    stream.put([(part.partition_key, data) for part, data in encode_parts(record)])


def _values(table: Table, user: User, row: Any) -> tuple[Any, ...]:
    """Lay a job's row out as the table's columns, its key first.

    Raises
    ------
    RejectError
        When it cannot be a row of the table; names the column.
    """
    if not isinstance(row, Mapping):
        raise RejectError(f"the job gave a {type(row).__name__}, not the columns of a row")
    if user.get("user_id") is None:
        raise RejectError("the user has no user_id")
    for name in row:
        if name not in table.columns:
            raise RejectError(f"the table {table.name} of the job has no column {name!r}")
    cells = {table.key: user["user_id"], **{name: row.get(name) for name in table.columns}}
    sizes = {name: _size(name, value) for name, value in cells.items()}
    size = sum(sizes.values())
    if size > ROW_BYTES:
        widest = max(sizes, key=lambda name: sizes[name])
        raise RejectError(
            f"the row holds {size} bytes, most in the column {widest}; {ROW_BYTES} are allowed"
        )
    return tuple(cells.values())


def _size(name: str, value: Any) -> int:
    """How long a value is as JSON."""
    # JSON has no such numbers and would make them null.
    if isinstance(value, float) and not isfinite(value):
        raise RejectError(f"the column {name} got {value}, which is not a number JSON has")
    try:
        return len(dump_json(value))
    except TypeError as error:
        raise RejectError(
            f"the column {name} got a value that has no JSON form: {error}"
        ) from error
