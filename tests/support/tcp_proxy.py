"""A proxy in front of a database, through which a test decides what the network does.

It ends the client's TLS with the server's own certificate and speaks TLS to the server, so that
both sides run as they are deployed while the proxy reads what passes, such as a COMMIT.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from asyncio import StreamReader, StreamReaderProtocol, StreamWriter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Final, Self

from batchctl.local.sql_server import SqlServer
from batchctl.local.tls import ensure_server_tls

COMMIT: Final = b"\x03COMMIT"
_CHUNK: Final = 65_536
_TIMEOUT: Final = 30

type _Streams = tuple[StreamReader, StreamWriter]


@dataclass(frozen=True, eq=False)
class _Trap:
    """What happens once, at the first packet of a client that holds the marker."""

    marker: bytes
    action: Callable[[], object]
    answered: bool  # only when the server has acted on the packet


class MySqlProxy:
    """Listens on a free port of 127.0.0.1 while its context lasts.

    Parameters
    ----------
    server
        Where new connections lead; :meth:`lead_to` changes it.
    """

    def __init__(self, server: SqlServer) -> None:
        self.port = 0
        self.connections = 0
        self.sprung = 0
        self._server = server
        tls = ensure_server_tls(server.home / "tls")
        self._to_clients = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._to_clients.load_cert_chain(tls.certificate, tls.key)
        self._to_server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # A proxy that may lead to any server of the test trusts them all.
        self._to_server.check_hostname = False
        self._to_server.verify_mode = ssl.CERT_NONE
        self._delay = 0.0
        self._traps: list[_Trap] = []
        self._failures: list[Exception] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._speaking = asyncio.Event()
        self._speaking.set()
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._relays: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self.accept()
        return self

    def __exit__(self, *exc: object) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if self._failures:
            raise self._failures[0]

    def lead_to(self, server: SqlServer) -> None:
        """Lead new connections to another server, as a failover does."""
        self._server = server

    def cut(self) -> None:
        """Break all connections off."""
        self._run(self._cut())

    def refuse(self) -> None:
        """Take no new connections."""
        self._run(self._refuse())

    def accept(self) -> None:
        """Take connections, again if need be."""
        self._run(self._accept())

    def hush(self) -> None:
        """Pass nothing on, in either direction; connections are still taken."""
        self._loop.call_soon_threadsafe(self._speaking.clear)

    def speak(self) -> None:
        """Pass everything on again."""
        self._loop.call_soon_threadsafe(self._speaking.set)

    def delay(self, seconds: float) -> None:
        """Pass everything on so much later."""
        self._delay = seconds

    def before(self, marker: bytes, action: Callable[[], object]) -> None:
        """Act once, before a packet of a client that holds the marker reaches the server."""
        self._traps.append(_Trap(marker, action, answered=False))

    def after(self, marker: bytes, action: Callable[[], object]) -> None:
        """Act once, when the server has answered such a packet and the client does not know."""
        self._traps.append(_Trap(marker, action, answered=True))

    def _run[T](self, work: Coroutine[None, None, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_TIMEOUT)

    async def _accept(self) -> None:
        assert self._listener is None
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._accepting = asyncio.create_task(self._take(self._listener))

    async def _take(self, listener: socket.socket) -> None:
        while True:
            client, _ = await self._loop.sock_accept(listener)
            self.connections += 1
            relay = asyncio.create_task(self._relay(client))
            self._relays.add(relay)
            relay.add_done_callback(self._relays.discard)

    async def _refuse(self) -> None:
        if self._accepting is not None and self._listener is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
            self._listener.close()
            self._listener = None

    async def _cut(self) -> None:
        relays = list(self._relays)
        for relay in relays:
            relay.cancel()
        if relays:
            await asyncio.wait(relays)

    async def _stop(self) -> None:
        await self._refuse()
        await self._cut()
        await self._loop.shutdown_default_executor()

    async def _relay(self, client: socket.socket) -> None:
        """Connect a client with the server until either of them, or the test, ends it."""
        server = socket.socket()
        writers: list[StreamWriter] = []
        try:
            await self._greet(client, server)
            of_client = await _secure_client(client, self._to_clients)
            writers.append(of_client[1])
            of_server = await asyncio.open_connection(
                sock=server, ssl=self._to_server, server_hostname=self._server.host
            )
            writers.append(of_server[1])
            await self._pump_both(of_client, of_server)
        except (OSError, EOFError):
            pass  # one of them has gone; the other one is told below
        finally:
            for writer in writers:
                writer.transport.abort()
            client.close()
            server.close()

    async def _greet(self, client: socket.socket, server: socket.socket) -> None:
        """Pass the server's greeting and the client's wish for TLS on, which are plain text."""
        await self._speaking.wait()
        client.setblocking(False)
        server.setblocking(False)
        await self._loop.sock_connect(server, (self._server.host, self._server.port))
        await self._loop.sock_sendall(client, await self._packet(server))
        await self._loop.sock_sendall(server, await self._packet(client))

    async def _packet(self, source: socket.socket) -> bytes:
        """Read one packet and not a byte more: what follows may be TLS already.

        https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html
        """
        header = await self._exactly(source, 4)
        return header + await self._exactly(source, int.from_bytes(header[:3], "little"))

    async def _exactly(self, source: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = await self._loop.sock_recv(source, size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    async def _pump_both(self, client: _Streams, server: _Streams) -> None:
        waiting: list[_Trap] = []
        pumps = [
            asyncio.create_task(self._requests(client[0], server[1], waiting)),
            asyncio.create_task(self._answers(server[0], client[1], waiting)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _requests(
        self, client: StreamReader, server: StreamWriter, waiting: list[_Trap]
    ) -> None:
        while data := await client.read(_CHUNK):
            for trap in [trap for trap in self._traps if trap.marker in data]:
                self._traps.remove(trap)
                if trap.answered:
                    waiting.append(trap)
                else:
                    await self._spring(trap)
            await self._pass_on(server, data)

    async def _answers(
        self, server: StreamReader, client: StreamWriter, waiting: list[_Trap]
    ) -> None:
        while data := await server.read(_CHUNK):
            while waiting:
                await self._spring(waiting.pop())
            await self._pass_on(client, data)

    async def _spring(self, trap: _Trap) -> None:
        self.sprung += 1
        # In a thread, since it may well talk to this proxy, or wait for a server.
        try:
            await asyncio.to_thread(trap.action)
        except Exception as error:  # noqa: BLE001  the test hears of it at the end
            self._failures.append(error)

    async def _pass_on(self, to: StreamWriter, data: bytes) -> None:
        await asyncio.sleep(self._delay)
        await self._speaking.wait()
        to.write(data)
        await to.drain()


async def _secure_client(client: socket.socket, context: ssl.SSLContext) -> _Streams:
    """What `asyncio.open_connection` does, for the server's end."""
    loop = asyncio.get_running_loop()
    reader = StreamReader(loop=loop)
    protocol = StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, client, ssl=context)
    return reader, StreamWriter(transport, protocol, reader, loop)
