"""What is printed arrives on any terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

import batchctl
from batchctl import console

SOURCES = sorted(Path(str(batchctl.__file__)).parent.rglob("*.py"))
PRINTS = """
from batchctl import console
console.print_on_any_terminal()
console.out.print("✔ stored ■ ¥7, of 山田")
console.error("…")
"""


def plain(text: str, encoding: str = "ascii") -> str:
    console.print_on_any_terminal()
    written = BytesIO()
    stream = TextIOWrapper(written, encoding=encoding, errors="plain", write_through=True)
    stream.write(text)
    return written.getvalue().decode(encoding)


def test_every_sign_of_this_project_has_a_plain_form() -> None:
    used = {
        sign for file in SOURCES for sign in file.read_text(encoding="utf-8") if ord(sign) > 127
    }
    assert {"✔", "■", "·"} <= used
    assert {sign for sign in used if "?" in plain(sign)} == set()


def test_what_the_terminal_has_is_left_alone_and_a_name_it_lacks_is_a_question_mark() -> None:
    assert plain("✔ ¥7 · 山田", "latin-1") == "+ ¥7 · ??"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "shift_jis", "utf-8"])
def test_a_command_prints_in_any_encoding(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINTS],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=True,
        capture_output=True,
    )
    assert "stored" in done.stdout.decode(encoding)
    assert "Error:" in done.stderr.decode(encoding)
