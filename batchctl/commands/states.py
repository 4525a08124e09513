"""What `batchctl verify --states` does and prints."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import typer
from rich.table import Table
from rich.text import Text

from batchctl import console
from batchctl.states.trial import try_states

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from batchctl.aws import ClientFactory


def verify_states(client: ClientFactory, definition: Mapping[str, Any], *, as_json: bool) -> None:
    """Try every case of a workflow on Step Functions; leave with status 1 when one differs."""
    verdicts = []
    table = Table("", "State", "Case", box=None, pad_edge=False)
    for verdict in try_states(client, definition):
        verdicts.append(verdict)
        mark = "[green]✔[/green]" if verdict.good else "[red]✘[/red]"
        table.add_row(mark, verdict.case.state, verdict.case.name)
        for difference in verdict.differences:
            table.add_row("", "", Text(difference))
    bad = [verdict for verdict in verdicts if not verdict.good]
    if as_json:
        line = {
            "cases": len(verdicts),
            "different": [
                {"state": v.case.state, "case": v.case.name, "differences": v.differences}
                for v in bad
            ],
        }
        sys.stdout.write(json.dumps(line) + "\n")
    else:
        console.wide(table)
        console.out.print(f"{len(verdicts) - len(bad)} of {len(verdicts)} cases are as expected")
    if bad:
        raise typer.Exit(1)
