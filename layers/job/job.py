"""Each user's latest activity, from a JSON API that answers 304 when there is nothing new."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from batch_core.job import Job, RejectError, Request, Response, Row, Table, User


def request(user: User) -> Request:
    return Request(path=f"/users/{quote(user['account'], safe='')}/activity", etag=user["etag"])


def process(user: User, response: Response) -> Row:
    told = response.json()
    if not isinstance(told, dict):
        raise RejectError("the answer must be an object")
    if told.get("account") != user["account"]:
        raise RejectError("account is not the one that was asked for")
    occurred_at = _time(told.get("occurred_at"), "occurred_at")
    return {
        "action": _text(told.get("action"), "action", 64),
        # As MySQL writes a DATETIME(3), which has no zone.
        "occurred_at": occurred_at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3],
        "score": _number(told.get("score"), "score", 999_999.99),
        "country": _country(told.get("country"), "country"),
        "devices": _devices(told.get("devices"), "devices"),
        "note": _text(told.get("note"), "note", 500),
        # One too long to keep is not sent back: the user is simply asked for in full every time.
        "etag": response.etag if response.etag and len(response.etag) <= 128 else None,
    }


def _text(value: Any, field: str, longest: int) -> str:
    if not isinstance(value, str):
        raise RejectError(f"{field} must be text")
    if len(value) > longest:
        raise RejectError(f"{field} has {len(value)} characters; {longest} are allowed")
    return value


def _time(value: Any, field: str) -> datetime:
    try:
        instant = datetime.fromisoformat(_text(value, field, 40))
    except ValueError as error:
        raise RejectError(f"{field} must be an ISO-8601 time") from error
    if instant.tzinfo is None:
        raise RejectError(f"{field} must name its time zone")
    return instant.astimezone(UTC)


def _number(value: Any, field: str, largest: float) -> float | Decimal:
    if not isinstance(value, int | float | Decimal) or isinstance(value, bool):
        raise RejectError(f"{field} must be a number")
    if not -largest <= value <= largest:
        raise RejectError(f"{field} is beyond {largest}")
    return value


def _country(value: Any, field: str) -> str:
    if not re.fullmatch("[A-Z]{2}", _text(value, field, 2)):
        raise RejectError(f"{field} must be two capital letters")
    return str(value)


def _devices(value: Any, field: str) -> list[dict[str, str]]:
    if not isinstance(value, list):
        raise RejectError(f"{field} must be a list")
    return [_device(device, f"{field}[{n}]") for n, device in enumerate(value)]


def _device(value: Any, field: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise RejectError(f"{field} must be an object")
    _time(value.get("last_seen_at"), f"{field}.last_seen_at")
    return {
        "kind": _text(value.get("kind"), f"{field}.kind", 32),
        "last_seen_at": value["last_seen_at"],
    }


JOB = Job(
    users="""
        SELECT /*+ NO_BNL(a) */ u.user_id, u.account, a.etag
        FROM users AS u LEFT JOIN user_activity AS a ON a.user_id = u.user_id
        WHERE u.active = 1
    """,
    table=Table(
        "user_activity",
        columns=("action", "occurred_at", "score", "country", "devices", "note", "etag"),
    ),
    request=request,
    process=process,
)
