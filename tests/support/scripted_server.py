"""An HTTP server that answers exactly what a test wrote, byte by byte if need be.

It knows no HTTP beyond reading a request, so that it can also answer what no proper server would.
It runs in a thread of its own and listens on a free port of 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from ssl import SSLContext


@dataclass(frozen=True)
class Received:
    """A request as it came over the wire."""

    method: str
    target: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    connection: int  # counts connections, so that reuse can be told


@dataclass(frozen=True)
class Exchange:
    """One request, and the means to answer it."""

    request: Received
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def dribble(self, data: bytes, *, every: float) -> None:
        """Send one byte at a time until the client has had enough."""
        for byte in data:
            await self.send(bytes([byte]))
            await asyncio.sleep(every)

    async def hang(self) -> None:
        """Say nothing until the client closes the connection."""
        await self.reader.read()

    def reset(self) -> None:
        """End the connection the hard way."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


type Answer = Callable[[Exchange], Awaitable[None]]


def answer(status: int = 200, body: bytes = b"", **headers: str) -> Answer:
    """Answer properly; underscores in header names stand for hyphens."""
    length = b"" if status in {204, 304} else b"Content-Length: %d\r\n" % len(body)
    lines = b"".join(f"{k.replace('_', '-')}: {v}\r\n".encode() for k, v in headers.items())
    return raw(b"HTTP/1.1 %d Scripted\r\n%s%s\r\n%s" % (status, length, lines, body))


def raw(data: bytes) -> Answer:
    """Answer with these bytes."""

    async def send(exchange: Exchange) -> None:
        await exchange.send(data)

    return send


class ScriptedServer:
    """The server; use it as a context manager.

    Parameters
    ----------
    tls
        Serves HTTPS with it.
    greeting
        Said to every client before it has asked anything.
    """

    def __init__(self, tls: SSLContext | None = None, *, greeting: bytes = b"") -> None:
        self.received: list[Received] = []
        self.in_flight_peak = 0
        self.connections = 0
        self.otherwise: Answer = answer(404)  # for every path without a script
        self._tls = tls
        self._greeting = greeting
        self._scripts: dict[str, list[Answer]] = {}
        self._in_flight = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scripted-server")
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def on(self, path: str, *answers: Answer) -> None:
        """Answer a path: one answer after the other, the last for good."""
        self._scripts[path] = list(answers)

    def asked(self, path: str) -> list[Received]:
        """The requests received for a path."""
        return [r for r in self.received if r.target.partition("?")[0] == path]

    def drop_connections(self) -> None:
        """Close every connection, as a server does with those that were idle too long."""

        async def drop() -> None:
            await self._cancel_connections()

        asyncio.run_coroutine_threadsafe(drop(), self._loop).result(timeout=10)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(timeout=10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        # A client that gives up during a handshake is part of the tests, not an event to report.
        self._loop.set_exception_handler(lambda *_: None)
        server = await asyncio.start_server(
            self._connected,
            "127.0.0.1",
            0,
            ssl=self._tls,
            # Like most servers, say goodbye and do not wait for the client's.
            ssl_shutdown_timeout=0.01 if self._tls else None,
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        await self._cancel_connections()
        await server.wait_closed()

    async def _cancel_connections(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        number = self.connections
        try:
            writer.write(self._greeting)
            while request := await _read(reader, number):
                await self._reply(Exchange(request, reader, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _reply(self, exchange: Exchange) -> None:
        self.received.append(exchange.request)
        self._in_flight += 1
        self.in_flight_peak = max(self.in_flight_peak, self._in_flight)
        try:
            path = exchange.request.target.partition("?")[0]
            script = self._scripts.get(path, [self.otherwise])
            reply = script.pop(0) if len(script) > 1 else script[0]
            await reply(exchange)
        finally:
            self._in_flight -= 1


async def _read(reader: asyncio.StreamReader, connection: int) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, target, headers, body, connection)
