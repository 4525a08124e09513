"""When to try again, and how long to wait: decided here, for every adapter that retries.

Full jitter spreads the retries of all the environments that failed in the same instant.
https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import ceil
from typing import Final

# One call and two retries; more would multiply the load on an API that is already failing.
API_TRIES: Final = 3
API_BACKOFF_SECONDS: Final = 0.5
BACKOFF_CAP_SECONDS: Final = 5.0
# Retries beyond the first few per burst have to be earned. When one call in five fails that is
# enough for every retry; when all fail, the API gets a fifth more requests and not three times as
# many. https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
RETRIES_TO_START: Final = 10.0
RETRIES_PER_CALL: Final = 0.2
# A worker that waits is paid for; beyond this the next run, minutes away, is the better retry.
RETRY_AFTER_SECONDS: Final = 20.0
_FOREVER: Final = 86_400.0
# Some rate limiters give fractions, which RFC 9110 does not know.
_SECONDS: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
# Said when the API only wants to be asked less often: about the tenant's rate, never about a user.
THROTTLED: Final = frozenset({"http_429", "throttled"})


@dataclass(frozen=True, slots=True)
class Setback:
    """One attempt that gave no answer.

    Parameters
    ----------
    error
        The short class name, such as "http_503".
    again
        Whether another attempt could go better.
    unreached
        Whether the request certainly never reached the API, or was refused unread.
    retry_after
        Seconds the API asked for.
    """

    error: str
    again: bool = True
    unreached: bool = False
    retry_after: float | None = None


def pause_before_retry(
    setback: Setback,
    *,
    tries: int,
    repeatable: bool,
    remaining: float,
    random: Callable[[], float],
) -> float | None:
    """Decide on another attempt.

    Parameters
    ----------
    setback
        What happened.
    tries
        Attempts made so far.
    repeatable
        Whether the request may be sent twice without harm.
    remaining
        Seconds left.
    random
        A number from 0 to 1.

    Returns
    -------
    The seconds to wait; None when there is to be no other attempt.
    """
    if tries >= API_TRIES or not setback.again or not (repeatable or setback.unreached):
        return None
    pause = setback.retry_after
    if pause is None:
        pause = full_jitter(tries, base=API_BACKOFF_SECONDS, random=random)
    elif pause > RETRY_AFTER_SECONDS:
        return None
    return pause if pause < remaining else None


class RetryBudget:
    """How many retries the calls of one invocation may still make between them."""

    def __init__(self) -> None:
        self._retries = RETRIES_TO_START

    def earn(self) -> None:
        """Enter a first attempt."""
        self._retries += RETRIES_PER_CALL

    def spend(self) -> bool:
        """Take one retry; False when none is left."""
        if self._retries < 1:
            return False
        self._retries -= 1
        return True


def full_jitter(tries: int, *, base: float, random: Callable[[], float]) -> float:
    """Pick a pause between nothing and a bound that doubles with each try, in seconds."""
    return random() * min(BACKOFF_CAP_SECONDS, base * 2.0 ** (tries - 1))


def parse_retry_after(text: str | None, now: datetime) -> float | None:
    """Read a Retry-After header: seconds, rounded up where they have a fraction, or a date.

    https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3

    Returns
    -------
    Seconds from 0 to a day; None when there is no header or it makes no sense.
    """
    text = (text or "").strip()
    if _SECONDS.fullmatch(text):
        return float(ceil(min(float(text), _FOREVER)))
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - now).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), _FOREVER)
