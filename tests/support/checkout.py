"""Another team's checkout: this one with another job."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]


def checkout(folder: Path, job: Path) -> Path:
    """Copy what is deployed into `folder` with another job; return the template."""
    shutil.copy(ROOT / "template.yaml", folder)
    for part in ("statemachine", "functions", "layers"):
        shutil.copytree(
            ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    layer = folder / "layers" / "job"
    for old in (layer / "job.py", *(layer / "schema").iterdir()):
        old.unlink()
    shutil.copytree(job, layer, dirs_exist_ok=True)
    return folder / "template.yaml"
