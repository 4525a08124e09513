"""Programs the sample API from a test or a command."""

from __future__ import annotations

import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

# The server is on this machine, whatever proxy the environment names.
_opener = build_opener(ProxyHandler({}))


class SampleApiAdmin:
    """The admin routes of one tenant.

    Parameters
    ----------
    base_url
        Where the server listens, such as ``http://127.0.0.1:8080``.
    tenant
        Whose behaviour is programmed.
    """

    def __init__(self, base_url: str, tenant: str) -> None:
        self._url = f"{base_url}/_admin/{tenant}"

    def reset(self) -> None:
        """Forget settings, scripts and counts."""
        self._send("POST", "reset", {})

    def settings(self, **values: float | str) -> None:
        """Change settings; see :class:`sampleapi.behaviour.Settings`."""
        self._send("PUT", "settings", values)

    def script(self, answers: dict[str, list[dict[str, Any]]]) -> None:
        """Prescribe the next answers of some accounts."""
        self._send("POST", "scripts", answers)

    def touch(self, *accounts: str) -> None:
        """Let some users do something new."""
        self._send("POST", "touch", {"accounts": accounts})

    def revisions(self) -> dict[str, int]:
        """Return how often each touched user did something new."""
        return self._send("GET", "revisions")

    def stats(self, *, per_user: bool = False) -> dict[str, Any]:
        """Return what was counted since the last reset."""
        return self._send("GET", "stats?per_user" if per_user else "stats")

    def _send(self, method: str, action: str, value: Any = None) -> dict[str, Any]:
        data = None if value is None else json.dumps(value).encode()
        request = Request(f"{self._url}/{action}", data=data, method=method)  # noqa: S310
        try:
            with _opener.open(request, timeout=30) as response:
                answer: dict[str, Any] = json.loads(response.read())
        except HTTPError as error:
            with error:
                raise ValueError(json.loads(error.read())["error"]) from error
        return answer
