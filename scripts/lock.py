"""Write the hashed lock files from the *.in files beside them.

Versions that are locked already are kept while they fit; `--upgrade` takes the newest. The layers
and the client are locked with the development lock as their constraint, so that the tests run what
is deployed, and what looks after it.
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = ROOT / ".venv" / "bin" / "uv"

DEVELOPMENT = "requirements/dev.in"
CLIENT = "requirements/client.in"
MINISTACK = "requirements/ministack.in"
SUPPLY_CHAIN = "requirements/supply_chain.in"
GATES = "requirements/gates.in"
LAYERS = ("layers/batch_core/requirements.in", "layers/batch_core/requirements_libcurl.in")
LOCKED = (DEVELOPMENT, CLIENT, MINISTACK, SUPPLY_CHAIN, GATES, *LAYERS)
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
    """Lock all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    parser.add_argument("--check", action="store_true", help="say what a lock lacks, write nothing")
    given = parser.parse_args()
    if given.check:
        sys.exit("\n".join(problem for source in LOCKED for problem in problems(source)) or 0)
    upgrade = ["--upgrade"] if given.upgrade else []
    compile_lock(DEVELOPMENT, *upgrade)
    compile_lock(CLIENT, "--constraint", "requirements/dev.txt")
    compile_lock(MINISTACK, *upgrade)
    compile_lock(SUPPLY_CHAIN, *upgrade)
    compile_lock(GATES, *upgrade)
    left_out = [part for name in IN_THE_LAMBDA_RUNTIME for part in ("--no-emit-package", name)]
    for layer in LAYERS:
        compile_lock(layer, "--constraint", "requirements/dev.txt", *left_out)


def problems(source: str) -> Iterator[str]:
    """Say what a lock lacks of its *.in file, and what in it is not pinned to hashes."""
    lock = Path(source).with_suffix(".txt")
    entries = re.findall(r"^(\S[^\n]*\n(?: +[^\n]*\n)*)", (ROOT / lock).read_text(), re.MULTILINE)
    direct = set()
    for entry in (entry for entry in entries if not entry.startswith("#")):
        pinned = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==\S+ ", entry)
        if pinned is None or "--hash=sha256:" not in entry:
            yield f"{lock}: not pinned to hashes: {entry.splitlines()[0]}"
        elif f"-r {source}" in entry:
            direct.add(canonical(pinned[1]))
    wanted = {
        canonical(found[0])
        for line in (ROOT / source).read_text().splitlines()
        if (found := re.match(r"[A-Za-z0-9._-]+", line))
    }
    for name in sorted(wanted ^ direct):
        yield f"{lock}: {name} is in one of it and {source} only; write it anew with: make lock"


def canonical(name: str) -> str:
    """Return the name by which an index knows a package."""
    return re.sub(r"[-_.]+", "-", name).lower()


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
