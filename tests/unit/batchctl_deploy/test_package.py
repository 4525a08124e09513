"""What `make package` tells sam, which is played here by a program that writes it down."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from batchctl.tenants.project import Project
from tests.support.checkout import ROOT

SAM = """#!{python}
import json, sys
with open("sam.jsonl", "a") as told:
    told.write(json.dumps(sys.argv[1:]) + "\\n")
"""


def packaged(checkout: Path, *words: str) -> list[list[str]]:
    """Package a copy of the checkout; return what sam was told, call by call."""
    for name in ("template.yaml", "samconfig.toml", "scripts/package.py"):
        (checkout / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    shutil.copytree(ROOT / "tenants", checkout / "tenants")
    sam = checkout / "bin" / "sam"
    sam.parent.mkdir()
    sam.write_text(SAM.format(python=sys.executable))
    sam.chmod(0o755)
    path = f"{sam.parent}{os.pathsep}{os.environ['PATH']}"
    command = [
        sys.executable,
        str(checkout / "scripts" / "package.py"),
        "--bucket",
        "artifacts",
        *words,
    ]
    subprocess.run(command, env={**os.environ, "PATH": path}, check=True, capture_output=True)
    return [json.loads(line) for line in (checkout / "sam.jsonl").read_text().splitlines()]


def test_what_was_built_is_packaged_and_not_the_source(tmp_path: Path) -> None:
    build, package = packaged(tmp_path, "--key", "alias/artifacts")

    assert build == ["build"]
    assert package[0] == "package"
    options = dict(zip(package[1::2], package[2::2], strict=True))
    # Without it sam takes the template that samconfig.toml names for building.
    assert options["--template-file"] == str(tmp_path / ".aws-sam" / "build" / "template.yaml")
    assert (options["--s3-bucket"], options["--kms-key-id"]) == ("artifacts", "alias/artifacts")


def test_every_tenant_has_a_file_of_its_parameters_in_the_package(tmp_path: Path) -> None:
    packaged(tmp_path)

    package = tmp_path / ".aws-sam" / "package"
    project = Project(ROOT)
    assert {file.stem for file in package.glob("*.json")} == {
        tenant.name for tenant in project.tenants(project.read())
    }
