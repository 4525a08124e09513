"""ETags as `Response.etag` gives them and the tables hold them."""

from __future__ import annotations

from batch_core.api_rules import prepare
from batch_core.job import Request


def bound(etag: str, request: Request, *, base_url: str) -> str:
    """The API's ETag, bound to the request that it answered."""
    return f"{etag}#{prepare(request, base_url=base_url, secret=None).fingerprint}"


def plain(etag: str | None) -> str | None:
    """The API's ETag."""
    return etag and etag.rpartition("#")[0]
