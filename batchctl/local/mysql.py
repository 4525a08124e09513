"""MySQL, which `scripts/fetch_mysql.py` puts below the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from batchctl.errors import BatchctlError
from batchctl.local.home import CHECKOUT, read_json
from batchctl.local.sql_server import SqlServer

if TYPE_CHECKING:
    from collections.abc import Sequence

_FETCH: Final = CHECKOUT / "scripts" / "fetch_mysql.py"
_RECORD: Final = CHECKOUT / ".local" / "mysql" / "server.json"


class MySql(SqlServer):
    """One MySQL; whoever can open its folder, where its socket is, is its administrator."""

    role = "mysql"
    title = "MySQL"

    @property
    def admin_user(self) -> str:
        return "root"

    def program(self) -> Sequence[str]:
        return [
            *FetchedMySql.find().command,
            "--mysqlx=OFF",
            "--skip-log-bin",
            "--secure-file-priv=",
        ]

    def fill(self, datadir: Path) -> None:
        # A server needs four seconds to make them; it was done once when MySQL was fetched.
        shutil.copytree(FetchedMySql.find().data, datadir)
        # Who reaches the socket in it is the administrator.
        datadir.chmod(0o700)


@dataclass(frozen=True)
class FetchedMySql:
    """What `scripts/fetch_mysql.py` wrote down.

    Parameters
    ----------
    version
        As the server tells it.
    command
        Starts it, whatever the machine's own libraries are.
    data
        The files of a server that was never started.
    """

    version: str
    command: tuple[str, ...]
    data: Path

    @classmethod
    def known(cls, record: Path = _RECORD) -> FetchedMySql | None:
        """Read what was written down; None when it was not fetched, or not into this folder."""
        found = read_json(record)
        if not found or not Path(found["command"][0]).exists():
            return None
        return cls(found["version"], tuple(found["command"]), Path(found["data"]))

    @classmethod
    def find(cls, record: Path = _RECORD, fetch: Path = _FETCH) -> FetchedMySql:
        """Read what was written down; fetch the server first if need be.

        Raises BatchctlError, with the reason, when it cannot be had.
        """
        if known := cls.known(record):
            return known
        # What it says meanwhile is for the person who waits, not for who reads standard output.
        fetched = subprocess.run(
            [sys.executable, fetch], check=False, stdout=2, stderr=subprocess.PIPE, text=True
        )
        known = cls.known(record)
        if known is None:
            raise BatchctlError(fetched.stderr.strip().removeprefix("setup: "))
        return known
