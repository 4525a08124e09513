"""batchctl run."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from batch_core.errors import ConfigurationError
from batch_core.run import slot_of
from batchctl import console
from batchctl.commands.options import DEFAULT_TENANT, Database, JsonLine, Profile, Region, Tenant
from batchctl.commands.seed import seed_users
from batchctl.commands.target import Target, deployed, local_target, refuse
from batchctl.errors import UsageError
from batchctl.local.cloud import LocalCloud
from batchctl.local.home import short, write_json
from batchctl.report.page import write_page
from batchctl.run import runner
from batchctl.run.account import account
from batchctl.run.collect import Collector
from batchctl.run.costs import Deployment
from batchctl.run.earlier import make_way
from batchctl.run.prices import Prices
from batchctl.run.progress import LiveDisplay, PlainDisplay
from batchctl.run.report import RunReport
from batchctl.run.summary import summary
from batchctl.run.verdict import LEFT_TO_ANOTHER
from batchctl.stacks import Stack
from sampleapi.admin import SampleApiAdmin

# Timestamps of log events come from other clocks than this one's.
_CLOCK_MARGIN_S: Final = 10
# The template's default.
_DEPLOYED_ARCHITECTURE: Final = "arm64"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person asked for, and None for what was left open."""

    users: int | None
    group_size: int | None
    api_latency_ms: int | None
    api_error_rate: float | None
    scheduled_time: str
    everyone: bool = False


def run(
    *,
    users: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Make so many users active first. Local cloud only."),
    ] = None,
    group_size: Annotated[
        int | None,
        typer.Option(metavar="G", min=1, max=1000, help="Users per invocation, for this run."),
    ] = None,
    api_latency_ms: Annotated[
        int | None,
        typer.Option(
            metavar="L",
            min=0,
            help="How slow the sample API is; not at all, if not given. Local cloud only.",
        ),
    ] = None,
    api_error_rate: Annotated[
        float | None,
        typer.Option(
            metavar="R",
            min=0,
            max=1,
            help="Share of API calls that fail; none, if not given. Local cloud only.",
        ),
    ] = None,
    scheduled_time: Annotated[
        str | None,
        typer.Option(metavar="ISO", help="The moment the run stands for; now, if not given."),
    ] = None,
    everyone: Annotated[
        bool,
        typer.Option(
            "--everyone", help="Ask for users, too, that failed before and are not due yet."
        ),
    ] = False,
    tenant: Tenant = DEFAULT_TENANT,
    database: Database = None,
    stack: Annotated[
        str | None, typer.Option(metavar="NAME", help="Run a stack deployed on AWS instead.")
    ] = None,
    region: Region = None,
    profile: Profile = None,
    as_json: JsonLine = False,
) -> None:
    """Run the batch once and say what became of every user, what it used and what that costs.

    The local cloud is started, and the tenant deployed on it, if need be. The status is 0 only when
    the run completed and no user is unaccounted for.
    """
    wish = Wish(
        users, group_size, api_latency_ms, api_error_rate, moment_of(scheduled_time), everyone
    )
    if stack is None:
        refuse({"--region": region, "--profile": profile}, "with --stack")
        cloud = LocalCloud(database=database, report=console.step)
        target, report = run_locally(cloud, tenant, wish)
    else:
        local_only = {
            "--users": users,
            "--api-latency-ms": api_latency_ms,
            "--api-error-rate": api_error_rate,
            "--database": database,
        }
        refuse(local_only, "on the local cloud, without --stack")
        target = deployed(stack, region, profile)
        report = perform(target, wish)
    present(report, target, as_json=as_json)
    if not report.verdict.good:
        raise typer.Exit(1)


