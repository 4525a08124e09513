"""The AWS CLI of the documents' tests: the real one, pointed at the local cloud.

What the emulator lacks is done here, after the real one has looked at the words.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from samtranslator.yaml_helper import yaml_parse

from batchctl.local import emulator
from batchctl.local.cloud import LocalCloud
from tests.support.aws_cli import refused

PROGRAM: Final = """#!{python}
import sys
from tests.support.local_aws import main

main("{aws}", sys.argv[1:])
"""


def main(aws: str, words: list[str]) -> None:
    """Do what the words say; leave with the CLI's status."""
    match words:
        case ["rds-data", "execute-statement", *_]:
            if said := refused(words, root=Path.cwd()):
                sys.exit(said)
            _execute(_option(words, "--sql"))
        case ["cloudformation", "deploy", *_]:
            with tempfile.TemporaryDirectory() as folder:
                fitted = _fitted(Path(_option(words, "--template-file")), Path(folder))
                words[words.index("--template-file") + 1] = str(fitted)
                sys.exit(subprocess.run([aws, *words], check=False).returncode)
        case _:
            os.execv(aws, [aws, *words])


def _option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def _execute(statement: str) -> None:
    """Execute SQL as the database's administrator, as the Data API does."""
    cloud = LocalCloud(Path(os.environ["BATCHCTL_HOME"]))
    with cloud.database() as connection, connection.cursor() as cursor:
        cursor.execute(statement)


def _fitted(template: Path, folder: Path) -> Path:
    """Write a template without what the emulator cannot make."""
    made = folder / "template.json"
    whole = yaml_parse(template.read_text(encoding="utf-8"))
    made.write_text(json.dumps(emulator.without_what_it_lacks(whole)), encoding="utf-8")
    return made
