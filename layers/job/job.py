"""Each user's latest activity, from a JSON API that answers 304 when there is nothing new."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from batch_core.job import Job, RejectError, Request, Response, Row, Table, User


def request(user: User) -> Request:
    return Request(path=f"/users/{quote(user['account'], safe='')}/activity", etag=user["etag"])


def process(user: User, response: Response) -> Row:
    activity = response.json()
    if not isinstance(activity, dict):
        raise RejectError("the answer must be an object")
    if _text(activity, "account", 64) != user["account"]:
        raise RejectError("account is not the one that was asked for")
    return {
        "action": _text(activity, "action", 64),
        "occurred_at": _time(activity, "occurred_at"),
        "score": _number(activity, "score", 999_999.99),
        "country": _country(activity, "country"),
        "devices": _texts(activity, "devices"),
        "note": _text(activity, "note", 500),
        # One too long to keep is not sent back: the user is simply asked for in full every time.
        "etag": response.etag if response.etag and len(response.etag) <= 128 else None,
    }


def _text(activity: dict[str, Any], field: str, longest: int) -> str:
    value = activity.get(field)
    if not isinstance(value, str):
        raise RejectError(f"{field} must be text")
    if len(value) > longest:
        raise RejectError(f"{field} has {len(value)} characters; {longest} are allowed")
    return value


def _time(activity: dict[str, Any], field: str) -> str:
    try:
        instant = datetime.fromisoformat(_text(activity, field, 40))
    except ValueError as error:
        raise RejectError(f"{field} must be an ISO-8601 time") from error
    if instant.tzinfo is None:
        raise RejectError(f"{field} must have a time zone")
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _number(activity: dict[str, Any], field: str, largest: float) -> float:
    value = activity.get(field)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise RejectError(f"{field} must be a number")
    if abs(value) > largest:
        raise RejectError(f"{field} is beyond {largest:g}")
    return value


def _country(activity: dict[str, Any], field: str) -> str:
    value = _text(activity, field, 2)
    if not re.fullmatch("[A-Z]{2}", value):
        raise RejectError(f"{field} must be two capital letters")
    return value


def _texts(activity: dict[str, Any], field: str) -> list[str]:
    values = activity.get(field)
    if not isinstance(values, list):
        raise RejectError(f"{field} must be a list")
    for n, value in enumerate(values):
        if not isinstance(value, str):
            raise RejectError(f"{field}[{n}] must be text")
    return values


JOB = Job(
    users="""
        SELECT u.user_id, u.account, a.etag
        FROM users AS u LEFT JOIN user_activity AS a ON a.user_id = u.user_id
        WHERE u.active = 1
        ORDER BY u.user_id
    """,
    table=Table(
        "user_activity",
        columns=("action", "occurred_at", "score", "country", "devices", "note", "etag"),
    ),
    request=request,
    process=process,
)
