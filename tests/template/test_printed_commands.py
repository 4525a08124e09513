"""Every command that a page prints is one that exists, whether or not the suite can run it.

The pages are pasted into a shell whose programs only write down how they were called. What each
of them would have said is then asked of the real AWS CLI, the command line and the Makefile.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from samcli.commands.build.command import cli as sam_build
from samcli.commands.deploy.command import cli as sam_deploy

from batchctl.__main__ import build_app
from tests.support.aws_cli import refused, unfit
from tests.support.checkout import ROOT
from tests.support.documents import Block, commands, script

PAGES = ["README.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")))]
_STUB = """#!/bin/sh
printf '%s\\0' "{name}" "$@" >> "{log}"
printf '\\036' >> "{log}"
echo arn:aws:service:ap-northeast-1:111122223333:thing
"""
_SAM = {"build": sam_build, "deploy": sam_deploy}
# Typer brings its own click, and gives only some of its exceptions a name.
UsageError: Any = typer.BadParameter.__base__
_STUBBED = (
    "aws", "sam", "make", "git", ".venv/bin/sam", ".venv/bin/batchctl", ".venv/bin/python",
)  # fmt: skip


def calls(folder: Path, blocks: list[Block]) -> list[list[str]]:
    """Paste blocks into a shell in a folder where nothing happens; return what was called."""
    log = folder / "log"
    log.touch()
    (folder / "tenants").mkdir()
    for name in _STUBBED:
        stub = folder / (name if "/" in name else f"bin/{name}")
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text(_STUB.format(name=name, log=log))
        stub.chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", script(blocks, after={})],
        cwd=folder,
        env={"PATH": f"{folder / 'bin'}:/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [call.split("\0")[:-1] for call in log.read_text().split("\036")[:-1]]


def wrong(call: list[str]) -> str:
    """What the program would have said against its words; empty when nothing."""
    program, *words = call
    match program:
        case "aws":
            return refused(words, root=ROOT)
        case "sam" | ".venv/bin/sam":
            return _unknown_to_sam(words)
        case "make":
            targets = [word for word in words if "=" not in word]
            rules = (ROOT / "Makefile").read_text(encoding="utf-8")
            return ", ".join(t for t in targets if not re.search(rf"^{t}:", rules, re.MULTILINE))
        case ".venv/bin/batchctl":
            return _unparsed(words)
    return ""


def _unknown_to_sam(words: list[str]) -> str:
    command, *rest = words
    params = _SAM[command].params
    known = {option for each in params for option in [*each.opts, *each.secondary_opts]}
    unknown = ", ".join(word for word in rest if word.startswith("--") and word not in known)
    return unknown or "; ".join(unfit(rest, ROOT) if "--template-file" in rest else ())


def _unparsed(words: list[str]) -> str:
    command: Any = typer.main.get_command(build_app())
    try:
        while hasattr(command, "commands"):
            name, *words = words
            command = command.commands[name]
        command.make_context(name, words)
    except KeyError:
        return f"there is no command {name}"
    except UsageError as error:
        return str(error.format_message())
    return ""


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_exists(page: str, tmp_path: Path) -> None:
    blocks = commands(page)

    problems = [
        f"{' '.join(call)}: {said}" for call in calls(tmp_path, blocks) if (said := wrong(call))
    ]

    assert problems == []


def test_no_page_prints_a_program_that_is_not_on_a_readers_path() -> None:
    bare = [
        f"{block.where}: {line}"
        for page in PAGES
        for block in commands(page)
        for line in block.text.splitlines()
        if re.match(r"(batchctl|python|pytest|ruff|mypy)\b", line.strip())
    ]

    assert bare == []


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (["aws", "lambda", "list-functions", "--colour", "red"], "Unknown options: --colour"),
        (["aws", "lambda", "invent-function"], "Invalid choice: 'invent-function'"),
        (["aws", "lambda", "list-functions", "--query", "Functions[.x"], "Bad value for --query"),
        (
            ["aws", "cloudformation", "deploy", "--template-file", "access.yaml"],
            "TenantId is missing",
        ),
        (
            [
                "aws",
                "cloudformation",
                "deploy",
                "--template-file",
                "foundation.yaml",
                "--parameter-overrides",
                "Colour=red",
            ],
            "Colour is no parameter",
        ),
        (
            ["aws", "sqs", "purge-queue", "--url", "URL"],
            "the following arguments are required: --queue-url",
        ),
        (["sam", "deploy", "--config-environment", "acme"], "--config-environment"),
        (["make", "coffee"], "coffee"),
        ([".venv/bin/batchctl", "brew"], "there is no command brew"),
        ([".venv/bin/batchctl", "run", "--sugar", "2"], "No such option: --sugar"),
        ([".venv/bin/batchctl", "run", "RUN"], "unexpected extra argument"),
    ],
)
def test_a_command_that_does_not_exist_is_found(call: list[str], said: str) -> None:
    assert said in wrong(call)
