"""Build once and upload it once: the same code for every tenant, who differ in parameters only.

What is left in .aws-sam/package is all that a deployment needs: the template, which names what was
uploaded, a file of parameters and tags for each tenant, and below client/ the wheels of what
verifies them, so that no deployment is judged by whether a mirror answers.
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import secrets
import shutil
import subprocess
from pathlib import Path

from setup import CLIENT_WHEELS, ensure_client_wheels

from batchctl.tenants import pipeline
from batchctl.tenants.project import Project

ROOT = Path(__file__).resolve().parent.parent
BUILT = ROOT / ".aws-sam" / "build" / "template.yaml"
PACKAGE = ROOT / ".aws-sam" / "package"


def main() -> None:
    """Build, upload and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bucket", required=True, help="where the code goes")
    parser.add_argument("--key", help="the KMS key to encrypt it with")
    given = parser.parse_args()
    # First: a file of tenants that does not hold needs no build.
    project = Project(ROOT)
    tenants = project.tenants(project.read())
    PACKAGE.mkdir(parents=True, exist_ok=True)
    key = ["--kms-key-id", given.key] if given.key else []
    sam("build")
    sam(
        "package",
        # Otherwise samconfig.toml names the source, whose layer has no libraries in it.
        *("--template-file", str(BUILT)),
        *("--s3-bucket", given.bucket, "--s3-prefix", "packages", *key),
        *("--output-template-file", str(PACKAGE / "template.yaml")),
    )
    word = secrets.token_hex(8)  # so that a build can be deployed whatever became of the last one
    for tenant in tenants:
        text = pipeline.configuration(tenant.for_deployment(word))
        (PACKAGE / f"{tenant.name}.json").write_text(text, encoding="utf-8")
    ensure_client_wheels()
    shutil.copytree(
        CLIENT_WHEELS, PACKAGE / "client", dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*")
    )
    print(f"package: {len(tenants)} tenants in {PACKAGE.relative_to(ROOT)}")


def sam(*words: str) -> None:
    """Run sam, which `make` puts on the path with the interpreter that it builds for."""
    subprocess.run(["sam", *words], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
