"""The tenant that is soaked: its secrets and users are canaries that no log line may hold."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Self

from batchctl.local.cloud import LocalCloud
from batchctl.local.sql_server import Connection
from batchctl.stacks import Stack

TENANT: Final = "soak"
# Several groups for a few hundred users.
_GROUP_SIZE: Final = 40
# Far from any count, time or size that a log line may well hold.
_FIRST_USER_ID: Final = 7_700_000_000
_A_USER: Final = re.compile(r"u-[0-9]{6}|(?<![0-9a-f])77000[0-9]{5}(?![0-9a-f])")

# Longer than any note that the API has of itself.
SHORT_NOTE: Final = 200
_WHOLE_NOTE: Final = 500


def account(number: int) -> str:
    """The account of a user, as the API knows it."""
    return f"u-{number:06d}"


def user_id(number: int) -> int:
    """The key of a user in the tenant's tables."""
    return _FIRST_USER_ID + number


@dataclass(frozen=True, slots=True)
class Tenant:
    """A deployed stack, and what it must keep to itself."""

    cloud: LocalCloud
    stack: Stack
    secrets: tuple[str, ...]

    @classmethod
    def deployed(cls, cloud: LocalCloud, users: int) -> Self:
        """Deploy the tenant and give it users 1 to `users`."""
        store = cloud.client("secretsmanager")
        token = f"token-{secrets.token_urlsafe(24)}"
        arn = store.create_secret(Name=f"express-batch/{TENANT}/api", SecretString=token)["ARN"]
        stack = cloud.deploy(
            TENANT, parameters={"ApiSecretArn": arn, "UsersPerInvocation": str(_GROUP_SIZE)}
        )
        login = store.get_secret_value(SecretId=stack.parameters["DatabaseSecretArn"])
        password = json.loads(login["SecretString"])["password"]
        tenant = cls(cloud, stack, (token, password))
        tenant.add(range(1, users + 1))
        return tenant

    def connect(self) -> Connection:
        """Connect to the tenant's schema as the administrator."""
        return self.cloud.database(TENANT)

    def add(self, numbers: Iterable[int]) -> None:
        """Add users, active ones."""
        rows = [(user_id(number), account(number)) for number in numbers]
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.executemany("INSERT INTO users (user_id, account) VALUES (%s, %s)", rows)

    def activate(self, numbers: Iterable[int], *, active: bool) -> None:
        """Make users active or inactive."""
        self._each("UPDATE users SET active = %s WHERE account = %s", numbers, int(active))

    def delete(self, numbers: Iterable[int]) -> None:
        """Delete users; their rows go along."""
        self._each("DELETE FROM users WHERE account = %s", numbers)

    def shorten_notes(self, characters: int = _WHOLE_NOTE) -> None:
        """Change how long a note may be; without a length, to what the job's schema says."""
        self.rows(f"ALTER TABLE user_activity MODIFY note VARCHAR({characters}) NOT NULL")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows, if it has any."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def _each(self, sql: str, numbers: Iterable[int], *values: object) -> None:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.executemany(sql, [(*values, account(number)) for number in numbers])


def leaks(text: str, secrets: Iterable[str]) -> list[str]:
    """What a log line holds that it must not, in words."""
    leaked = ["a secret"] if any(secret in text for secret in secrets) else []
    return [*leaked, *(f"the user {found}" for found in _A_USER.findall(text))]
