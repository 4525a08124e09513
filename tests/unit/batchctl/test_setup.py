"""scripts/setup.py, the first program that ever runs in a checkout."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batchctl.local.home import CHECKOUT
from tests.support.scripts import load

if TYPE_CHECKING:
    pass

SCRIPT = CHECKOUT / "scripts" / "setup.py"


@pytest.fixture
def setup() -> Any:
    return load("setup")


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_it_is_written_in_a_python_that_old_machines_have() -> None:
    ast.parse(SCRIPT.read_text(), feature_version=(3, 8))


def test_a_shim_that_fails_is_passed_over_for_an_interpreter_that_runs(
    setup: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "shims" / "python3.13", "#!/bin/sh\nexit 127\n")
    real = tmp_path / "real" / "python3.13"
    real.parent.mkdir()
    real.symlink_to(sys.executable)
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}:{tmp_path / 'real'}")
    assert setup.find_python() == (real, "on PATH")


def test_an_interpreter_of_another_version_is_passed_over(
    setup: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "python3", "#!/bin/sh\nexit 1\n")
    versions = tmp_path / "pyenv" / "versions"
    (versions / "3.13.9" / "bin").mkdir(parents=True)
    of_pyenv = versions / "3.13.9" / "bin" / "python3.13"
    of_pyenv.symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert setup.find_python() == (of_pyenv, "of pyenv")


def test_uv_is_asked_for_an_interpreter_when_none_is_found(
    setup: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setattr(setup, "LOCAL", tmp_path)
    monkeypatch.setattr(setup, "PAUSES_S", ())
    uv = program(tmp_path / "uv", "#!/bin/sh\nexit 2\n")
    monkeypatch.setattr(setup, "ensure_uv", lambda: [uv])
    with pytest.raises(setup.SetupError, match=r"Python 3\.13 is neither .*pyenv install 3\.13"):
        setup.find_python()


def test_mariadb_is_asked_for_by_the_exact_command_when_nobody_may_install_it(
    setup: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "apt-get", "#!/bin/sh\nexit 1\n")
    program(
        tmp_path / "apt-cache",
        '#!/bin/sh\n[ "$2" = mariadb-server ] && echo "Package: mariadb-server"\n',
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr(setup, "administrator", lambda: None)
    with pytest.raises(
        setup.SetupError, match=r"sudo apt-get install --no-install-recommends mariadb-server\n"
    ):
        setup.install_packages("MariaDB", setup.MARIADB_PACKAGES)


def test_a_machine_without_apt_is_told_what_is_missing(
    setup: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(setup.SetupError, match=r"MariaDB is missing .* no apt-get"):
        setup.install_packages("MariaDB", setup.MARIADB_PACKAGES)


def test_the_programs_alone_are_installed_without_a_question(
    setup: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "said"
    program(tmp_path / "apt-get", f'#!/bin/sh\necho "$DEBIAN_FRONTEND $@" >> {said}\n')
    program(tmp_path / "apt-cache", '#!/bin/sh\necho "Package: $2"\n')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(setup, "administrator", list)
    setup.install_packages("MariaDB", setup.MARIADB_PACKAGES)
    update, install = said.read_text().splitlines()
    assert update.endswith("update")
    assert install.startswith("noninteractive ")
    assert install.endswith(
        "install --yes --no-install-recommends mariadb-server-core mariadb-client-core"
    )


def test_a_step_that_was_interrupted_is_done_again(setup: Any, tmp_path: Path) -> None:
    setup.write_stamp(tmp_path, "digest")
    assert setup.stamp(tmp_path) == "digest"
    setup.remove_stamps(tmp_path)
    assert setup.stamp(tmp_path) is None


def test_a_checkout_that_was_moved_is_set_up_again(
    setup: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "dev.txt"
    lock.write_text("uv==1\n")
    before = setup.key(lock)
    assert setup.key(lock) == before
    monkeypatch.setattr(setup, "ROOT", tmp_path / "elsewhere")
    assert setup.key(lock) != before


def test_uv_learns_the_index_and_the_authorities_that_pip_was_told(
    setup: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = https://index.example/simple\n")
    for name in ("PIP_INDEX_URL", "SSL_CERT_FILE", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_CERT", "/company.pem")
    environment = setup.uv_environment()
    assert environment["UV_DEFAULT_INDEX"] == "https://index.example/simple"
    assert environment["SSL_CERT_FILE"] == "/company.pem"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://own.example/simple")
    assert setup.uv_environment()["UV_DEFAULT_INDEX"] == "https://own.example/simple"


@pytest.mark.parametrize(
    "lock",
    [
        "requirements/dev.txt",
        "requirements/client.txt",
        "requirements/ministack.txt",
        "layers/batch_core/requirements.txt",
        "layers/batch_core/requirements_libcurl.txt",
    ],
)
def test_the_locks_name_no_place_and_hash_everything(lock: str) -> None:
    text = (CHECKOUT / lock).read_text()
    assert "://" not in text
    assert "file:" not in text
    assert not [line for line in text.splitlines() if line.startswith("-")]
    entries = [entry for entry in text.split("\n") if "==" in entry]
    assert entries
    assert all(entry.endswith(" \\") for entry in entries)


def versions(lock: str) -> dict[str, str]:
    return dict(re.findall(r"(?m)^(\S+)==(\S+)", (CHECKOUT / lock).read_text()))


def test_the_layer_runs_the_versions_that_the_tests_run() -> None:
    deployed = versions("layers/batch_core/requirements.txt")
    deployed |= versions("layers/batch_core/requirements_libcurl.txt")
    assert deployed.items() <= versions("requirements/dev.txt").items()
    assert not {"boto3", "botocore"} & deployed.keys()


def test_a_browser_is_installed_for_the_tests_alone_and_only_if_there_is_none(
    setup: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[str] = []
    monkeypatch.setattr(setup, "install_packages", lambda what, choices: installed.append(what))
    for step in ("mariadb", "environments", "jsonata", "gates", "mysql"):
        monkeypatch.setattr(setup, f"ensure_{step}", lambda: False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert setup.main([]) == 0
    assert installed == []
    assert setup.main(["--tests"]) == 0
    assert installed == ["Chromium"]
    program(tmp_path / "google-chrome", "#!/bin/sh\n")
    assert setup.main(["--tests"]) == 0
    assert installed == ["Chromium"]


# --- what looks after tenants on AWS --------------------------------------------------------------


def test_the_client_is_a_small_part_of_what_the_tests_run_with() -> None:
    client, whole = versions("requirements/client.txt"), versions("requirements/dev.txt")
    assert client.items() <= whole.items()
    assert len(client) < len(whole) / 2
    assert not {"aws-sam-cli", "matplotlib", "moto", "mypy", "pytest", "pycurl"} & client.keys()


def test_the_client_needs_no_step_but_its_own(setup: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in ("mariadb", "environments", "jsonata", "gates", "browser"):
        monkeypatch.setattr(setup, f"ensure_{step}", lambda: pytest.fail("not the client's"))
    given: list[object] = []
    monkeypatch.setattr(setup, "ensure_client", given.append)
    assert setup.main(["--client"]) == 0
    assert setup.main(["--client", "--wheels", "/package/client"]) == 0
    assert given == [None, "/package/client"]


ONLY_THE_CLIENT = """
import importlib.metadata, re, sys
def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()
locked = {plain(line.split("==")[0]) for line in open(sys.argv[1]) if re.match(r"[\\w.-]+==", line)}
there = importlib.metadata.packages_distributions()
class Refuse:
    @staticmethod
    def find_spec(name, path=None, target=None):
        owners = {plain(each) for each in there.get(name.partition(".")[0], [])}
        if owners and not owners & (locked | {"express-batch"}):
            raise ModuleNotFoundError(f"the client has no {name}", name=name)
