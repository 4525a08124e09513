"""Stop the local cloud and remove everything that make and the tools made in this checkout."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MADE = (
    ".aws-sam",
    ".hypothesis",
    ".local",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".venv",
    "express_batch.egg-info",
    "gates/node_modules",
    "tests/jsonata/node_modules",
)


def main() -> None:
    """Clean the checkout."""
    batchctl = ROOT / ".venv" / "bin" / "batchctl"
    if batchctl.exists():
        subprocess.run([batchctl, "down"], check=True)
    for name in MADE:
        shutil.rmtree(ROOT / name, ignore_errors=True)
    for cache in [*ROOT.rglob("__pycache__")]:
        shutil.rmtree(cache, ignore_errors=True)


if __name__ == "__main__":
    main()
