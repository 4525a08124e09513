"""Which addresses the API may have.

The check sits where a socket is made for one resolved address: whatever the URL said, however the
name was written and however often it is resolved, nothing else can be connected to.
https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

# Routers translate it to the IPv4 address in its last four bytes (RFC 6052).
_NAT64: Final = IPv6Network("64:ff9b::/96")


def is_allowed(address: str, *, allow_private: bool) -> bool:
    """Whether the API may be at this address.

    Link-local addresses are never allowed: they hold the machine's own credentials service.
    """
    plain = _embedded(ip_address(address.partition("%")[0]))
    if plain.is_link_local or plain.is_multicast or plain.is_unspecified:
        return False
    return plain.is_global or allow_private


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or address
