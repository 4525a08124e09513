"""What broke a call, in one word."""

from __future__ import annotations

import aiohttp

from batch_core.adapters.http_addresses import AddressRefusedError
from batch_core.ports import LATE, Failure
from batch_core.retry import Setback


def explain(error: Exception, *, late: bool) -> Setback | Failure:
    """Name what broke a call; the most specific class comes first, as they inherit widely.

    Parameters
    ----------
    error
        From aiohttp or asyncio.
    late
        Whether the call's deadline was the run's own.
    """
    result: Setback | Failure = Setback("protocol")
    match error:
        case aiohttp.ConnectionTimeoutError():
            result = Setback("connect_timeout", unreached=True)
        case TimeoutError():
            result = LATE if late else Setback("timeout")
        case aiohttp.ClientConnectorDNSError():
            result = Setback("dns", unreached=True)
        case aiohttp.ClientSSLError():
            result = Setback("tls", again=False)
        case aiohttp.ClientConnectorError(os_error=AddressRefusedError()) | aiohttp.InvalidURL():
            result = Setback("address", again=False)
        case aiohttp.ClientConnectorError():
            result = Setback("connect", unreached=True)
        case aiohttp.ServerDisconnectedError() | OSError():
            result = Setback("disconnected")
        case aiohttp.ClientPayloadError():
            result = Setback("truncated")
    return result
