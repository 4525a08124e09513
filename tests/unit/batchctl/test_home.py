"""The files of a local cloud survive a crash at any moment."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from batchctl.errors import BatchctlError
from batchctl.local.home import CHECKOUT, default_home, exclusive, read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path


def test_the_home_is_in_the_checkout_unless_the_environment_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BATCHCTL_HOME", raising=False)
    assert default_home() == CHECKOUT / ".local"
    monkeypatch.setenv("BATCHCTL_HOME", str(tmp_path))
    assert default_home() == tmp_path


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": '])
def test_a_torn_state_file_means_that_nothing_is_known(tmp_path: Path, content: str) -> None:
    file = tmp_path / "cloud.json"
    file.write_text(content)
    assert read_json(file) == {}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "new" / "cloud.json"
    write_json(file, {"ports": {"mariadb": 1}})
    assert read_json(file) == {"ports": {"mariadb": 1}}
    assert [entry.name for entry in file.parent.iterdir()] == ["cloud.json"]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cloud.json").mkdir()
    with pytest.raises(BatchctlError, match=r"cloud\.json cannot be written"):
        write_json(tmp_path / "cloud.json", {})


def test_a_lock_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    holds = (
        "import sys; from pathlib import Path; from batchctl.local.home import exclusive\n"
        "with exclusive(Path(sys.argv[1]), print): print('held', flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", holds, tmp_path / "lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    said: list[str] = []

    def waiting(text: str) -> None:
        said.append(text)
        holder.kill()

    with exclusive(tmp_path / "lock", waiting):
        assert said == [f"another command is at work on {tmp_path}; waiting for it"]
    holder.communicate()
