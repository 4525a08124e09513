"""Applies the SQL files that a deployment brought, through the stack's own function."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from batchctl.errors import BatchctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from batchctl.aws import ClientFactory
    from batchctl.stacks import Stack

# As long as the function may take.
_TIMEOUT_S: Final = 900


def migrate(client: ClientFactory, stack: Stack, report: Callable[[str], None]) -> None:
    """Bring a tenant's schema up to date. Raises BatchctlError when a file cannot be applied."""
    try:
        payload = _invoke(client, stack, {})
    except (BotoCoreError, ClientError) as error:
        raise BatchctlError(f"The migrations of {stack.name} could not run: {error}") from error
    report(f"migrated the schema: {_in_words(payload)}")


def look(client: ClientFactory, stack: Stack) -> dict[str, Any] | None:
    """Let a stack's Migrate look at its database and change nothing.

    Returns what it tells, or None when its code is too old to only look.

    Raises
    ------
    BatchctlError
        When it fails.
    ClientError, BotoCoreError
        When it cannot be asked.
    """
    payload = _invoke(client, stack, {"check": True})
    told = payload.get("check") if isinstance(payload, dict) else None
    return told if isinstance(told, dict) else None


def _invoke(client: ClientFactory, stack: Stack, event: Mapping[str, Any]) -> Any:
    functions = client("lambda", read_timeout=_TIMEOUT_S, retries={"total_max_attempts": 1})
    answer = functions.invoke(
        FunctionName=stack.migrate_function, Payload=json.dumps(dict(event)).encode()
    )
    payload = json.loads(answer["Payload"].read() or b"null")
    if "FunctionError" in answer:
        reason = payload.get("errorMessage") if isinstance(payload, dict) else payload
        raise BatchctlError(f"The function Migrate of {stack.name} failed: {reason}")
    return payload


def _in_words(result: Any) -> str:
    if not isinstance(result, dict):
        return str(result)
    return ", ".join(f"{name} {_words(value)}" for name, value in result.items())


def _words(value: Any) -> str:
    if isinstance(value, list):
        return "none" if not value else " ".join(str(item) for item in value)
    return str(value)
