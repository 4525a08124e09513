"""batchctl trace."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from batch_core.run import Slot
from batchctl import console
from batchctl.aws import StackAccess
from batchctl.commands.options import DEFAULT_TENANT, JsonLine, Profile, Region, Tenant
from batchctl.commands.target import Target, deployed, local_target, refuse
from batchctl.errors import BatchctlError
from batchctl.local.cloud import LocalCloud
from batchctl.log_events import LogEvent
from batchctl.replay.bucket import S3Bucket
from batchctl.run.collect import Collector
from batchctl.trace.database import THIS_RUNS_ROW, stops_of
from batchctl.trace.document import document
from batchctl.trace.history import History
from batchctl.trace.moment import slot_of_run, window
from batchctl.trace.show import shown, shown_journey
from batchctl.trace.timeline import Trace, main_execution, trace_of
from batchctl.trace.users import Journey, follow


def trace(
    run: Annotated[str, typer.Argument(help="The run, such as acme-20260131T102000Z.")],
    *,
    user: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Follow this user, from the listing to its row."),
    ] = None,
    chunk: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Show the groups of one chunk.")
    ] = None,
    since: Annotated[
        int | None,
        typer.Option(
            metavar="MINUTES",
            min=1,
            help="How far to look back; around the time in the run's name, if not given.",
        ),
    ] = None,
    tenant: Tenant = DEFAULT_TENANT,
    stack: Annotated[
        str | None, typer.Option(metavar="NAME", help="A stack deployed on AWS instead.")
    ] = None,
    region: Region = None,
    profile: Profile = None,
    as_json: JsonLine = False,
) -> None:
    """Rebuild one run's timeline from the logs: what failed and why, then who worked when.

    Joins the workflow's own log with the functions' lines. On AWS the workflow logs every state
    only if the stack has WorkflowLogLevel=ALL; with ERROR it logs what failed.
    """
    slot = slot_of_run(run)
    cloud = LocalCloud()
    if stack is None:
        refuse({"--region": region, "--profile": profile}, "with --stack")
        target = local_target(cloud, cloud.stack(tenant))
    else:
        target = deployed(stack, region, profile)
    lines, found = gathered(target, run, _span(slot, since))
    journey = None if user is None else _journey(target, cloud, user, slot, lines)
    if as_json:
        sys.stdout.write(json.dumps(document(found, target.where, journey)) + "\n")
        return
    said = (
        shown(found, target.where, chunk)
        if journey is None
        else shown_journey(journey, found.began_ms)
    )
    console.out.print(said, soft_wrap=False)


@dataclass(frozen=True, slots=True)
class Window:
    """The logs of a stack between two moments."""

    access: StackAccess
    until_ms: int

    def events(self, state: str, *, since_ms: int, containing: str) -> Iterator[LogEvent]:
        """Read the events not older than `since_ms` that contain the text."""
        return self.access.events(
            state, since_ms=since_ms, until_ms=self.until_ms, containing=containing
        )


def gathered(target: Target, run: str, span: tuple[int, int]) -> tuple[Collector, Trace]:
    """Read all that the logs hold of a run.

    Raises BatchctlError when they hold nothing, or cannot be read.
    """
    since_ms, until_ms = span
    access = target.access()
    size = int(target.stack.parameters["UsersPerInvocation"])
    lines = Collector(Window(access, until_ms), run, since_ms=since_ms, group_size=size)
    lines.sweep()
    if not lines.invocations and not lines.starts:
        raise BatchctlError(
            f"The logs of {target.where} hold nothing of the run {run}. Look further back with"
            " --since, and check --tenant or --stack."
        )
    execution = main_execution(lines.starts)
    events = (
        access.workflow_events(execution, since_ms=since_ms, until_ms=until_ms) if execution else ()
    )
    return lines, trace_of(run, lines, History(events))


def _span(slot: Slot, since: int | None) -> tuple[int, int]:
    if since is None:
        return window(slot)
    now = time.time()
    return int((now - since * 60) * 1000), int(now * 1000)


def _journey(target: Target, cloud: LocalCloud, user: str, slot: Slot, lines: Collector) -> Journey:
    bucket = S3Bucket(target.stack.payload_bucket, target.client("s3"))
    journey = follow(user, target.stack.tenant, slot.run_id, lines, bucket)
    if not target.local:
        return journey
    with cloud.database(target.stack.tenant) as connection:
        stops = stops_of(connection, user, slot.version)
    journey = replace(journey, stops=[*journey.stops, *stops])
    if any(stop.what == THIS_RUNS_ROW for stop in stops):
        return replace(journey, outcome="stored", certain=True)
    return journey