sys.meta_path.insert(0, Refuse)
import batchctl.__main__, batchctl.report.page
batchctl.__main__.build_app()(sys.argv[2:])
"""


def test_the_commands_need_no_package_but_the_clients_until_they_start_a_local_cloud() -> None:
    lock = CHECKOUT / "requirements" / "client.txt"
    said = subprocess.run(
        [sys.executable, "-c", ONLY_THE_CLIENT, lock, "doctor", "--help"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr
    assert "Usage" in said.stdout


@pytest.mark.parametrize(("failures", "status"), [(0, 0), (3, 0), (4, 75)])
def test_a_mirror_that_fails_is_asked_again_and_then_told_from_every_other_failure(
    setup: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failures: int,
    status: int,
) -> None:
    asked = tmp_path / "asked"
    mirror = program(
        tmp_path / "mirror",
        f"#!/bin/sh\necho . >> {asked}\n[ $(wc -l < {asked}) -gt {failures} ]\n",
    )
    pauses: list[float] = []
    monkeypatch.setattr(setup.time, "sleep", pauses.append)
    monkeypatch.setattr(
        setup, "ensure_client", lambda _: setup.fetch([mirror, "numpy"], dict(os.environ))
    )
    assert setup.main(["--client"]) == status
    assert pauses == [5, 15, 45][:failures]
    assert ("nothing was done yet" in capsys.readouterr().err) is (status == 75)


def test_wheels_of_a_folder_are_taken_without_asking_any_network(
    setup: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    for name in ("run", "fetch"):
        monkeypatch.setattr(
            setup, name, lambda words, *_, **__: ran.append(" ".join(map(str, words)))
        )
    for name in ("VENV", "TOOLS"):
        monkeypatch.setattr(setup, name, tmp_path / name)
        (tmp_path / name).mkdir()
    setup.ensure_client("/package/client")
    fetching = [words for words in ran if " install " in words or " sync " in words]
    assert len(fetching) == 3
    for words in fetching:
        assert "--no-index --find-links /package/client" in words or "--no-deps" in words
    assert "--require-hashes" in fetching[1]


def test_an_environment_that_was_made_whole_stays_whole(
    setup: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "VENV", tmp_path)
    made: list[Path] = []
    monkeypatch.setattr(setup, "ensure_environment", lambda _, lock, *__: made.append(lock))
    monkeypatch.setattr(setup, "ensure_project", lambda anew: True)
    setup.ensure_client(None)
    program(tmp_path / "bin" / "sam", "#!/bin/sh\n")
    setup.ensure_client(None)
    assert made == [setup.CLIENT_LOCK, setup.DEV_LOCK]


def test_a_demo_does_not_wait_for_the_gates(setup: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    for step in ("mariadb", "environments", "jsonata", "gates", "mysql", "browser"):
        monkeypatch.setattr(setup, f"ensure_{step}", lambda step=step: made.append(step))
    assert setup.main([]) == 0
    assert made == ["mariadb", "environments", "jsonata"]
    assert setup.main(["--gates"]) == 0
    assert made[-1] == "gates"
    assert setup.main(["--mysql"]) == 0
    assert made[-1] == "mysql"
    assert setup.main(["--tests"]) == 0
    assert made[-3:] == ["gates", "mysql", "browser"]


@pytest.mark.parametrize("status", [1, 75])
def test_a_mysql_that_was_not_fetched_ends_the_setup_as_its_program_ended(
    setup: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    fetch = program(tmp_path / "fetch.py", f"raise SystemExit({status})")
    monkeypatch.setattr(setup, "FETCH_MYSQL", fetch)
    monkeypatch.setattr(setup, "steps_of", lambda _: [setup.ensure_mysql])
    assert setup.main(["--mysql"]) == status
