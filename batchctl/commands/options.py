"""Options that several commands share."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from batchctl.local.cloud import DEFAULT_TENANT

# The same pattern as the template's TenantId parameter.
_TENANT = re.compile(r"[a-z][a-z0-9-]{0,23}")


def _check_tenant(tenant: str) -> str:
    if not _TENANT.fullmatch(tenant):
        raise typer.BadParameter(
            "a tenant is named with up to 24 lower-case letters, digits and hyphens, a letter first"
        )
    return tenant


Tenant = Annotated[
    str,
    typer.Option(metavar="NAME", help="Whose stack of the local cloud.", callback=_check_tenant),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for a program to read.")]

__all__ = ["DEFAULT_TENANT", "Json", "Tenant"]
