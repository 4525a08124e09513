"""Which addresses the API may have.

The check sits where a socket is made for one resolved address: whatever the URL said, however the
name was written and however often it is resolved, nothing else can be connected to.
https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aiohttp import AddrInfoType

# Routers translate it to the IPv4 address in its last four bytes (RFC 6052).
_NAT64: Final = IPv6Network("64:ff9b::/96")


class AddressRefusedError(OSError):
    """The API's name leads to an address that it must not have.

    The text is always the same: of several failures with one text asyncio's helpers keep the class.
    """

    def __init__(self) -> None:
        super().__init__("the API's name leads to an address that is not allowed")


def is_allowed(address: str, *, allow_private: bool) -> bool:
    """Whether the API may be at this address.

    Link-local addresses are never allowed: they hold the machine's own credentials service.
    """
    plain = _embedded(ip_address(address.partition("%")[0]))
    if plain.is_link_local or plain.is_multicast or plain.is_unspecified:
        return False
    return plain.is_global or allow_private


def public_socket(info: AddrInfoType) -> socket.socket:
    """Make the socket for a resolved address of the public internet.

    Raises
    ------
    AddressRefusedError
        For any other address.
    """
    return _socket(info, allow_private=False)


def any_socket(info: AddrInfoType) -> socket.socket:
    """Make the socket for a resolved address, private networks included.

    Raises
    ------
    AddressRefusedError
        For addresses that no API has.
    """
    return _socket(info, allow_private=True)


def _socket(info: AddrInfoType, *, allow_private: bool) -> socket.socket:
    family, kind, protocol, _, where = info
    if not is_allowed(str(where[0]), allow_private=allow_private):
        raise AddressRefusedError
    return socket.socket(family, kind, protocol)


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or address
