"""Show the whole batch once: a local cloud, 1,000 users, one run, its summary.

A cloud that runs already is used and left running.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from batchctl.local.cloud import LocalCloud

BATCHCTL = Path(sys.executable).with_name("batchctl")
USERS = "1000"


def main() -> int:
    """Run the demonstration and return the run's exit status."""
    was_running = LocalCloud().status().running
    try:
        for command in (["up"], ["seed", "--users", USERS], ["run", "--users", USERS]):
            status = subprocess.run([BATCHCTL, *command], check=False).returncode
            if status != 0:
                return status
    except KeyboardInterrupt:
        return 130
    finally:
        if not was_running:
            subprocess.run([BATCHCTL, "down"], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
