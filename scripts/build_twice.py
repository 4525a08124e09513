"""Build twice, in two places, and compare every byte: the sources alone decide what is deployed.

The wheels are those that set-up has kept, so that it needs no network.
"""
# ruff: noqa: T201

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WHEELS = ROOT / ".local" / "wheels"


def build(folder: Path) -> dict[str, str]:
    """Build the template and return the digest of every file, the built template among them."""
    target = folder / "build"
    words = ["sam", "build", "--build-dir", str(target), "--cache-dir", str(folder / "cache")]
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(WHEELS)}
    ran = subprocess.run(
        words, cwd=ROOT, env={**os.environ, **offline}, check=False, capture_output=True, text=True
    )
    if ran.returncode != 0:
        sys.exit(ran.stdout + ran.stderr)
    return {
        str(path.relative_to(target)): f"{path.stat().st_mode:o} {digest(path)}"
        for path in target.rglob("*")
        if path.is_file()
    }


def digest(path: Path) -> str:
    """Return the digest of a file."""
    return sha256(path.read_bytes()).hexdigest()


def main() -> int:
    """Build twice and name what differs."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        first, second = build(Path(one)), build(Path(other))
    names = sorted(first.keys() | second.keys())
    different = [name for name in names if first.get(name) != second.get(name)]
    for name in different:
        print(f"not the same twice: {name}")
    return 1 if different or not names else 0


if __name__ == "__main__":
    sys.exit(main())
