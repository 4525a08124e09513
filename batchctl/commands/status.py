"""batchctl status."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.table import Table

from batchctl import console
from batchctl.commands.options import Json
from batchctl.local.cloud import CloudStatus, LocalCloud


def status(*, as_json: Json = False) -> None:
    """Show what runs of the local cloud, where, and which tenants are deployed on it."""
    found = LocalCloud().status()
    if as_json:
        console.out.print_json(json.dumps({"running": found.running, **asdict(found)}))
    else:
        show(found)


def show(found: CloudStatus) -> None:
    """Print the state of the cloud as a table."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("server", "state", "pid", "address"):
        table.add_column(column)
    for server in found.servers:
        colour = {"running": "green", "stopped": "dim"}.get(server.state, "red")
        table.add_row(
            server.role,
            f"[{colour}]{server.state}[/{colour}]",
            str(server.pid or ""),
            f"127.0.0.1:{server.port}" if server.port else "",
        )
    console.out.print(table)
    tenants = ", ".join(found.tenants) or "none"
    console.out.print(f"[dim]tenants[/dim] {tenants}   [dim]files[/dim] {found.home}")
