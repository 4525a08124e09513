"""How the API behaves for one tenant: its settings, its scripted answers, what it counts."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from math import isfinite
from typing import Any, Final


class BadRequestError(Exception):
    """An admin request that makes no sense; the text names the field."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What may go wrong, and how often.

    Parameters
    ----------
    latency_ms, latency_jitter_ms
        Each answer waits the first, plus up to the second.
    error_rate, throttle_rate
        Shares of requests answered 500, and 429 with `retry_after`.
    retry_after
        The Retry-After header of a 429, as it is sent.
    rate_limit_rps
        Requests per second allowed before 429; 0 is no limit.
    seed
        Which requests fail is drawn from it, the account and the attempt: the same seed fails the
        same requests in whatever order they come.
    """

    latency_ms: float = 0
    latency_jitter_ms: float = 0
    error_rate: float = 0
    throttle_rate: float = 0
    retry_after: str = "1"
    rate_limit_rps: float = 0
    seed: int = 0

    def changed(self, values: Mapping[str, Any]) -> Settings:
        """Return settings with some fields replaced.

        Raises
        ------
        BadRequestError
            Naming a field that does not exist or whose value is out of range.
        """
        kinds = {f.name: type(f.default) for f in fields(self)}
        for name, value in values.items():
            if name not in kinds:
                raise BadRequestError(f"{name} is not a setting; known are {', '.join(kinds)}")
            if kinds[name] is str:
                if not isinstance(value, str) or not value.isprintable():
                    raise BadRequestError(f"{name} must be printable text")
                continue
            if not _is_number(value):
                raise BadRequestError(f"{name} must be a number")
            if value < 0:
                raise BadRequestError(f"{name} must not be negative")
            if name.endswith("_rate") and value > 1:
                raise BadRequestError(f"{name} is a share, between 0 and 1")
        changed = replace(self, **values)
        if changed.error_rate + changed.throttle_rate > 1:
            raise BadRequestError("error_rate and throttle_rate together are more than 1")
        return changed


@dataclass(frozen=True, slots=True)
class Scripted:
    """One answer that a test prescribes for one account."""

    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_ms: float = 0
    close: bool = False  # drop the connection without an answer
    truncate: bool = False  # promise more than is sent
    repeat: bool = False  # answer so for ever

    @classmethod
    def from_json(cls, account: str, value: Any) -> Scripted:
        known = {f.name for f in fields(cls)}
        if not isinstance(value, dict) or not value.keys() <= known:
            raise BadRequestError(
                f"a scripted answer of {account} may have {', '.join(sorted(known))}"
            )
        scripted = cls(**value)
        if not (isinstance(scripted.status, int) and 200 <= scripted.status <= 599):
            raise BadRequestError(f"status of {account} must be a number from 200 to 599")
        if not isinstance(scripted.body, str):
            raise BadRequestError(f"body of {account} must be text")
        if not isinstance(scripted.headers, dict):
            raise BadRequestError(f"headers of {account} must be an object")
        if not _is_number(scripted.delay_ms) or scripted.delay_ms < 0:
            raise BadRequestError(f"delay_ms of {account} must be a number of milliseconds")
        return scripted


class Behaviour:
    """One tenant's side of the API."""

    def __init__(self) -> None:
        self.revisions: defaultdict[str, int] = defaultdict(int)
        self.reset()

    def reset(self) -> None:
        """Forget settings, scripts and counts; what the users did stays."""
        self.settings = Settings()
        self.scripts: dict[str, deque[Scripted]] = {}
        self.attempts: Counter[str] = Counter()
        self.by_status: Counter[int] = Counter()
        self.conditional = 0
        self.in_flight = 0
        self.in_flight_peak = 0
        self._tokens = 0.0
        self._refilled = time.monotonic()

    def script(self, answers: Mapping[str, Any]) -> None:
        """Prescribe the next answers of some accounts."""
        for account, items in answers.items():
            if not isinstance(items, list) or not items:
                raise BadRequestError(f"the script of {account} must be a list of answers")
            self.scripts[account] = deque(Scripted.from_json(account, item) for item in items)

    def behave(self, settings: Settings) -> None:
        """Take new settings; failures are drawn from the beginning again."""
        self.settings = settings
        self.attempts.clear()
        self._tokens = max(settings.rate_limit_rps, 1)

    def touch(self, accounts: Any) -> None:
        """Let some users do something new."""
        if not isinstance(accounts, list) or not all(isinstance(item, str) for item in accounts):
            raise BadRequestError("accounts must be a list of texts")
        for account in accounts:
            self.revisions[account] += 1

    def next_scripted(self, account: str) -> Scripted | None:
        """Return what a test prescribed for this request, if anything."""
        script = self.scripts.get(account)
        if not script:
            return None
        return script[0] if script[0].repeat else script.popleft()

    def fault(self, account: str) -> int:
        """Return the status of the failure this request meets, or 0."""
        self.attempts[account] += 1
        settings = self.settings
        if settings.rate_limit_rps and not self._take_token():
            return 429
        if not (settings.error_rate or settings.throttle_rate):
            return 0
        drawn = self._draw(account)
        if drawn < settings.error_rate:
            return 500
        return 429 if drawn < settings.error_rate + settings.throttle_rate else 0

    def delay(self, account: str) -> float:
        """Return the seconds that this answer waits."""
        settings = self.settings
        jitter = settings.latency_jitter_ms
        if jitter:
            jitter *= self._draw(account, "jitter")
        return (settings.latency_ms + jitter) / 1000

    def stats(self, *, per_user: bool) -> dict[str, Any]:
        """Return what was counted since the last reset."""
        counts: dict[str, Any] = {
            "requests": self.by_status.total(),
            "by_status": {str(status): n for status, n in sorted(self.by_status.items())},
            "conditional": self.conditional,
            "not_modified": self.by_status[304],
            "in_flight_peak": self.in_flight_peak,
        }
        return counts | ({"per_user": dict(self.attempts)} if per_user else {})

    def _draw(self, account: str, purpose: str = "fault") -> float:
        text = f"{self.settings.seed}/{account}/{self.attempts[account]}/{purpose}"
        return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big") / _SCALE

    def _take_token(self) -> bool:
        now = time.monotonic()
        limit = self.settings.rate_limit_rps
        self._tokens = min(max(limit, 1), self._tokens + (now - self._refilled) * limit)
        self._refilled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


_SCALE: Final = 2**32


def as_object(value: Any) -> dict[str, Any]:
    """Return an admin request's body.

    Raises
    ------
    BadRequestError
        When it is not an object.
    """
    if not isinstance(value, dict):
        raise BadRequestError("the body must be an object")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
