"""Run every gate and say which fail: style, types, templates, tenants, the workflow, arrows."""
# ruff: noqa: T201

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

TEMPLATES = sorted(path.name for path in ROOT.glob("*.yaml"))
MACHINES = sorted((ROOT / "statemachine").glob("*.json"))
GATES: dict[str, list[str]] = {
    "ruff": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    **{f"sam validate {name}": ["sam", "validate", "--template-file", name] for name in TEMPLATES},
    "sam validate --lint": ["sam", "validate", "--lint"],
    "cfn-lint": ["cfn-lint", "--include-checks", "I", "--", *TEMPLATES],
    "tenants": ["batchctl", "tenants", "check"],
    "statelint": ["python", "scripts/statelint.py", *map(str, MACHINES)],
    "arrows": ["pytest", "-q", "tests/architecture"],
}


def main() -> int:
    """Run the gates one after the other; the status is 1 when any fails."""
    env = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "SAM_CLI_TELEMETRY": "0",
        # `sam validate` wants a region, and no account.
        "AWS_DEFAULT_REGION": os.environ.get("AWS_DEFAULT_REGION", "ap-northeast-1"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    failed = []
    for gate, command in GATES.items():
        started = time.monotonic()
        ran = subprocess.run(
            command,
            cwd=ROOT,
            env=env,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        verdict = "ok" if ran.returncode == 0 else "FAILED"
        print(f"{verdict:7}{gate} ({time.monotonic() - started:.1f} s)", flush=True)
        if ran.returncode != 0:
            failed.append(gate)
            print(ran.stdout.decode(errors="replace"), flush=True)
    if failed:
        print(f"check: failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
