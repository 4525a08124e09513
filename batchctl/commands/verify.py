"""batchctl verify."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from rich.markup import escape

from batchctl import console
from batchctl.alarms import Alarms, Heard
from batchctl.aws import aws_client_factory
from batchctl.commands.doctor import examine
from batchctl.commands.options import JsonLine, Profile, Region
from batchctl.commands.run import Wish, advice, perform
from batchctl.commands.states import verify_states
from batchctl.commands.target import Target, deployed, signed_in
from batchctl.doctor.checks import DATABASE, Finding, Status, findings
from batchctl.errors import BatchctlError, UsageError
from batchctl.migrations import migrate
from batchctl.run.report import RunReport
from batchctl.run.summary import summary
from batchctl.run.verdict import LEFT_TO_ANOTHER
from batchctl.states.trial import checkouts_definition, deployed_definition

# An earlier run may be under way: it ends within five minutes.
_ATTEMPTS: Final = 7
_PAUSE_S: Final = 60.0


def verify(
    *,
    stack: Annotated[
        str | None, typer.Option(metavar="NAME", help="The stack that was just deployed.")
    ] = None,
    states: Annotated[
        bool,
        typer.Option(
            "--states",
            help="Only try each state of the workflow on Step Functions, with mocked functions:"
            " nothing runs. Without --stack, the workflow of this checkout.",
        ),
    ] = False,
    role: Annotated[
        str | None, typer.Option(metavar="ARN", help="A role to do it in, in the stack's account.")
    ] = None,
    alarm_seconds: Annotated[
        int,
        typer.Option(
            envvar="ALARM_SECONDS",
            metavar="S",
            min=0,
            help="How long no alarm may begin after the run.",
        ),
    ] = 180,
    region: Region = None,
    profile: Profile = None,
    as_json: JsonLine = False,
) -> None:
    """Say whether a deployment is good: migrate the schema, run the batch once, watch the alarms.

    First it looks around as `batchctl doctor` does, and ends where the database cannot be used.
    The run asks everybody, also who failed before and is not due yet. The status is 0 only when it
    completed with everybody accounted for, somebody's answer came to something if anybody is
    listed or was listed before, and no alarm has begun to ring since the deployment.
    """
    if stack is None:
        if not states:
            raise UsageError("Name the stack with --stack.")
        client = aws_client_factory(signed_in(region, profile, role))
        verify_states(client, checkouts_definition(), as_json=as_json)
        return
    target = deployed(stack, region, profile, role)
    if states:
        definition = deployed_definition(target.client, target.stack.state_machine_arn)
        verify_states(target.client, definition, as_json=as_json)
        return
    caller = target.client if role is None else aws_client_factory(signed_in(region, profile))
    facts = examine(stack, target.region, target.stack, target.client, caller=caller)
    look_first(findings(facts))
    migrate(target.client, target.stack, console.step)
    alarms = Alarms(target.client, target.stack.name)
    report = first_run(target)
    console.step(f"watching {len(alarms.names)} alarms for {alarm_seconds} s")
    # Of a run that failed, too: what it makes ring has begun before the way back is deployed.
    heard = alarms.watch(alarm_seconds, to_the_end=not report.verdict.good)
    fault = fault_of(report, heard, listed_before=facts.listed)
    if as_json:
        alarmed = {"watched": len(alarms.names), "ringing": heard.begun, "before": heard.before}
        line = {**report.line(), "alarms": alarmed, "verified": fault is None}
        sys.stdout.write(json.dumps(line) + "\n")
    else:
        console.out.print(summary(report, advice(report, target)), soft_wrap=False)
        watched = len(alarms.names)
        console.out.print(f"Alarms: {watched} watched for {alarm_seconds} s", highlight=False)
    if heard.before:
        console.step(f"rang before the deployment, and still do: {', '.join(heard.before)}")
    if fault is not None:
        raise BatchctlError(
            f"Stack {stack} is not verified: {fault}. Look at the run with:"
            f" {target.hint(report.run_id)}"
        )


def look_first(found: Sequence[Finding]) -> None:
    """Say what is not as it should be before anything is done.

    Raises BatchctlError where the database cannot be used. All else the run is the judge of: a
    quota that is too small for the largest run may do for this tenant's.
    """
    for each in found:
        if each.status is not Status.OK:
            console.step(escape(f"{each.about}: {each.found}; needed: {each.needed}"))
    for each in found:
        if each.about == DATABASE and each.status is Status.BAD:
            raise BatchctlError(
                f"The database cannot be used: {each.found}. Needed: {each.needed}. This mends"
                f" it:\n{each.remedy}"
            )


def fault_of(report: RunReport, heard: Heard, *, listed_before: int = 0) -> str | None:
    """Say why a run and the alarms behind it do not speak for a deployment; None when they do.

    `listed_before` is how many users the runs before the deployment listed.
    """
    verdict = report.verdict
    if not verdict.good:
        return verdict.reason or f"its run ended as {verdict.status}"
    if verdict.listed and not verdict.served:
        became = ", ".join(f"{count} {name}" for name, count in verdict.outcomes.items() if count)
        return f"of {verdict.listed} users listed nobody's answer came to anything ({became})"
    if listed_before and not verdict.listed:
        return (
            f"nobody is listed any more, and the last runs listed {listed_before} users. Where that"
            " is right, it passes after ten more runs"
        )
    if heard.begun:
        return f"since it was deployed {', '.join(heard.begun)} began to ring"
    return None


def first_run(
    target: Target,
    *,
    run: Callable[[Target, Wish], RunReport] = perform,
    sleep: Callable[[float], None] = time.sleep,
) -> RunReport:
    """Run the batch once, for everybody; while another run is under way, wait and try again."""
    for attempt in range(1, _ATTEMPTS + 1):
        report = run(target, Wish(None, None, None, None, _now(), everyone=True))
        if report.verdict.status not in LEFT_TO_ANOTHER.values() or attempt == _ATTEMPTS:
            break
        console.step("another run is under way; waiting for its end")
        sleep(_PAUSE_S)
    return report


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
