"""What the shipped job must have stored, and what it did store."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from batchctl.local.cloud import LocalCloud
from sampleapi.activity import activity, answer
from sampleapi.admin import SampleApiAdmin
from tests.support.etags import plain


def expected_rows(cloud: LocalCloud, tenant: str, users: int) -> dict[str, dict[str, Any]]:
    """The rows of users 1 to `users` that follow from what the API serves now, by account."""
    return expected_rows_of(cloud, tenant, range(1, users + 1))


def expected_rows_of(
    cloud: LocalCloud, tenant: str, numbers: Iterable[int]
) -> dict[str, dict[str, Any]]:
    """The rows of these users that follow from what the API serves now, by account."""
    revisions = SampleApiAdmin(cloud.sample_api_url, tenant).revisions()
    rows = {}
    for number in numbers:
        account = f"u-{number:06d}"
        revision = revisions.get(account, 0)
        served = activity(tenant, account, revision)
        occurred_at = datetime.fromisoformat(served["occurred_at"])
        rows[account] = {
            "action": served["action"],
            "occurred_at": occurred_at.replace(tzinfo=None),
            "score": f"{served['score']:.2f}",
            "country": served["country"],
            "devices": served["devices"],
            "note": served["note"],
            "etag": answer(tenant, account, revision)[0],
        }
    return rows


def stored_rows(cloud: LocalCloud, tenant: str) -> dict[str, dict[str, Any]]:
    """The rows of the tenant's active users, by account."""
    with cloud.database(tenant) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT u.account, a.action, a.occurred_at, a.score, a.country, a.devices, a.note,"
            " a.etag FROM user_activity AS a JOIN users AS u USING (user_id) WHERE u.active = 1"
        )
        return {
            account: {
                "action": action,
                "occurred_at": occurred_at,
                "score": str(score),
                "country": country,
                "devices": json.loads(devices),
                "note": note,
                "etag": plain(etag),
            }
            for account, action, occurred_at, score, country, devices, note, etag in cursor
        }


def wrong_rows(cloud: LocalCloud, tenant: str, users: int) -> int:
    """Of how many of users 1 to `users` the table does not hold what the API serves now."""
    stored = stored_rows(cloud, tenant)
    expected = expected_rows(cloud, tenant, users)
    return sum(stored.get(account) != row for account, row in expected.items())


def versions(cloud: LocalCloud, tenant: str) -> dict[str, int]:
    """The version of each stored row, by account."""
    with cloud.database(tenant) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT account, version FROM user_activity JOIN users USING (user_id)")
        return dict(cursor)
