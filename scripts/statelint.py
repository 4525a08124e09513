"""Lint a state machine with statelint, which predates expressions where it expects a number.

Step Functions takes an expression for these fields, and the template needs one to pass a parameter:
https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html
"""
# ruff: noqa: T201

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

_COMPUTED_NUMBER = re.compile(r'("MaxConcurrency": )"\{%[^"]*%\}"')


def main() -> int:
    """Lint each file named on the command line, with a number for each computed one."""
    worst = 0
    program = Path(sys.executable).with_name("statelint")
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:]:
            machine = Path(folder) / Path(name).name
            machine.write_text(
                _COMPUTED_NUMBER.sub(r"\g<1>1", Path(name).read_text(encoding="utf-8"))
            )
            ran = subprocess.run([program, machine], check=False, capture_output=True, text=True)
            if ran.returncode != 0:
                print(f"{name}:\n{ran.stdout}{ran.stderr}")
            worst = max(worst, ran.returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
