"""MariaDB, from the system's packages: the programs are used, the service is not."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from batchctl.errors import BatchctlError
from batchctl.local.sql_server import SqlServer, run_as, server_environment

if TYPE_CHECKING:
    from collections.abc import Sequence

INSTALL_HINT: Final = "sudo apt-get install mariadb-server-core mariadb-client-core"


class MariaDb(SqlServer):
    """One MariaDB; whoever started it is its administrator."""

    role = "mariadb"
    title = "MariaDB"

    @property
    def admin_user(self) -> str:
        return pwd.getpwuid(os.geteuid()).pw_name

    def program(self) -> Sequence[str]:
        return [
            MariaDbPrograms.find().server,
            "--no-defaults",
            "--collation-server=utf8mb4_unicode_520_ci",
        ]

    def fill(self, datadir: Path) -> None:
        command = [
            MariaDbPrograms.find().install,
            "--no-defaults",
            "--auth-root-authentication-method=socket",
            f"--auth-root-socket-user={self.admin_user}",
            "--skip-test-db",
            "--skip-name-resolve",
            *run_as(),
        ]
        # Two that are made at the same time would take the same names in a folder that they share.
        environment = {**server_environment(), "TMPDIR": str(self.folder)}
        datadir.mkdir(parents=True, exist_ok=True)
        # The program is a shell script, to which a path with blanks is several.
        with TemporaryDirectory() as plain:
            link = Path(plain) / "data"
            link.symlink_to(datadir.resolve())
            made = subprocess.run(
                [*command, f"--datadir={link}"],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
        if made.returncode != 0:
            raise BatchctlError(
                f"mariadb-install-db could not create {datadir} (exit status {made.returncode}): "
                f"{(made.stderr or made.stdout).strip()[-1500:]}"
            )


@dataclass(frozen=True)
class MariaDbPrograms:
    """The programs of Debian's MariaDB that are used."""

    server: str
    install: str

    @classmethod
    def find(cls, path: str | None = None) -> MariaDbPrograms:
        """Find the programs on PATH or where Debian puts them.

        Raises BatchctlError, with the command that installs them, when they are absent.
        """
        # A person's PATH often lacks the sbin folders, where Debian puts the server.
        if path is None:
            path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
        server, install = _program("mariadbd", path), _program("mariadb-install-db", path)
        # mariadb-install-db looks for it, and complains at length when it is not there.
        _program("my_print_defaults", path)
        return cls(server, install)


def _program(name: str, path: str) -> str:
    found = shutil.which(name, path=path)
    if found is None:
        raise BatchctlError(
            f"MariaDB is not installed: the program {name} is neither on PATH nor in /usr/sbin. "
            f"`make setup` installs it, and so does: {INSTALL_HINT}"
        )
    return found
