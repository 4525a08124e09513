"""Run every gate, or those named, and say which fail and what they found.

None of them needs an account or a network. docs/gates.md says what each is there for.
"""
# ruff: noqa: T201

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
GATES_BIN = ROOT / ".local" / "gates-venv" / "bin"
RENDERED = ".local/gates"

TEMPLATES = sorted(path.name for path in ROOT.glob("*.yaml"))
MACHINES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("statemachine/*.json"))
GUARD = "gates/node_modules/@cdklabs/cdk-validator-cfnguard/bin/{}/{}/cfn-guard".format(
    "macos" if sys.platform == "darwin" else "ubuntu",
    "aarch64" if platform.machine() in ("aarch64", "arm64") else "x86_64",
)
# Those that the next ones read the result of.
FIRST: dict[str, list[str]] = {
    "templates": ["python", "-m", "tests.template.rendered", RENDERED, *TEMPLATES],
}
# In the order of their length, so that none is waited for alone.
GATES: dict[str, list[str]] = {
    "build twice": ["python", "scripts/build_twice.py"],
    # Also looks for secrets, in every file.
    "checkov": ["checkov", "--config-file", "gates/checkov.yaml"],
    "mypy": ["mypy"],
    # With its advice (I), which asks for a deletion policy on everything that holds data.
    "cfn-lint": ["cfn-lint", "--config-file", "gates/cfn-lint.yaml", "--", *TEMPLATES],
    "sam validate --lint": ["sam", "validate", "--lint"],
    **{f"sam validate {name}": ["sam", "validate", "--template-file", name] for name in TEMPLATES},
    "house rules": [
        *(
            "pytest",
            "-q",
            "--tb=short",
            "tests/template/test_house_rules.py::test_the_template_keeps",
        ),
        *(
            f"tests/template/test_{name}.py"
            for name in ("foundation", "parameters", "pipeline", "versions")
        ),
        "tests/template/test_documentation.py",
    ],
    "permissions": [
        *("pytest", "-q", "--tb=short", "tests/template/test_permissions.py"),
        *("tests/template/test_deploying_roles.py", "tests/template/test_pipeline_roles.py"),
    ],
    "arrows": ["pytest", "-q", "--tb=short", "tests/architecture"],
    "parliament": [f"{GATES_BIN}/python", "scripts/policies.py", f"{RENDERED}/policies"],
    "cfn-guard": [
        GUARD,
        "validate",
        "-a",
        "-r",
        "gates/rules.guard",
        "-d",
        f"{RENDERED}/templates",
    ],
    "bandit": ["bandit", "--quiet", "--recursive", "--configfile", "pyproject.toml", "."],
    "tenants": ["batchctl", "tenants", "check"],
    "ruff": ["ruff", "check", "."],
    "statelint": ["python", "scripts/statelint.py", *MACHINES],
    "ruff format": ["ruff", "format", "--check", "."],
    "locks": ["python", "scripts/lock.py", "--check"],
}


def environment() -> dict[str, str]:
    """Return the environment of a gate."""
    path = map(str, (BIN, GATES_BIN))
    return {
        **os.environ,
        "PATH": os.pathsep.join([*path, os.environ.get("PATH", os.defpath)]),
        # The code beside this file, also where that is a copy of what is installed.
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "layers" / "batch_core")]),
        "PYTHONWARNINGS": "ignore",
        "SAM_CLI_TELEMETRY": "0",
        # `sam validate` wants a region, and no account.
        "AWS_DEFAULT_REGION": os.environ.get("AWS_DEFAULT_REGION", "ap-northeast-1"),
        "AWS_EC2_METADATA_DISABLED": "true",
        # A template that checkov cannot read is none that it has nothing to say about.
        "CKV_PARSE_ERROR_FAIL": "true",
    }


def run(command: list[str]) -> tuple[bool, float, str]:
    """Return whether a gate lets the project through, after how many seconds, and what it said."""
    started = time.monotonic()
    ran = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said = ran.stdout.decode(errors="replace")
    return ran.returncode == 0, time.monotonic() - started, said


def main() -> int:
    """Run the gates, as many at once as there are processors; the status is 1 when any fails."""
    every = {**FIRST, **GATES}
    wanted = sys.argv[1:] or list(every)
    unknown = [name for name in wanted if name not in every]
    if unknown:
        print(f"check: no gate is called {unknown[0]}; there are {', '.join(every)}")
        return 2
    started = time.monotonic()
    failed = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for gates in (FIRST, GATES):
            running = {name: pool.submit(run, gates[name]) for name in gates if name in wanted}
            for name, gate in running.items():
                passed, seconds, said = gate.result()
                print(f"{'ok' if passed else 'FAILED':8}{name:32}{seconds:6.1f} s", flush=True)
                if not passed:
                    failed.append(name)
                    print(said, flush=True)
    print(f"check: {time.monotonic() - started:.0f} seconds", end="")
    print(f", failed: {', '.join(failed)}" if failed else "")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
