"""What the project consists of, from its hashed locks: as a list (SBOM), and looked up (audit).

The two tools are locked like everything else, in an environment of their own: only the pipeline
needs them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from setup import ensure_environment

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".local" / "supply-chain-venv"
LOCK = ROOT / "requirements" / "supply_chain.txt"
PACKAGE = ROOT / ".aws-sam" / "package"

# What is deployed, and what it is tested and built with.
LOCKS = {
    "layer": "layers/batch_core/requirements.txt",
    "libcurl": "layers/batch_core/requirements_libcurl.txt",
    "client": "requirements/client.txt",
    "development": "requirements/dev.txt",
    "ministack": "requirements/ministack.txt",
}


def main() -> None:
    """Do what the one word asks for."""
    work = {"sbom": sbom, "audit": audit}.get(sys.argv[1] if len(sys.argv) == 2 else "")
    if work is None:
        sys.exit("supply_chain: say sbom or audit")
    ensure_environment(TOOLS, LOCK, "the tools of the supply chain")
    work()


def sbom() -> None:
    """Write one file for each lock, in CycloneDX; the same lock gives the same file."""
    PACKAGE.mkdir(parents=True, exist_ok=True)
    for name, lock in LOCKS.items():
        target = PACKAGE / f"sbom-{name}.json"
        tool("cyclonedx-py", "requirements", lock, "--output-reproducible", "-o", str(target))


def audit() -> None:
    """Stop at a known vulnerability, and at a package that nobody knows."""
    for lock in LOCKS.values():
        tool("pip-audit", "--strict", "--require-hashes", "--disable-pip", "-r", lock)


def tool(name: str, *words: str) -> None:
    """Run one of the tools, and end as it ends when it is not content."""
    status = subprocess.run([TOOLS / "bin" / name, *words], cwd=ROOT, check=False).returncode
    if status != 0:
        sys.exit(status)


if __name__ == "__main__":
    main()
