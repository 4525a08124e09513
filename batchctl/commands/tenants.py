"""batchctl tenants."""

from __future__ import annotations

import json
import secrets
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
import yaml
from rich.markup import escape
from rich.table import Table

from batchctl import console
from batchctl.commands.options import Json
from batchctl.errors import BatchctlError, UsageError
from batchctl.local.home import CHECKOUT
from batchctl.tenants import edit, samconfig
from batchctl.tenants.document import InvalidFileError
from batchctl.tenants.project import Project, write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from batchctl.tenants.catalogue import Tenant

HELP: Final = "Say who gets a stack, how large and in which order: tenants/tenants.yaml."

Name = Annotated[str, typer.Argument(metavar="NAME", help="The tenant.")]
Checkout = Annotated[
    Path, typer.Option(metavar="DIR", help="The checkout whose tenants are meant.")
]


def list_tenants(*, checkout: Checkout = CHECKOUT, as_json: Json = False) -> None:
    """Show every tenant with what it inherits."""
    project = Project(checkout)
    tenants = project.tenants(project.read())
    if as_json:
        answer([{**asdict(tenant), "stack": tenant.stack} for tenant in tenants])
    else:
        console.wide(table(tenants))


def check(*, checkout: Checkout = CHECKOUT, as_json: Json = False) -> None:
    """Check the tenants against the template, and what was rendered against the tenants.

    The status is 1 when something is wrong; each line names the place and what to do.
    """
    project = Project(checkout)
    try:
        tenants = project.tenants(project.read())
    except InvalidFileError as error:
        if not as_json:
            raise
        answer({"valid": False, "problems": [asdict(each) for each in error.problems], "stale": []})
        raise typer.Exit(error.exit_code) from None
    stale = [file.name for file in project.stale(tenants)]
    if as_json:
        answer({"valid": not stale, "problems": [], "stale": stale})
    elif not stale:
        console.out.print(f"{project.file.name} holds: {_counted(tenants)}.")
    if stale and not as_json:
        raise BatchctlError(
            f"{' and '.join(stale)} {'is' if len(stale) == 1 else 'are'} not what"
            f" {project.file.name} says. Type: batchctl tenants render"
        )
    if stale:
        raise typer.Exit(1)


def render(
    *,
    once: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write a samconfig.toml for one deployment here, and nothing else."
        ),
    ] = None,
    checkout: Checkout = CHECKOUT,
    as_json: Json = False,
) -> None:
    """Write the files that are made from the tenants; those that are right are left alone."""
    project = Project(checkout)
    tenants = project.tenants(project.read())
    if once is None:
        rendered, stale = project.rendered(tenants), project.stale(tenants)
    else:
        word = secrets.token_hex(8)
        of_it = [tenant.for_deployment(word) for tenant in tenants]
        rendered, stale = {once: samconfig.render(of_it)}, [once]
    for file in stale:
        write(file, rendered[file])
    if as_json:
        answer(
            {"written": [file.name for file in stale], "files": [file.name for file in rendered]}
        )
    else:
        for file in rendered:
            console.out.print(f"{file.name} {'written' if file in stale else 'was right'}")


def add(
    name: Name,
    *,
    wave: Annotated[int, typer.Option(metavar="N", min=0, help="0 for the canary, then 1, 2, ...")],
    api_base_url: Annotated[
        str, typer.Option(metavar="URL", help="Where its API is; requests stay below it.")
    ],
    database_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Its schema, and its user there.")
    ] = None,
    account: Annotated[
        str | None, typer.Option(metavar="ID", help="Its AWS account, unless it is the defaults'.")
    ] = None,
    region: Annotated[
        str | None, typer.Option(metavar="R", help="Its region, unless it is the defaults'.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="Parameter=VALUE", help="Any parameter of the template."),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A tag of its stack.")
    ] = None,
    checkout: Checkout = CHECKOUT,
    as_json: Json = False,
) -> None:
    """Add a tenant behind the others; nothing is written unless the whole file holds with it."""
    project = Project(checkout)
    database = database_name or f"batch_{name.replace('-', '_')}"
    given: dict[str, Any] = {
        "name": name,
        "wave": wave,
        "account": account,
        "region": region,
        "parameters": {
            "ApiBaseUrl": api_base_url,
            "DatabaseName": database,
            "DatabaseUser": database,
            **{each: plain(value) for each, value in pairs("--set", setting).items()},
        },
        "tags": pairs("--tag", tag),
    }
    entry = {field: value for field, value in given.items() if value not in (None, {})}
    read = project.read()
    project.tenants(read)  # so that what was wrong before is not blamed on the new one
    tenants = project.change(edit.with_tenant(read, entry))
    following = [
        f"make deploy TENANT={name}",
        f"batchctl verify --stack {tenants[-1].stack} --region {tenants[-1].region}",
    ]
    if as_json:
        answer({"added": {**asdict(tenants[-1]), "stack": tenants[-1].stack}, "next": following})
    else:
        console.out.print(f"{name} is in {project.file.name}. To deploy it, type:")
        for command in following:
            console.out.print(f"  {command}", markup=False)


