"""The template of the pipeline for a fleet of any size."""

from __future__ import annotations

from dataclasses import replace

from batchctl.tenants.pipeline import render
from batchctl.tenants.project import Project
from tests.template.translation import ROOT

PROJECT = Project(ROOT)
TENANTS = PROJECT.tenants(PROJECT.read())


def fleet_of(count: int) -> str:
    """The template for so many tenants, which are like those of the file, and named as long."""
    canary, *others = TENANTS
    like = others[0] if others else canary
    more = [
        replace(like, name=f"tenant-number-{n:010}", wave=1 + n // 30, account=f"{n % 40:012}")
        for n in range(count - 1)
    ]
    return render((ROOT / "pipeline.yaml").read_text(), [canary, *more])
