"""Other checkouts than this one: another team's, with its own job, and fresh copies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from batchctl.local import sam
from batchctl.local.cloud import LocalCloud
from batchctl.local.servers import REGION

ROOT = Path(__file__).parents[2]
_SAM: Final = """#!{python}
import subprocess, sys
from pathlib import Path
from batchctl.local.sam import fit_to_the_emulator

status = subprocess.run(["{sam}", *sys.argv[1:]]).returncode
if status == 0 and sys.argv[1] == "build":
    fit_to_the_emulator(Path(".aws-sam/build/template.yaml"))
sys.exit(status)
"""


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


def copy_to(folder: Path) -> None:
    """Copy this checkout as it is on disk, without what git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            copy = folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy)


def lend_programs(folder: Path) -> None:
    """Make an environment of links to this checkout's in another one."""
    lent, venv = folder / ".venv", Path(sys.prefix)
    (lent / "bin").mkdir(parents=True)
    for name in ("pyvenv.cfg", "lib", *(f"bin/{each.name}" for each in venv.glob("bin/*"))):
        (lent / name).symlink_to(venv / name)


def fit_sam(folder: Path) -> None:
    """Let a checkout's sam leave out of what it builds what the local cloud cannot make."""
    programs = folder / ".venv" / "bin"
    (programs / "sam").rename(programs / "sam-itself")
    (programs / "sam").write_text(
        _SAM.format(python=programs / "python", sam=programs / "sam-itself")
    )
    (programs / "sam").chmod(0o755)


def environment(folder: Path, cloud: LocalCloud, home: Path) -> dict[str, str]:
    """Make the environment of a command there; nothing in it leads to an account of anybody's.

    `home` is where batchctl keeps its files.
    """
    env = sam.environment(cloud.home, cloud.endpoint_url, cloud.ca_file)
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # of the make that started this
        env.pop(name, None)
    return {
        **env,
        "AWS_REGION": REGION,
        "BATCHCTL_HOME": str(home),
        "PYTHONPATH": os.pathsep.join(str(folder / each) for each in ("", "layers/batch_core")),
        # `make setup` has been run: this is what it runs instead.
        "PYTHON3": "true",
        # No metric arrives late here.
        "ALARM_SECONDS": "0",
        "YES": "1",
    }
