"""What `make package` tells sam and pip, which are played here by programs that write it down."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from batchctl.tenants.parameters import DIGEST
from batchctl.tenants.project import Project
from tests.support.checkout import ROOT

SAM = """#!{python}
import json, sys
with open("sam.jsonl", "a") as told:
    told.write(json.dumps(sys.argv[1:]) + "\\n")
"""
PIP = """#!{python}
import pathlib, sys
assert sys.argv[1:4] == ["-m", "pip", "download"], sys.argv
assert "--require-hashes" in sys.argv and sys.argv[-1].endswith("requirements/client.txt"), sys.argv
pathlib.Path(sys.argv[sys.argv.index("--dest") + 1], "rich-1-py3-none-any.whl").touch()
"""


def packaged(checkout: Path, *words: str) -> list[list[str]]:
    """Package a copy of the checkout; return what sam was told, call by call."""
    sources = ("template.yaml", "samconfig.toml", "scripts/package.py", "scripts/setup.py")
    for name in (*sources, "requirements/client.txt"):
        (checkout / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    shutil.copytree(ROOT / "tenants", checkout / "tenants")
    sam = checkout / "bin" / "sam"
    for program, text in ((sam, SAM), (checkout / ".venv" / "bin" / "python", PIP)):
        program.parent.mkdir(parents=True)
        program.write_text(text.format(python=sys.executable))
        program.chmod(0o755)
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


def test_no_package_has_the_digests_of_another_or_of_the_file(tmp_path: Path) -> None:
    """A version that an undone deployment left is like the last one otherwise."""
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()

    def digests(checkout: Path) -> list[str]:
        packaged(checkout)
        files = sorted((checkout / ".aws-sam" / "package").glob("*.json"))
        return [json.loads(file.read_text())["Parameters"][DIGEST] for file in files]

    project = Project(ROOT)
    usual = [tenant.parameters[DIGEST] for tenant in project.tenants(project.read())]
    every = [*usual, *digests(tmp_path / "one"), *digests(tmp_path / "other")]
    assert len(set(every)) == len(every) == 3 * len(usual)


def test_what_verifies_a_tenant_is_in_the_package(tmp_path: Path) -> None:
    packaged(tmp_path)

    client = tmp_path / ".aws-sam" / "package" / "client"
    assert [file.name for file in client.iterdir()] == ["rich-1-py3-none-any.whl"]
