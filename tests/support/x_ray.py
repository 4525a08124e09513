"""The daemon's end of X-Ray: keeps what functions send to it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any, Final, Self

import pytest

from batch_core import tracing

# https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html
DOCUMENT_BYTES: Final = 64 * 1024
TRACE: Final = "1-5759e988-bd862e3fe1be46a994272793"
SEGMENT: Final = "53995c3f42cd8ad8"
HEADER: Final = f"Root={TRACE};Parent={SEGMENT};Sampled=1"


class Collector:
    """Listens where the daemon would, on a free port."""

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        # A datagram has arrived when its sender goes on; none is waited for.
        self._socket.setblocking(False)
        self.datagrams: list[bytes] = []
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def address(self) -> str:
        """What AWS_XRAY_DAEMON_ADDRESS says of it."""
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def documents(self) -> list[dict[str, Any]]:
        """Everything received since the last time."""
        fresh: list[bytes] = []
        while True:
            try:
                fresh.append(self._socket.recv(1 << 17))
            except BlockingIOError:
                break
        self.datagrams += fresh
        return [document(datagram) for datagram in fresh]


def document(datagram: bytes) -> dict[str, Any]:
    """Read what a datagram carries.

    https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html#xray-api-daemon
    """
    header, _, body = datagram.partition(b"\n")
    assert json.loads(header) == {"format": "json", "version": 1}
    read: dict[str, Any] = json.loads(body)
    return read


@pytest.fixture
def x_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Let the functions' traces be recorded."""
    with Collector() as collector:
        monkeypatch.setenv("LAMBDA_TASK_ROOT", "/var/task")
        monkeypatch.setenv("AWS_XRAY_DAEMON_ADDRESS", collector.address)
        monkeypatch.setenv("_X_AMZN_TRACE_ID", HEADER)
        tracing._sdk.cache_clear()
        yield collector
        from aws_xray_sdk.core import xray_recorder

        # The second is the SDK's own, which nothing is sent with.
        for emitter in (tracing._sdk()[2].__self__, xray_recorder.emitter):
            emitter._socket.close()
        tracing._sdk.cache_clear()
