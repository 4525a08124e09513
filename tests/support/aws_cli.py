"""Lets the real AWS CLI look at a command without calling anything."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import awscli.clidriver
from samtranslator.yaml_helper import yaml_parse

# Kept by the CLI itself, not by a service; asking for them needs no model.
_CONFIGURE: Final = "configure"


def refused(words: Sequence[str], *, root: Path) -> str:
    """Say what is wrong with the words behind `aws`; empty when nothing is.

    Services, operations, options, their values and the query are the CLI's own business; what
    `cloudformation deploy` gives to a template is compared with that template, below `root`.
    """
    if words[:2] == ["cloudformation", "deploy"]:
        return "; ".join(unfit(words[2:], root))
    if words[0] == _CONFIGURE:
        return ""
    driver = awscli.clidriver.create_clidriver()
    for name in ("access_key", "secret_key"):
        driver.session.set_config_variable(name, "none")
    driver.session.set_config_variable("region", "ap-northeast-1")
    driver.session.register("before-call", _called)
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            status = driver.main(list(words))
        except SystemExit as left:  # words that its parser does not know
            status = left.code
    return "" if status == 0 else said.getvalue().strip()


def _called(**_: Any) -> tuple[Any, dict[str, Any]]:
    return SimpleNamespace(status_code=200), {}


def unfit(words: Sequence[str], root: Path) -> Iterator[str]:
    """Say what the options of a deployment give to a template that it does not take, or lacks."""
    given = _options(words)
    template = yaml_parse((root / given["--template-file"][0]).read_text(encoding="utf-8"))
    known = template.get("Parameters", {})
    overridden = {pair.partition("=")[0] for pair in given.get("--parameter-overrides", [])}
    yield from (f"{name} is no parameter" for name in sorted(overridden - known.keys()))
    needed = {name for name, each in known.items() if "Default" not in each}
    yield from (f"{name} is missing" for name in sorted(needed - overridden))
    roles = [
        each["Properties"]
        for each in template["Resources"].values()
        if each["Type"] in {"AWS::IAM::Role", "AWS::IAM::ManagedPolicy", "AWS::IAM::Policy"}
    ]
    named = any("RoleName" in each or "ManagedPolicyName" in each for each in roles)
    capability = "CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM"
    if roles and capability not in given.get("--capabilities", []):
        yield f"{capability} is missing"


def _options(words: Sequence[str]) -> dict[str, list[str]]:
    options: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            options[word] = []
        else:
            options[next(reversed(options))].append(word)
    return options
