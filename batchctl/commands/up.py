"""batchctl up."""

from __future__ import annotations

from typing import Annotated

import typer

from batchctl import console
from batchctl.commands.options import DEFAULT_TENANT, Database, Tenant
from batchctl.commands.status import show
from batchctl.local.cloud import LocalCloud, Ports

Port = Annotated[int | None, typer.Option(metavar="PORT", min=1, max=65535)]


def up(
    tenant: Tenant = DEFAULT_TENANT,
    database: Database = None,
    port_database: Port = None,
    port_ministack: Port = None,
    port_sampleapi: Port = None,
) -> None:
    """Start the local cloud and deploy a tenant on it; what is right already is left alone.

    Free ports are chosen unless some are asked for.
    """
    ports = Ports(port_database, port_ministack, port_sampleapi)
    cloud = LocalCloud(database=database, ports=ports, report=console.step)
    cloud.up()
    cloud.deploy(tenant)
    show(cloud.status())
