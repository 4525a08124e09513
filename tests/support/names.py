"""What names resolve to for the HTTP client, and where it would connect."""

from __future__ import annotations

from typing import Any, Final

import pycurl
import pytest

from batch_core.adapters import http_transfer

# No label has so many letters, so nobody is asked about it.
_UNKNOWN: Final = "a" * 64


def resolve_all(
    monkeypatch: pytest.MonkeyPatch, *addresses: str, port: int, failures: int = 0
) -> None:
    """Let every name resolve to these addresses, and the first few times to nothing."""

    class Programmed(pycurl.Curl):
        def __init__(self) -> None:
            known = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
            super().setopt(pycurl.RESOLVE, [f"*:{port}:{known}"])

        def setopt(self, option: int, value: Any, **options: Any) -> None:
            nonlocal failures
            if option == pycurl.URL and failures > 0:
                failures -= 1
                value = f"http://{_UNKNOWN}"
            super().setopt(option, value, **options)

    monkeypatch.setattr(pycurl, "Curl", Programmed)


def resolve_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no name resolve."""
    resolve_all(monkeypatch, "127.0.0.1", port=1, failures=1_000_000)


def connections(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep the client from connecting; returns the list of addresses that it would connect to."""
    wanted: list[str] = []
    made = http_transfer.Transfer.open_socket

    def note(self: http_transfer.Transfer, purpose: int, address: Any) -> Any:
        found = made(self, purpose, address)
        if found != pycurl.SOCKET_BAD:
            wanted.append(address.addr[0])
        return pycurl.SOCKET_BAD

    monkeypatch.setattr(http_transfer.Transfer, "open_socket", note)
    return wanted
