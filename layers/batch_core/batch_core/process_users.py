"""The state Process Users: turn one group's answers into rows and put them on the stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from batch_core import claims, meter, tracing
from batch_core.answers import Answered, Answers, read_part
from batch_core.chunks import Chunk
from batch_core.codec import dump_exact, has_no_number
from batch_core.error_classes import ErrorClass, of_exception, text_of
from batch_core.failures import Failures
from batch_core.job import Job, NotJsonError, RejectError, Table, User
from batch_core.limits import ROW_BYTES
from batch_core.observability import debugging, logger, pseudonym
from batch_core.outcomes import Outcome, Tally
from batch_core.ports import PayloadStore, RecordStream
from batch_core.records import Record, encode_parts
from batch_core.run import Run
from batch_core.upsert import literal
from batch_core.user_state import Mark, can_be_marked

# What Call API says about the group and the workflow adds up.
FIGURES: Final = ("called", "api_ms", "late", "stopped")


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
    The group's tally, in which ``queued`` counts the rows that are on the stream, and Call API's
    figures about the group.
    """
    run, chunk = Run.from_json(event["run"]), Chunk.from_json(event["chunk"])
    answers = Answers.from_json(claims.redeem(event["claim"], run=run, store=store))
    group = _Group(job, Failures(tenant), marks=list(answers.marks))
    for claim in answers.spilled:
        for answered in read_part(claims.redeem(claim, run=run, store=store)):
            group.process(answered)
    for answered in read_part(answers.last):
        group.process(answered)
    if group.rows or group.marks:
        record = group.record(run, chunk, int(event["group"]), tenant=tenant)
        stream.put([(part.partition_key, data) for part, data in encode_parts(record)])
        meter.count("rows", len(group.rows))
        if debugging():
            users = " ".join(pseudonym(tenant, row[0]) for row in group.rows)
            logger.debug("rows put on the stream", users=users)
    group.failures.log()
    tally = Tally.from_json(event["tally"]) + group.tally
    return tally.to_json() | {name: int(event.get(name, 0)) for name in FIGURES}


@dataclass(slots=True)
class _Group:
    """What becomes of the users of a group, one after the other."""

    job: Job
    failures: Failures
    marks: list[Mark]
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    # Of the users in `rows`: what there was before.
    failed_before: list[tuple[int | str, int]] = field(default_factory=list)
    unchanged: int = 0

    def process(self, answered: Answered) -> None:
        user = answered.user
        try:
            row = self.job.process(user, answered.response)
            values = None if row is None else _values(self.job.table, user, row)
        except UnfitRowError as error:
            self._reject(answered, error.error_class, error)
        except NotJsonError as error:
            self._reject(answered, ErrorClass.NOT_JSON, error)
        except RejectError as error:
            self._reject(answered, ErrorClass.REFUSED_BY_JOB, error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a job raises concerns this user only
            self._reject(answered, of_exception(error), error)
        else:
            self._accept(answered, values)

    def record(self, run: Run, chunk: Chunk, group: int, *, tenant: str) -> Record:
        trace_id, segment_id = tracing.trace_ids()
        return Record(
            tenant=tenant,
            run_id=run.id,
            chunk=chunk.n,
            group=group,
            version=run.version,
            trace_id=trace_id,
            segment_id=segment_id,
            part=0,
            columns=(self.job.table.key, *self.job.table.columns),
            rows=tuple(self.rows),
            failures=tuple(self.failed_before),
            marks=tuple(self.marks),
            fence=run.fence,
        )

    @property
    def tally(self) -> Tally:
        return self.failures.tally + Tally(unchanged=self.unchanged, queued=len(self.rows))

    def _accept(self, answered: Answered, values: tuple[Any, ...] | None) -> None:
        if values is None:
            self.unchanged += 1
        else:
            self.rows.append(values)
        if not answered.failures:
            return
        user_id = answered.user["user_id"]
        if values is None:
            self.marks.append(Mark(user_id, 0))
        else:
            # Whether the row can be stored, and the user has recovered, the writer will see.
            self.failed_before.append((user_id, answered.failures))

    def _reject(self, answered: Answered, error_class: str, error: BaseException) -> None:
        user_id = answered.user.get("user_id")
        self.failures.add(Outcome.REJECTED, error_class, user_id)
        if can_be_marked(user_id):
            said = text_of(error)
            self.marks.append(Mark(user_id, answered.failures + 1, error_class, said))


class UnfitRowError(Exception):
    """What a job gave cannot be a row of its table; the text names the column."""

    def __init__(self, error_class: ErrorClass, text: str) -> None:
        super().__init__(text)
        self.error_class = error_class


def _values(table: Table, user: User, row: Any) -> tuple[Any, ...]:
    """Lay a job's row out as the table's columns, its key first.

    Raises
    ------
    UnfitRowError
        When it cannot be a row of the table; names the column.
    """
    if not isinstance(row, Mapping):
        given = type(row).__name__
        raise UnfitRowError(ErrorClass.NO_ROW, f"the job gave a {given}, not the columns of a row")
    if user.get("user_id") is None:
        raise UnfitRowError(ErrorClass.NO_USER_ID, "the user has no user_id")
    for name in row:
        if name not in table.columns:
            raise UnfitRowError(
                ErrorClass.NO_SUCH_COLUMN,
                f"the table {table.name} of the job has no column {name!r}",
            )
    if len(row) < len(table.columns):
        left_out = ", ".join(name for name in table.columns if name not in row)
        raise UnfitRowError(
            ErrorClass.COLUMN_LEFT_OUT, f"the job's row leaves out {left_out}; None stores NULL"
        )
    cells = {table.key: user["user_id"], **{name: row[name] for name in table.columns}}
    values = tuple(cells.values())
    try:
        text, wide = dump_exact(values)
        plain = not wide and len(text) <= ROW_BYTES and not has_no_number(values, text)
    except TypeError:
        plain = False
    if not plain:
        _check(cells)
    return values


def _check(cells: Mapping[str, Any]) -> None:
    """Look for a column at fault.

    Raises
    ------
    UnfitRowError
        Naming it.
    """
    sizes = {name: _size(name, value) for name, value in cells.items()}
    size = sum(sizes.values())
    if size > ROW_BYTES:
        widest = max(sizes, key=lambda name: sizes[name])
        raise UnfitRowError(
            ErrorClass.ROW_TOO_LARGE,
            f"the row holds {size} bytes, most in the column {widest}; {ROW_BYTES} are allowed",
        )


def _size(name: str, value: Any) -> int:
    """How long a value is as JSON, if it can be stored as it is."""
    try:
        text, wide = dump_exact(value)
    except TypeError as error:
        raise UnfitRowError(
            ErrorClass.NO_JSON_FORM, f"the column {name} got a value that has no JSON form: {error}"
        ) from error
    if has_no_number(value, text):
        raise UnfitRowError(
            ErrorClass.NO_JSON_FORM, f"the column {name} got NaN or an infinity, which JSON lacks"
        )
    if wide:
        if not isinstance(value, int | Decimal):
            raise UnfitRowError(
                ErrorClass.TOO_MANY_DIGITS,
                f"the column {name} got JSON with a number of more digits than a database keeps "
                "there; make it text with str()",
            )
        try:
            literal(Decimal(value))
        except ValueError as error:
            raise UnfitRowError(
                ErrorClass.TOO_MANY_DIGITS, f"the column {name} got {error}"
            ) from error
    return len(text)