def moment_of(scheduled_time: str | None) -> str:
    """The moment a run stands for, as ISO-8601 with milliseconds.

    Raises UsageError when the text given is no such time, or one in the future.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        slot_of("", scheduled_time, now)
    except ConfigurationError as error:
        text = str(error).replace("scheduled_time", "--scheduled-time")
        raise UsageError(f"{text}.") from None
    return scheduled_time or now


def run_locally(
    cloud: LocalCloud, tenant: str, wish: Wish, *, goes_on: bool = True
) -> tuple[Target, RunReport]:
    """Run the batch once on the local cloud, with the users and the API as wished.

    Raises BatchctlError when the cloud does not come up, and what :func:`perform` raises.
    """
    cloud.up()
    target = local_target(cloud, cloud.deploy(tenant))
    with cloud.database(tenant) as connection:
        make_way(connection, cloud.client("stepfunctions"), console.step)
        if wish.users is not None:
            seed_users(connection, wish.users)
    # Both are set every time: a run that was killed must not leave a slow API to the next one.
    SampleApiAdmin(cloud.sample_api_url, tenant).settings(
        latency_ms=wish.api_latency_ms or 0, error_rate=wish.api_error_rate or 0
    )
    return target, perform(target, wish, goes_on=goes_on)


def perform(target: Target, wish: Wish, *, goes_on: bool = True) -> RunReport:
    """Run the batch once, showing how far it is, and write its report.

    `goes_on` tells whether the run survives this program. Raises BatchctlError when it cannot be
    run, and typer.Exit when the person stops watching.
    """
    stack, access = target.stack, target.access()
    run_id = slot_of(stack.tenant, wish.scheduled_time, wish.scheduled_time).run_id
    started = datetime.now(UTC)
    since = started if target.local else started - timedelta(seconds=_CLOCK_MARGIN_S)
    collector = Collector(
        access,
        run_id,
        since_ms=int(since.timestamp() * 1000),
        group_size=wish.group_size or int(stack.parameters["UsersPerInvocation"]),
    )
    given: dict[str, object] = {"scheduled_time": wish.scheduled_time}
    if wish.group_size is not None:
        given["group_size"] = wish.group_size
    if wish.everyone:
        given["everyone"] = True
    patience = runner.LOCAL if target.local else runner.ON_AWS
    try:
        with display(wish.users) as show:
            ended = runner.run_once(access, collector, given, show, patience)
    except KeyboardInterrupt:
        if not goes_on:
            raise
        console.err.print(
            f"\nThe run {run_id} goes on without you. To look at it: {target.hint(run_id)}",
            markup=False,
        )
        raise typer.Exit(130) from None
    # An execution that left the run to another one leaves that one's report alone, too.
    status = ended.verdict.status
    suffix = f".{status.lower()}" if status in LEFT_TO_ANOTHER.values() else ""
    path = target.reports / f"{run_id}{suffix}.json"
    report = account(
        ended,
        collector,
        where=target.where,
        local=target.local,
        started_at=started.isoformat(timespec="milliseconds"),
        asked=asdict(wish),
        stack_parameters=stack.parameters,
        deployment=deployment_of(stack, local=target.local),
        prices=Prices.of_region(target.region),
        path=short(path),
    )
    document = report.document()
    write_json(path, document)
    write_page(document, path)
    return report


def deployment_of(stack: Stack, *, local: bool) -> Deployment:
    """Read what bears on the price from a stack's parameters."""
    given = stack.parameters
    return Deployment(
        # Here it is the machine's own; what is priced is the stack as it would be deployed.
        architecture=_DEPLOYED_ARCHITECTURE if local else given["Architecture"],
        schedule_minutes=int(given["ScheduleMinutes"]),
        shards=int(given["StreamShards"]),
        # The local cloud has none.
        rds_proxy=local or not given["DatabaseEndpoint"],
        logs_executions=given["WorkflowLogLevel"] == "ALL",
        emulated=local,
    )


@contextmanager
def display(expected: int | None) -> Iterator[runner.Show]:
    """Show the run on standard error: bars on a terminal, else a line now and then."""
    if console.err.is_terminal:
        with LiveDisplay(console.err, time.monotonic, expected=expected) as live:
            yield live.show
    else:
        yield PlainDisplay(console.step, time.monotonic).show


def present(report: RunReport, target: Target, *, as_json: bool) -> None:
    """Print the account of a run: for a person, or for a program."""
    if as_json:
        if not report.verdict.good:
            console.error(report.verdict.reason or f"the run ended as {report.verdict.status}")
        sys.stdout.write(json.dumps(report.line()) + "\n")
        return
    console.out.print(summary(report, advice(report, target)), soft_wrap=False)


def advice(report: RunReport, target: Target) -> str:
    """What to type next after this run, if anything."""
    if not report.verdict.good:
        return f"batchctl trace {report.run_id} {target.option}"
    if not report.verdict.listed and target.local:
        return "batchctl run --users 1000"
    if report.verdict.outcomes["skipped"]:
        return f"batchctl run {target.option} --everyone asks those who were skipped, too"
    return ""
