"""batchctl doctor."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.text import Text

from batchctl import console
from batchctl.aws import ClientFactory, aws_client_factory
from batchctl.commands.options import DEFAULT_TENANT, Json, Profile, Region, Tenant
from batchctl.commands.target import in_role, refuse, signed_in
from batchctl.doctor.checks import Finding, Status, findings
from batchctl.doctor.facts import Facts, Place
from batchctl.doctor.gather import gather
from batchctl.errors import BatchctlError
from batchctl.local.cloud import LocalCloud
from batchctl.local.home import CHECKOUT
from batchctl.stacks import Stack, find_stack
from batchctl.tenants.catalogue import Tenant as Listed
from batchctl.tenants.fleet import widest
from batchctl.tenants.project import Project

_LOOKS: Final = {
    Status.OK: ("✔", "green"),
    Status.NOTE: ("·", "yellow"),
    Status.BAD: ("✘", "bold red"),
    Status.UNKNOWN: ("?", "bright_black"),
}


def doctor(
    *,
    tenant: Tenant = DEFAULT_TENANT,
    stack: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A stack on AWS instead, or one that is to be there."),
    ] = None,
    role: Annotated[
        str | None, typer.Option(metavar="ARN", help="A role to look in, in the stack's account.")
    ] = None,
    region: Region = None,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Check what a tenant needs of its account, database, network and API; change nothing.

    Before there is a stack its parameters are those of tenants.yaml, and what only the stack
    reaches is unknown. The status is 1 when something is bad.
    """
    if stack is None:
        refuse({"--role": role, "--region": region, "--profile": profile}, "with --stack")
        facts = examine_locally(LocalCloud(), tenant)
    else:
        caller = signed_in(region, profile)
        session = caller if role is None else in_role(caller, role)
        facts = examine(
            stack,
            session.region_name,
            find_stack(session, stack),
            aws_client_factory(session),
            caller=aws_client_factory(caller),
        )
    found = findings(facts)
    if as_json:
        sys.stdout.write(json.dumps([asdict(each) for each in found], indent=2) + "\n")
    else:
        console.out.print(told(found))
    if any(each.status is Status.BAD for each in found):
        raise typer.Exit(1)


def examine_locally(cloud: LocalCloud, tenant: str) -> Facts:
    """Look after a tenant of the local cloud. Raises BatchctlError when it is not there."""
    stack = cloud.stack(tenant)
    region = str(cloud.session().region_name)
    place = Place(tenant, stack.name, region, stack.parameters)
    return gather(place, cloud.client, caller=cloud.client, stack=stack, local=True)


def examine(
    name: str, region: str, stack: Stack | None, client: ClientFactory, *, caller: ClientFactory
) -> Facts:
    """Look after a stack on AWS, or after what is to become one.

    Parameters
    ----------
    client
        Of the stack's account.
    caller
        Of the account of whoever asks, which the builds are in.

    Raises
    ------
    BatchctlError
        When there is neither a stack nor a tenant in tenants.yaml of that name.
    """
    if stack is not None and not stack.is_complete:
        stack = None
    place = place_of(name, region, stack, _listed())
    return gather(place, client, caller=caller, stack=stack, local=False)


def _listed() -> Sequence[Listed]:
    """The tenants of this checkout; none when their file does not hold, which is no matter here."""
    project = Project(CHECKOUT)
    try:
        return project.tenants(project.read())
    except BatchctlError:
        return ()


def place_of(name: str, region: str, stack: Stack | None, listed: Sequence[Listed]) -> Place:
    """Say where a tenant is or is to be, by its stack or else by its entry in tenants.yaml.

    Raises BatchctlError when there is neither.
    """
    wave = widest(listed) or None
    # A stack of an older template knows fewer parameters.
    defaults = Project(CHECKOUT).parameters().defaults
    if stack is not None:
        return Place(stack.tenant, name, region, {**defaults, **stack.parameters}, wave)
    entry = next((each for each in listed if each.stack == name), None)
    if entry is None:
        raise BatchctlError(
            f"There is no stack {name} in region {region}, and no tenant of that stack in"
            " tenants/tenants.yaml. Add the tenant first: batchctl tenants add"
        )
    return Place(entry.name, name, region, {**defaults, **entry.parameters}, wave)


def told(found: Sequence[Finding]) -> Text:
    """Lay the findings out for a person: what was found, what is needed, what mends it."""
    lines = []
    for each in found:
        mark, style = _LOOKS[each.status]
        needed = ("needed: ", "dim"), each.needed
        lines.append(Text.assemble((f"{mark} {each.about}", style), f"  {each.found}  ", *needed))
        # Each command is one line however long, to be pasted.
        lines += [Text(f"    {command}", "yellow") for command in each.remedy.splitlines()]
    return Text("\n").join(lines)
