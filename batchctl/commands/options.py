"""Options that several commands share."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from batchctl.local.cloud import DEFAULT_TENANT
from batchctl.local.databases import DatabaseKind

_TENANT_MAX = 24  # this and the pattern are the template's, of its parameter TenantId
_TENANT = re.compile(r"[a-z](-?[a-z0-9])*")


def _check_tenant(tenant: str) -> str:
    if not _TENANT.fullmatch(tenant) or len(tenant) > _TENANT_MAX:
        raise typer.BadParameter(
            f"a tenant is named with up to {_TENANT_MAX} lower-case letters, digits and single "
            "hyphens, a letter first"
        )
    return tenant


Tenant = Annotated[
    str,
    typer.Option(metavar="NAME", help="Whose stack of the local cloud.", callback=_check_tenant),
]
Database = Annotated[
    DatabaseKind | None,
    typer.Option(help="What the local cloud runs on; without it, what it ran on last."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for a program to read.")]
JsonLine = Annotated[
    bool,
    typer.Option("--json", help="End with one line of JSON; everything else goes to stderr."),
]
Region = Annotated[str | None, typer.Option(metavar="R", help="Where that stack is.")]
Profile = Annotated[str | None, typer.Option(metavar="P", help="The AWS profile to use for it.")]

__all__ = ["DEFAULT_TENANT", "Database", "Json", "JsonLine", "Profile", "Region", "Tenant"]
