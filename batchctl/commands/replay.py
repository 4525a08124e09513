"""batchctl replay."""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from batch_core.adapters.kinesis import KinesisRecordStream
from batch_core.errors import StreamError
from batchctl import console
from batchctl.commands.options import DEFAULT_TENANT, JsonLine, Profile, Region, Tenant
from batchctl.commands.target import Target, deployed, local_target, refuse
from batchctl.errors import BatchctlError
from batchctl.local.cloud import LocalCloud
from batchctl.replay.bucket import Bucket, S3Bucket
from batchctl.replay.outcome import Told, wait_for_word
from batchctl.replay.put_back import Found, Survey, put_back, survey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batch_core.ports import RecordStream

# The log's clock is another one.
_CLOCK_MARGIN: Final = timedelta(seconds=5)
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60))


@dataclass(frozen=True, slots=True)
class Line:
    """All that is of one kind and one run."""

    kind: str
    runs: tuple[str, ...]
    objects: int
    records: int
    rows: int
    errors: dict[str, int]
    oldest: datetime

    @property
    def run(self) -> str:
        """The run, or in a word why it is not one."""
        if len(self.runs) == 1:
            return self.runs[0]
        return f"{len(self.runs)} runs" if self.runs else "unknown"

    def document(self) -> dict[str, Any]:
        """The line for a program."""
        return {
            "kind": self.kind,
            "runs": self.runs,
            "objects": self.objects,
            "records": self.records,
            "rows": self.rows,
            "errors": self.errors,
            "oldest": self.oldest.isoformat(),
        }


def replay(
    *,
    run: Annotated[
        str | None, typer.Option(metavar="ID", help="What belongs to this run only.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what there is to put back.")
    ] = False,
    tenant: Tenant = DEFAULT_TENANT,
    stack: Annotated[
        str | None, typer.Option(metavar="NAME", help="A stack deployed on AWS instead.")
    ] = None,
    region: Region = None,
    profile: Profile = None,
    as_json: JsonLine = False,
) -> None:
    """Put what could not be stored back on the stream, once the cause is fixed.

    Doing it twice is harmless: a row never replaces a newer one. The status is 1 when an object
    cannot be read; it is named and left where it is.
    """
    if stack is None:
        refuse({"--region": region, "--profile": profile}, "with --stack")
        cloud = LocalCloud()
        target = local_target(cloud, cloud.stack(tenant))
    else:
        target = deployed(stack, region, profile)
    bucket = S3Bucket(target.stack.payload_bucket, target.client("s3"))
    stream = KinesisRecordStream(target.stack.stream_name, client=target.client("kinesis"))
    seen = survey(bucket, run)
    if seen.found and not as_json:
        console.out.print(table(lines(seen.found), datetime.now(UTC)))
    since_ms = int((datetime.now(UTC) - _CLOCK_MARGIN).timestamp() * 1000)
    done = [] if dry_run else put_all_back(bucket, stream, seen.found)
    rows = sum(each.rows for each in done)
    told = wait_for_word(target.access(), rows, since_ms=since_ms) if rows else None
    for key, why in seen.unreadable.items():
        console.error(f"{key} cannot be read and stays where it is: {why}.")
    if as_json:
        sys.stdout.write(json.dumps(document(seen, done, told)) + "\n")
    else:
        console.out.print(closing(seen, done, told, target, dry_run=dry_run), markup=False)
    if seen.unreadable:
        raise typer.Exit(1)


def put_all_back(bucket: Bucket, stream: RecordStream, found: Sequence[Found]) -> list[Found]:
    """Put objects back one by one, and return those that were still there.

    Raises BatchctlError when the stream does not take one; those before it are done.
    """
    columns = (TextColumn("putting back"), BarColumn(), MofNCompleteColumn())
    done = []
    with Progress(*columns, console=console.err, transient=True, disable=not found) as progress:
        for each in progress.track(found):
            try:
                if put_back(bucket, stream, each.key):
                    done.append(each)
            except StreamError as error:
                raise BatchctlError(
                    f"{error}. {len(done):,} of {len(found):,} objects were put back, and nothing"
                    " is lost: type the same again."
                ) from error
    return done


def lines(found: Sequence[Found]) -> list[Line]:
    """Gather objects by kind and run."""
    alike: dict[tuple[str, tuple[str, ...]], list[Found]] = defaultdict(list)
    for each in found:
        alike[each.kind, tuple(sorted(each.runs))].append(each)
    return [
        Line(
            kind=kind,
            runs=runs,
            objects=len(group),
            records=sum(each.records for each in group),
            rows=sum(each.rows for each in group),
            errors=dict(sum((Counter(each.errors) for each in group), Counter()).most_common()),
            oldest=min(each.modified for each in group),
        )
        for (kind, runs), group in sorted(alike.items())
    ]


def table(shown: Sequence[Line], now: datetime) -> Table:
    """Lay the lines out for a person."""
    made = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("kind", "run"):
        made.add_column(column)
    for column in ("objects", "records", "rows"):
        made.add_column(column, justify="right")
    made.add_column("errors")
    made.add_column("age", justify="right")
    for line in shown:
        made.add_row(
            line.kind,
            escape(line.run),
            f"{line.objects:,}",
            f"{line.records:,}",
            f"{line.rows:,}",
            escape(", ".join(f"{error} ({times:,})" for error, times in line.errors.items())),
            age((now - line.oldest).total_seconds()),
        )
    return made


def age(seconds: float) -> str:
    """How long ago, in the largest unit that fits."""
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def document(seen: Survey, done: Sequence[Found], told: Told | None) -> dict[str, Any]:
    """What was found and done, for a program."""
    return {
        "found": [line.document() for line in lines(seen.found)],
        "replayed": {
            "objects": len(done),
            "records": sum(each.records for each in done),
            "rows": sum(each.rows for each in done),
            "written": told.written if told else None,
            "due_again": told.kept if told else None,
            "refused": told.refused if told else None,
        },
        "unreadable": seen.unreadable,
    }


def closing(
    seen: Survey, done: Sequence[Found], told: Told | None, target: Target, *, dry_run: bool
) -> str:
    """What became of it, and what to type next."""
    again = f"batchctl replay {target.option}"
    if not seen.found:
        return "Nothing to put back." if not seen.unreadable else "Nothing that can be put back."
    if dry_run:
        return f"Nothing was done. To put it back: {again}"
    records = sum(each.records for each in done)
    return (
        f"Put {records:,} {'record' if records == 1 else 'records'} back on the stream."
        f"{'' if told is None else _account(told)} What still"
        f" cannot be stored is put aside again; to see whether something was: {again} --dry-run"
        f"\nTo bring every user up to date besides: batchctl run {target.option}"
    )


def _account(told: Told) -> str:
    return (
        f" Of {told.rows:,} rows the writer has told: {told.written:,} written, {told.refused:,}"
        f" refused; {told.kept:,} were not written, since a later run has the say: the next run"
        " asks for their users."
    )
