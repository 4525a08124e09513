"""The template of the pipeline for a fleet of any size."""

from __future__ import annotations

from dataclasses import replace

from batchctl.tenants.pipeline import render
from batchctl.tenants.project import Project
from tests.template.translation import ROOT

PROJECT = Project(ROOT)
TENANTS = PROJECT.tenants(PROJECT.read())
# Whoever the tenants of the file are, the fleets here are others.
CANARY = replace(TENANTS[0], name="canary", wave=0)


def fleet_of(count: int) -> str:
    """The template for so many tenants, all but the canary with names as long as they may be."""
    more = [
        replace(CANARY, name=f"tenant-number-{n:010}", wave=1 + n // 30, account=f"{n % 40:012}")
        for n in range(count - 1)
    ]
    return render((ROOT / "pipeline.yaml").read_text(), [CANARY, *more])


def fleet_with(name: str, account: str) -> str:
    """The template for the canary and a tenant of this name."""
    tenants = [CANARY, replace(CANARY, name=name, wave=1, account=account)]
    return render((ROOT / "pipeline.yaml").read_text(), tenants)
