"""Write the hashed lock files from the *.in files beside them.

Versions that are locked already are kept while they fit; `--upgrade` takes the newest. The layer is
locked with the development lock as its constraint, so that the tests run what is deployed.
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = ROOT / ".venv" / "bin" / "uv"

DEVELOPMENT = "requirements/dev.in"
MINISTACK = "requirements/ministack.in"
SUPPLY_CHAIN = "requirements/supply_chain.in"
LAYER = "layers/batch_core/requirements.in"
IN_THE_LAMBDA_RUNTIME = (
    "boto3",
    "botocore",
    "jmespath",
    "python-dateutil",
    "s3transfer",
    "six",
    "urllib3",
)


def main() -> None:
    """Lock the four environments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    upgrade = ["--upgrade"] if parser.parse_args().upgrade else []
    compile_lock(DEVELOPMENT, *upgrade)
    compile_lock(MINISTACK, *upgrade)
    compile_lock(SUPPLY_CHAIN, *upgrade)
    left_out = [part for name in IN_THE_LAMBDA_RUNTIME for part in ("--no-emit-package", name)]
    compile_lock(LAYER, "--constraint", "requirements/dev.txt", *left_out)


def compile_lock(source: str, *options: str) -> None:
    """Resolve one *.in file into its *.txt."""
    target = Path(source).with_suffix(".txt")
    print(f"lock: {target}", flush=True)
    command = [
        str(UV),
        "pip",
        "compile",
        "--quiet",
        "--generate-hashes",
        "--python-version",
        "3.13",
    ]
    # A lock must install from anywhere: where this machine gets its packages may not stay in it.
    command += [
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--custom-compile-command",
        "make lock",
    ]
    subprocess.run([*command, *options, source, "-o", str(target)], cwd=ROOT, check=True)
    foreign = re.findall(r"^(?:--.*|.*(?:://|file:).*)$", (ROOT / target).read_text(), re.MULTILINE)
    if foreign:
        sys.exit(f"{target} names where this machine gets its packages: {foreign[0]}")


if __name__ == "__main__":
    main()
