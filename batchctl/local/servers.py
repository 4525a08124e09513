"""The two HTTP servers of the local cloud: MiniStack, which plays AWS, and the sample API."""

from __future__ import annotations

import os
import shutil
import ssl
import sys
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from batchctl.errors import BatchctlError
from batchctl.local import ports, processes
from batchctl.local.home import CHECKOUT
from batchctl.local.tls import ensure_server_tls

if TYPE_CHECKING:
    from pathlib import Path

    from batchctl.local.processes import ProcessId

HOST: Final = "127.0.0.1"
REGION: Final = "ap-northeast-1"

_START_DEADLINE_S: Final = 60.0
_STOP_GRACE_S: Final = 10.0
# A worker idle this long is ended; the default, 300 s, makes a later run pay every start again.
_WARM_S: Final = 3600

# Nothing of this machine's AWS profile, proxies or Python settings may reach MiniStack, which hands
# its environment on to the functions.
_PASSED_ON: Final = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TZ", "USER")


@dataclass
class HttpServer(ABC):
    """A server process that is healthy when it answers a path with status 200."""

    home: Path
    role: str
    title: str
    health_path: str
    port: int = 0
    port_is_fixed: bool = False
    identity: ProcessId | None = field(default=None)

    @property
    def ca_file(self) -> Path | None:
        """The authority that its certificate is verified with; None when it speaks plain http."""
        return None

    @property
    def url(self) -> str:
        """Where the server is found."""
        return f"{'http' if self.ca_file is None else 'https'}://{HOST}:{self.port}"

    @property
    def log(self) -> Path:
        """What the server printed."""
        return self.home / "logs" / f"{self.role}.log"

    @abstractmethod
    def command(self) -> list[str | Path]:
        """Return the command that starts the server on `port`."""

    def environment(self) -> dict[str, str]:
        """Return the server's whole environment."""
        return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}

    def start(self) -> None:
        """Start the server, whatever is left of an earlier one, and return once it is healthy.

        Raises BatchctlError when a port that was asked for is taken or when it does not come up.
        """
        self.stop()
        self._choose_port()
        process = processes.spawn(
            self.home, self.role, self.command(), env=self.environment(), log=self.log
        )
        self.identity = process
        processes.wait_for(
            lambda: self._healthy() or not process.alive(), deadline_s=_START_DEADLINE_S
        )
        if not self.answers():
            self.stop()
            raise BatchctlError(
                f"{self.title[0].upper()}{self.title[1:]} did not answer at "
                f"{self.url}{self.health_path} within {_START_DEADLINE_S:.0f} seconds."
                f"{processes.tail(self.log)}"
            )

    def stop(self) -> None:
        """End the server and its children; it does not matter whether it runs."""
        processes.stop(self.home, self.role, grace_s=_STOP_GRACE_S)
        self.identity = None

    def answers(self) -> bool:
        """Return whether this very process lives and is healthy."""
        return self.identity is not None and self.identity.alive() and self._healthy()

    def _healthy(self) -> bool:
        # Straight to the server, whatever proxy the machine is set to.
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self.ca_file is not None:
            context = ssl.create_default_context(cafile=self.ca_file)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        opener = urllib.request.build_opener(*handlers)
        try:
            with opener.open(self.url + self.health_path, timeout=5) as response:
                return bool(response.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def _choose_port(self) -> None:
        if self.port_is_fixed:
            if not ports.is_free(self.port):
                raise BatchctlError(
                    f"Port {self.port} of {HOST}, asked for {self.title}, is taken by another "
                    "program. Give another port, or none to have a free one chosen."
                )
        elif not self.port or not ports.is_free(self.port):
            self.port = ports.free_port()


class MiniStack(HttpServer):
    """The AWS emulator; its workers, which run the functions, are its children.

    When it enforces IAM it speaks TLS only: the policies of the buckets refuse everything else.
    """

    def __init__(
        self,
        home: Path,
        port: int = 0,
        *,
        port_is_fixed: bool = False,
        enforces_iam: bool = False,
    ) -> None:
        super().__init__(home, "ministack", "MiniStack", "/_ministack/ready", port, port_is_fixed)
        self._tls = ensure_server_tls(home / "ministack" / "tls") if enforces_iam else None

    @property
    def ca_file(self) -> Path | None:
        return self._tls.ca if self._tls is not None else None

    def command(self) -> list[str | Path]:
        return [CHECKOUT / ".local" / "ministack-venv" / "bin" / "python", "-m", "ministack"]

    def environment(self) -> dict[str, str]:
        home = self.home / "ministack"
        scratch = self.home / "tmp"
        enforcing = {}
        if self._tls is not None:
            enforcing = {
                "AUTH": "true",
                "USE_SSL": "1",
                "MINISTACK_SSL_CERT": str(self._tls.certificate),
                "MINISTACK_SSL_KEY": str(self._tls.key),
                "AWS_CA_BUNDLE": str(self._tls.ca),  # the functions inherit it
            }
        return {
            **super().environment(),
            **enforcing,
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": HOST,
            "MINISTACK_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "HOME": str(home),
            "TMPDIR": str(scratch),
            "STATE_DIR": str(home / "state"),
            "S3_DATA_DIR": str(home / "s3"),
            "PERSIST_STATE": "0",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LAMBDA_EXECUTOR": "local",
            "LAMBDA_WARM_TTL_SECONDS": str(_WARM_S),
            "LOG_LEVEL": os.environ.get("BATCHCTL_LOG_LEVEL", "INFO"),
            "PYTHONUNBUFFERED": "1",
        }

    def start(self) -> None:
        python = self.command()[0]
        if shutil.which(python) is None:
            raise BatchctlError(f"MiniStack is not installed ({python} is absent). Run: make setup")
        scratch = self.home / "tmp"
        self.stop()
        # The workers unpack their code and layers here; killed ones leave it behind.
        shutil.rmtree(scratch, ignore_errors=True)
        for folder in (scratch, self.home / "ministack"):
            folder.mkdir(parents=True, exist_ok=True)
        super().start()


class SampleApi(HttpServer):
    """The outside API that the batch calls."""

    def __init__(self, home: Path, port: int = 0, *, port_is_fixed: bool = False) -> None:
        super().__init__(home, "sampleapi", "the sample API", "/healthz", port, port_is_fixed)

    def command(self) -> list[str | Path]:
        return [sys.executable, "-m", "sampleapi", "--host", HOST, "--port", str(self.port)]
