"""One call of the API at a time over one handle of libcurl.

Whatever could send a request elsewhere, or more often than it may be, is switched off here.
https://curl.se/libcurl/c/curl_easy_setopt.html
"""

from __future__ import annotations

import socket
import ssl
from functools import cache
from math import ceil
from typing import TYPE_CHECKING, Any, Final

import pycurl

from batch_core.adapters.http_addresses import is_allowed
from batch_core.limits import API_BODY_BYTES

if TYPE_CHECKING:
    from batch_core.api_rules import Call

# Name, connection and TLS together. A server that does not take a connection in this time will
# hardly answer in the rest.
CONNECT_SECONDS: Final = 3.0
# Those that come with a body, if only an empty one.
_BODIED: Final = frozenset({"POST", "PUT", "PATCH"})


@cache
def _authorities() -> ssl.DefaultVerifyPaths:
    """Where the system keeps the authorities that it trusts."""
    return ssl.get_default_verify_paths()


class Transfer:
    """A handle that is used for one call after the other.

    Parameters
    ----------
    allow_private
        Whether the API may be on a private network.
    ca_file
        The authorities to trust, in PEM; None trusts the system's.
    """

    def __init__(self, *, allow_private: bool, ca_file: str | None) -> None:
        self.sent = False
        """Whether the last call was sent."""
        self._allow_private = allow_private
        self._refused = self._opened = 0
        self._lines: list[bytes] = []
        self._parts: list[bytes] = []
        self.curl = pycurl.Curl()
        authorities = _authorities()
        options: dict[int, Any] = {
            # Threads and signals do not mix.
            pycurl.NOSIGNAL: 1,
            # Whatever proxy the environment names.
            pycurl.PROXY: "",
            pycurl.FOLLOWLOCATION: 0,
            pycurl.SSL_VERIFYPEER: 1,
            pycurl.SSL_VERIFYHOST: 2,
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
            # The path is quoted, and known to stay below the base URL: it is sent as it is.
            pycurl.PATH_AS_IS: 1,
            pycurl.CONNECTTIMEOUT_MS: round(CONNECT_SECONDS * 1000),
            pycurl.CAINFO: ca_file or authorities.cafile,
            pycurl.CAPATH: None if ca_file or authorities.cafile else authorities.capath,
            pycurl.OPENSOCKETFUNCTION: self.open_socket,
            pycurl.PREREQFUNCTION: self._send,
            pycurl.HEADERFUNCTION: self._lines.append,
            pycurl.WRITEFUNCTION: self._parts.append,
        }
        for option, value in options.items():
            if value is None:
                self.curl.unsetopt(option)
            else:
                self.curl.setopt(option, value)

    def prepare(self, call: Call, *, seconds: float, fresh: bool) -> None:
        """Get ready to make a call.

        Parameters
        ----------
        call
            The call.
        seconds
            Within which it is to end.
        fresh
            Whether it needs a connection of its own: one that was kept may be closed by the API
            while the request is on its way, and nobody can tell then whether it was read.
        """
        self.sent = False
        self._refused = self._opened = 0
        self.curl.setopt(pycurl.FRESH_CONNECT, fresh)
        self.curl.setopt(pycurl.FORBID_REUSE, not call.repeatable)
        self._lines.clear()
        self._parts.clear()
        # One without a value has a form of its own.
        headers = [f"{name}: {text}" if text else f"{name};" for name, text in call.headers.items()]
        # Also ends what the call before was.
        self.curl.setopt(pycurl.HTTPGET, 1)
        if call.body is not None or call.method in _BODIED:
            self.curl.setopt(pycurl.POSTFIELDS, call.body or b"")
            # Sent at once, without asking first; and nothing is said of a form.
            headers.append("Expect:")
            if not any(name.lower() == "content-type" for name in call.headers):
                headers.append("Content-Type:")
        # The answer to HEAD may announce any length, since it brings nothing.
        self.curl.setopt(pycurl.MAXFILESIZE_LARGE, 0 if call.method == "HEAD" else API_BODY_BYTES)
        if call.method == "HEAD":
            self.curl.setopt(pycurl.NOBODY, 1)
        self.curl.setopt(pycurl.CUSTOMREQUEST, call.method)
        self.curl.setopt(pycurl.URL, call.url)
        self.curl.setopt(pycurl.HTTPHEADER, headers)
        self.curl.setopt(pycurl.TIMEOUT_MS, max(ceil(seconds * 1000), 1))

    @property
    def refused(self) -> bool:
        """Whether the API has no other addresses than such as it must not have."""
        return bool(self._refused) and not self._opened

    def received(self, code: int) -> tuple[int, dict[str, str], bytes | None] | None:
        """The status, headers and body that came over the wire; None if they are not whole.

        The body is None when it is too long.
        """
        if code not in (pycurl.E_OK, pycurl.E_FILESIZE_EXCEEDED):
            return None
        headers = self._headers()
        if headers is None:
            return None
        body = b"".join(self._parts) if code == pycurl.E_OK else None
        self._parts.clear()
        return int(self.curl.getinfo(pycurl.RESPONSE_CODE)), headers, body

    def _headers(self) -> dict[str, str] | None:
        """The headers of the answer, by their names in lower case; None when they broke off.

        Neither those of interim answers before it nor those behind a body in chunks. Of several of
        one name the first counts.
        """
        found: dict[str, str] = {}
        complete = False
        for line in self._lines:
            if line.startswith(b"HTTP/"):
                found, complete = {}, False
            elif not line.strip():
                complete = True
            elif not complete:
                name, _, value = line.decode("latin-1").partition(":")
                found.setdefault(name.strip().lower(), value.strip())
        return found if complete else None

    def open_socket(self, _purpose: int, address: Any) -> socket.socket | int:
        """Make the socket for a resolved address."""
        if not is_allowed(str(address.addr[0]), allow_private=self._allow_private):
            self._refused += 1
            return pycurl.SOCKET_BAD
        self._opened += 1
        return _Lent(address.family, address.socktype, address.protocol)

    def _send(self, *_: object) -> int:
        """Note that the request is about to be sent.

        When a kept connection turns out closed, libcurl sends a request again by itself, whatever
        its method and as often as there are such connections: it is kept from that.
        """
        if self.sent:
            return pycurl.PREREQFUNC_ABORT
        self.sent = True
        return pycurl.PREREQFUNC_OK


class _Lent(socket.socket):
    """A socket of which pycurl makes a copy for libcurl, and drops this one."""

    def __del__(self) -> None:
        self.close()
