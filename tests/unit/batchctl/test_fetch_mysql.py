"""scripts/fetch_mysql.py, with what apt might say, and what it has really fetched here."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.scripts import SCRIPTS, load

APT_GET = """#!/bin/sh
case "$*" in
  *indextargets*) printf '%s' "$TARGETS" ;;
  *) echo "apt-get $*" >> "$SAID"; [ -z "$BROKEN" ] || { echo "$BROKEN"; exit 100; } ;;
esac
"""
APT_CACHE = """#!/bin/sh
case "$*" in *"policy $PACKAGE") echo "  Candidate: $CANDIDATE" ;; *) echo "N: no such" ;; esac
"""


@pytest.fixture
def fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load the program, with no programs on PATH but those that a test writes into `bin`."""
    module = load("fetch_mysql")
    monkeypatch.setattr(module, "FOLDER", tmp_path / "mysql")
    monkeypatch.setattr(module, "RECORD", tmp_path / "mysql" / "server.json")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin")
    which = module.shutil.which
    monkeypatch.setattr(
        module.shutil, "which", lambda name, path="": which(name, path=str(tmp_path / "bin"))
    )
    return module


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Note what apt-get is asked, which knows a Debian mirror and a MySQL."""
    for name, text in (("apt-get", APT_GET), ("apt-cache", APT_CACHE), ("dpkg", "echo amd64")):
        program(tmp_path, name, text)
    variables = {
        "TARGETS": "http://mirror.example/debian-security/ bookworm-security main\n"
        "http://mirror.example/debian/ bookworm contrib\n"
        "http://mirror.example/debian/ bookworm main\n",
        "PACKAGE": "mysql-server-core",
        "CANDIDATE": "9.7.4-2",
        "SAID": str(tmp_path / "said"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "said"


def program(folder: Path, name: str, text: str) -> None:
    file = folder / "bin" / name
    file.write_text(text if text.startswith("#!") else f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def test_it_is_written_in_a_python_that_old_machines_have() -> None:
    ast.parse((SCRIPTS / "fetch_mysql.py").read_text(), feature_version=(3, 8))


def test_without_apt_and_mysql_it_says_what_to_install(
    fetch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch.main() == 1
    told = capsys.readouterr().err
    assert "there is no MySQL" in told
    assert "does not have apt-get" in told
    assert "install a MySQL server (8.0 or newer) so that `mysqld` is on PATH" in told


def test_a_mirror_that_fails_is_quoted_and_told_from_every_other_failure(
    fetch: Any, said: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BROKEN", "E: mirror.example cannot be reached")
    assert fetch.main() == 75
    assert "E: mirror.example cannot be reached" in capsys.readouterr().err


def test_the_mirror_is_the_machines_own_and_nothing_of_the_machine_is_changed(
    fetch: Any, said: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "release", lambda: ["ID=debian"])
    (tmp_path / "mysql").mkdir()

    apt = fetch.own_apt(tmp_path / "mysql")

    source = (tmp_path / "mysql" / "sources" / "mysql.sources").read_text()
    assert "URIs: http://mirror.example/debian/\nSuites: unstable\nComponents: main\n" in source
    given = dict(word.split("=", 1) for word in apt if "Dir::" in word)
    folders = {place for place in given.values() if place != "/dev/null"}
    assert {"Dir::State", "Dir::State::status", "Dir::Cache"} <= given.keys()
    assert all(place.startswith(str(tmp_path)) for place in folders)


def test_ubuntu_has_the_package_among_its_own(
    fetch: Any, said: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "release", lambda: ["ID=ubuntu", "ID_LIKE=debian"])
    monkeypatch.setenv("PACKAGE", "mysql-server-core-8.0")
    monkeypatch.setenv("CANDIDATE", "8.0.43-0ubuntu0.24.04.2")
    (tmp_path / "mysql").mkdir()

    apt = fetch.own_apt(tmp_path / "mysql")

    assert not any("sourceparts" in word for word in apt)
    assert fetch.candidate(apt, tmp_path) == "mysql-server-core-8.0"


def test_a_version_that_was_never_run_on_is_refused_by_its_number(
    fetch: Any, said: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANDIDATE", "10.0.1-1")
    with pytest.raises(
        fetch.FetchError, match=r"offers mysql-server-core 10\.0\.1-1; .* 8\.0, 8\.4, 9 "
    ):
        fetch.candidate(["apt-get", "-q"], tmp_path)


@given(st.integers(5, 99), st.integers(0, 9), st.integers(0, 99))
def test_versions_are_told_apart_by_whole_numbers(major: int, minor: int, patch: int) -> None:
    known = load("fetch_mysql").wanted(f"{major}.{minor}.{patch}-1")
    assert known == ((major == 8 and minor in {0, 4}) or major == 9)


def test_an_installed_server_does_where_nothing_can_be_fetched_unless_it_is_mariadbs(
    fetch: Any, tmp_path: Path
) -> None:
    (tmp_path / "mysql").mkdir()
    program(tmp_path, "mysqld", "echo 'mysqld  Ver 10.11.6-MariaDB'")
    assert fetch.installed() is None
    program(tmp_path, "mysqld", "echo '/usr/sbin/mysqld  Ver 8.0.43 for Linux on x86_64'")
    command = fetch.installed()
    assert command == [str(tmp_path / "bin" / "mysqld"), "--no-defaults"]
    assert fetch.version_of(command) == "8.0.43"


def test_a_record_of_another_checkout_is_none(fetch: Any, tmp_path: Path) -> None:
    made = {"made_by": fetch.made_by(), "command": [str(SCRIPTS / "fetch_mysql.py")]}
    fetch.FOLDER.mkdir()
    fetch.RECORD.write_text(json.dumps(made))
    assert fetch.ready()
    fetch.ROOT = tmp_path / "elsewhere"
    assert not fetch.ready()


def test_the_server_that_was_fetched_runs_on_libraries_of_its_own() -> None:
    module = load("fetch_mysql")
    command = json.loads(module.RECORD.read_text())["command"]
    if len(command) == 2:  # one that is installed
        return
    loader, _, libraries, program = command[:4]
    listed = subprocess.run(
        [loader, "--library-path", libraries, "--list", program],
        check=True,
        capture_output=True,
        text=True,
    )
    found = [line.split(" => ")[1] for line in listed.stdout.splitlines() if " => " in line]
    assert len(found) > 10
    assert [place for place in found if not place.startswith(libraries)] == []