def remove(name: Name, *, checkout: Checkout = CHECKOUT, as_json: Json = False) -> None:
    """Take a tenant out of the file; its stack is left alone, and what to do about it is said."""
    project = Project(checkout)
    read = project.read()
    tenants = project.tenants(read)
    number = next((n for n, each in enumerate(tenants) if each.name == name), None)
    if number is None:
        raise UsageError(
            f"There is no tenant {name} in {project.file.name}. Those there are:"
            f" {', '.join(each.name for each in tenants)}."
        )
    project.change(edit.without_tenant(read, number))
    gone = tenants[number]
    todo, stays = farewell(gone)
    if as_json:
        answer({"removed": {**asdict(gone), "stack": gone.stack}, "next": todo, "stays": stays})
        return
    console.out.print(
        f"{name} is out of {project.file.name}; its stack still runs. To end it, type:"
    )
    for command in todo:
        console.out.print(f"  {command}", markup=False)
    console.out.print("What stays then, until you remove it yourself:")
    for each in stays:
        console.out.print(f"  {each}", markup=False)


def farewell(tenant: Tenant) -> tuple[list[str], list[str]]:
    """What to type to end a tenant's stack, and what outlives it."""
    where = f"--region {tenant.region}"
    schema = tenant.parameters.get("DatabaseName", "batch")
    return (
        [
            "batchctl tenants render",
            f"batchctl replay --stack {tenant.stack} {where}",
            f"aws cloudformation delete-stack --stack-name {tenant.stack} {where}",
        ],
        [
            "the payload bucket (output PayloadBucketName): what is quarantined is nowhere else",
            f"the schema {schema} in the database, with its user: rows, ledger, marks of users",
            "secrets that the tenant was given; they were never the stack's",
        ],
    )


def table(tenants: Sequence[Tenant]) -> Table:
    """Lay the tenants out for a person."""
    made = Table(box=None, pad_edge=False, header_style="dim")
    made.add_column("tenant")
    made.add_column("wave", justify="right")
    for column in ("account", "region", "schedule", "database", "API"):
        made.add_column(column)
    for tenant in tenants:
        given = tenant.parameters
        made.add_row(
            tenant.name,
            "canary" if tenant.wave == 0 else str(tenant.wave),
            tenant.account,
            tenant.region,
            schedule(tenant),
            given.get("DatabaseName", ""),
            escape(given["ApiBaseUrl"]),
        )
    return made


def schedule(tenant: Tenant) -> str:
    """When a tenant runs; what it leaves to the template is left open."""
    state = {"ENABLED": "on", "DISABLED": "off"}.get(tenant.parameters.get("ScheduleState", ""), "")
    minutes = tenant.parameters.get("ScheduleMinutes")
    return ", ".join(filter(None, [f"{minutes} min" if minutes else "", state]))


def pairs(option: str, given: Sequence[str] | None) -> dict[str, str]:
    """Read NAME=VALUE as often as it was given."""
    found = {}
    for each in given or ():
        name, equals, value = each.partition("=")
        if not name or not equals:
            raise UsageError(f"{option} {each} is not of the form NAME=VALUE.")
        found[name] = value
    return found


def plain(value: str) -> Any:
    """Take a number or a truth for what it is, so that the file shows it as a person would."""
    read = yaml.safe_load(value) if value else value
    return read if type(read) in (int, float, bool) and json.dumps(read) == value else value


def answer(document: Any) -> None:
    """Print an object for a program."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _counted(tenants: Sequence[Tenant]) -> str:
    waves = max(tenant.wave for tenant in tenants)
    return f"{len(tenants)} tenants, a canary and {waves} {'wave' if waves == 1 else 'waves'}"


COMMANDS: tuple[Callable[..., None], ...] = (list_tenants, check, render, add, remove)
