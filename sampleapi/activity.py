"""What the API knows of a user: a pure function, so that tests can tell what must be stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from json import dumps
from typing import Any, Final

_ACTIONS: Final = ("login", "logout", "purchase", "refund", "upload", "share", "comment")
_COUNTRIES: Final = ("JP", "DE", "BR", "KE", "US", "IN", "FR", "NZ")
_DEVICES: Final = ("phone", "tablet", "laptop", "watch", "television", "car")
_NOTES: Final = (
    "Signed in from the usual place and stayed for a while, as on most days of this month.",
    "Ordered again what was ordered the week before; asked for the same delivery window.",
    "領収書の再発行を希望。担当者に転送済み。",
    'Said "it\'s fine" \\ twice; %s of the questions were about the invoice.',
    "Left a rating of five stars ⭐ and a photo 📷 of the parcel.",
)
_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)


def activity(tenant: str, account: str, revision: int) -> dict[str, Any]:
    """Return a user's latest activity; another revision is another activity."""
    seed = int.from_bytes(blake2b(f"{tenant}/{account}/{revision}".encode()).digest(), "big")

    def draw(below: int) -> int:
        nonlocal seed
        seed, drawn = divmod(seed, below)
        return drawn

    occurred_at = _EPOCH + timedelta(milliseconds=draw(10**10))
    return {
        "account": account,
        "action": _ACTIONS[draw(len(_ACTIONS))],
        "occurred_at": occurred_at.isoformat("T", "milliseconds"),
        "score": draw(100_000) / 100,
        "country": _COUNTRIES[draw(len(_COUNTRIES))],
        "devices": [
            {
                "kind": _DEVICES[draw(len(_DEVICES))],
                "last_seen_at": (occurred_at - timedelta(minutes=draw(10_000))).isoformat(),
            }
            for _ in range(1 + draw(3))
        ],
        "session": f"{draw(16**32):032x}",
        "note": _NOTES[draw(len(_NOTES))],
    }


@lru_cache(maxsize=200_000)
def answer(tenant: str, account: str, revision: int) -> tuple[str, bytes]:
    """Return the ETag and the body that the API sends for it."""
    body = dumps(activity(tenant, account, revision), ensure_ascii=False).encode()
    return f'"{blake2b(body, digest_size=8).hexdigest()}"', body
