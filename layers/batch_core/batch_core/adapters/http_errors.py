"""What broke a call, in one word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pycurl

from batch_core.ports import LATE, Failure
from batch_core.retry import Setback

if TYPE_CHECKING:
    from batch_core.adapters.http_transfer import Transfer

_ADDRESS: Final = Setback("address", again=False)
_TLS: Final = Setback("tls", again=False)
_DISCONNECTED: Final = Setback("disconnected")
# https://curl.se/libcurl/c/libcurl-errors.html
_SETBACKS: Final = {
    pycurl.E_COULDNT_RESOLVE_HOST: Setback("dns", unreached=True),
    pycurl.E_COULDNT_CONNECT: Setback("connect", unreached=True),
    pycurl.E_URL_MALFORMAT: _ADDRESS,
    pycurl.E_SSL_CONNECT_ERROR: _TLS,
    pycurl.E_PEER_FAILED_VERIFICATION: _TLS,
    pycurl.E_SSL_CERTPROBLEM: _TLS,
    pycurl.E_SSL_CIPHER: _TLS,
    pycurl.E_SSL_CACERT_BADFILE: _TLS,
    pycurl.E_SSL_ISSUER_ERROR: _TLS,
    pycurl.E_GOT_NOTHING: _DISCONNECTED,
    pycurl.E_SEND_ERROR: _DISCONNECTED,
    pycurl.E_RECV_ERROR: _DISCONNECTED,
    pycurl.E_PARTIAL_FILE: Setback("truncated"),
    pycurl.E_OPERATION_TIMEDOUT: Setback("timeout"),
}


def explain(code: int, transfer: Transfer, *, late: bool) -> Setback | Failure:
    """Name what broke a call.

    Parameters
    ----------
    code
        Of libcurl.
    transfer
        By which the call was made.
    late
        Whether the run's own deadline is over.
    """
    match code:
        case pycurl.E_OK:
            # To libcurl an answer that ends among its headers is one without a body.
            return _SETBACKS[pycurl.E_PARTIAL_FILE]
        case pycurl.E_OPERATION_TIMEDOUT if late:
            return LATE
        case pycurl.E_OPERATION_TIMEDOUT if not transfer.sent:
            return Setback("connect_timeout", unreached=True)
        case pycurl.E_COULDNT_CONNECT if transfer.refused:
            return _ADDRESS
    return _SETBACKS.get(code, Setback("protocol"))
