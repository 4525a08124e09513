"""Arrows point one way: functions -> pure modules -> ports; adapters alone touch the world."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = Path("layers/batch_core/batch_core")
WORLD = {"boto3", "botocore", "pycurl", "pymysql"}
# Types only: the packages are not in the layer.
WORLD |= {"mypy_boto3_kinesis", "mypy_boto3_s3"}
OURS = {"batch_core", "batchctl", "functions", "job", "sampleapi", "tests"}


def allowed(path: Path) -> set[str]:
    """The top-level packages, and modules of ours, that a file may import."""
    if path.is_relative_to("functions"):
        return {"batch_core", "job"}
    if path.is_relative_to(CORE / "adapters"):
        return {"batch_core", *WORLD}
    if path.is_relative_to(CORE):
        extra = {
            "observability.py": {"aws_lambda_powertools"},
            "tracing.py": {"aws_xray_sdk"},
            "codec.py": {"orjson"},
        }
        return {"batch_core"} | extra.get(path.name, set())
    if path.is_relative_to("layers/job") or path.is_relative_to("examples"):
        return {"batch_core.job"}
    if path.is_relative_to("sampleapi"):
        return {"sampleapi", "aiohttp"}
    return {"*"}  # batchctl and tests: anything but what `broken` rules out


def broken(path: Path, source: str) -> list[str]:
    """The imports of a file that point the wrong way."""
    may = allowed(path)
    wrong = []
    for module in imports(ast.parse(source)):
        top = module.split(".")[0]
        inward = path.is_relative_to(CORE) and not path.is_relative_to(CORE / "adapters")
        if (inward and module.startswith("batch_core.adapters")) or (
            path.is_relative_to("batchctl") and top == "functions"
        ):
            wrong.append(module)
        elif "*" in may or top in sys.stdlib_module_names or module in may or top in may:
            continue
        else:
            wrong.append(module)
    return wrong


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module in OURS:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


def files() -> list[Path]:
    folders = ["functions", "layers", "batchctl", "sampleapi", "examples"]
    return [p.relative_to(ROOT) for f in folders for p in sorted((ROOT / f).rglob("*.py"))]


@pytest.mark.parametrize("path", files(), ids=str)
def test_a_file_imports_only_what_its_room_allows(path: Path) -> None:
    assert broken(path, (ROOT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("functions/list_users/app.py", "import boto3"),
        ("functions/list_users/app.py", "from functions.call_api import app"),
        ("layers/batch_core/batch_core/chunks.py", "import pymysql"),
        ("layers/batch_core/batch_core/chunks.py", "from batch_core.adapters.s3 import S3"),
        ("layers/batch_core/batch_core/chunks.py", "from batch_core import adapters"),
        ("layers/batch_core/batch_core/chunks.py", "import aws_lambda_powertools"),
        ("layers/batch_core/batch_core/adapters/s3.py", "import job"),
        ("layers/job/job.py", "from batch_core.ports import PayloadStore"),
        ("layers/job/job.py", "import pycurl"),
        ("batchctl/aws.py", "import functions.call_api.app"),
        ("sampleapi/server.py", "import batch_core"),
    ],
)
def test_an_arrow_that_points_the_wrong_way_is_found(path: str, source: str) -> None:
    assert broken(Path(path), source) != []
