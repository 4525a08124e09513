"""List Users: take the lease of the run, write its users into chunks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import batched
from typing import Any

from batch_core import chunks
from batch_core.chunks import Chunk
from batch_core.errors import ConfigurationError, DatabaseError, JobError
from batch_core.failures import Failures
from batch_core.job import User
from batch_core.limits import (
    CHUNKS_PER_RUN,
    FINISH_SECONDS,
    GROUPS_PER_CHUNK,
    RUN_SECONDS,
    USER_BYTES,
)
from batch_core.observability import logger
from batch_core.outcomes import Outcome, Tally
from batch_core.ports import PayloadStore, RunLedger, UserSource
from batch_core.run import Run, instant, slot_of
from batch_core.settings import ListUsersSettings

# Groups that were running when the machine stopped itself may put a last record on the stream.
LEASE_MARGIN_SECONDS = 10


@dataclass(frozen=True, slots=True)
class UserLister:
    """What listing needs, made once per execution environment."""

    settings: ListUsersSettings
    query: str
    users: UserSource
    ledger: RunLedger
    store: PayloadStore

    def __call__(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Answer the state List Users.

        Raises
        ------
        ConfigurationError
            When the input is wrong, or there are more users than one run takes.
        JobError, SchemaError
            When the users query does not fit the tables or yields no `user_id`.
        """
        started_at = str(event["started_at"])
        slot = slot_of(
            self.settings.tenant_id,
            event.get("scheduled_time"),
            started_at,
            timedelta(minutes=self.settings.schedule_minutes),
        )
        started = instant("started_at", started_at).timestamp()
        run = Run(
            id=slot.run_id,
            version=slot.version,
            fence=0,
            group_size=group_size_of(event, self.settings),
            requests_per_second=self.settings.api_requests_per_second,
            ends_at=started + RUN_SECONDS - FINISH_SECONDS,
        )
        logger.append_keys(run_id=run.id)
        lease = self.ledger.open(
            slot, owner=str(event["execution"]), seconds=RUN_SECONDS + LEASE_MARGIN_SECONDS
        )
        if not lease.granted:
            logger.info("not listed", decision=lease.reason)
            return answer(lease.reason, run, listed=0, tally=Tally(), pointers=[])
        try:
            return self._list(replace(run, fence=lease.fence))
        except Exception as error:
            # Nothing was started, so the lease need not bar the next run until it expires. The
            # error that counts is the first one.
            with suppress(DatabaseError):
                reason = f"List Users: {type(error).__name__}: {error}"
                self.ledger.close(run.id, status="failed", tally=Tally(), reason=reason)
            raise

    def _list(self, run: Run) -> dict[str, Any]:
        settings = self.settings
        accepted = Accepted(self.users.users(self.query), Failures(settings.tenant_id))
        pointers: list[Chunk] = []
        for users in batched(accepted, chunk_size_of(settings, run.group_size), strict=False):
            if len(pointers) == CHUNKS_PER_RUN:
                raise ConfigurationError(
                    f"the users query yields more than the {accepted.listed - len(users)} users "
                    f"that {CHUNKS_PER_RUN} chunks hold; raise ChunkSize or UsersPerInvocation"
                )
            pointers.append(self._put(run, len(pointers), users))
        self.ledger.listed(run.id, accepted.listed, groups=[chunk.groups for chunk in pointers])
        run = replace(run, requests_per_second=share(settings, pointers))
        accepted.failures.log()
        tally = accepted.failures.tally
        logger.info("listed", listed=accepted.listed, chunks=len(pointers), rejected=tally.rejected)
        return answer("process", run, listed=accepted.listed, tally=tally, pointers=pointers)

    def _put(self, run: Run, n: int, users: Sequence[bytes]) -> Chunk:
        body, groups, stride = chunks.pack(users, run.group_size)
        chunk = Chunk(n=n, users=len(users), groups=groups, stride=stride, etag="")
        metadata = {"run-id": run.id, "fence": str(run.fence)}
        return replace(chunk, etag=self.store.put(chunk.key(run), body, metadata=metadata))


class Accepted:
    """The users that can be processed, as JSON; counts all, and gathers those that cannot."""

    def __init__(self, users: Iterator[User], failures: Failures) -> None:
        self._users = users
        self.failures = failures
        self.listed = 0

    def __iter__(self) -> Iterator[bytes]:
        for user in self._users:
            if "user_id" not in user:
                raise JobError("the job's users query yields no column user_id; name one so")
            self.listed += 1
            try:
                yield checked(user)
            except ValueError as error:
                self.failures.add(Outcome.REJECTED, str(error), user["user_id"])


def checked(user: User) -> bytes:
    """Write a user as JSON.

    Raises
    ------
    ValueError
        When that is impossible, larger than `limits.USER_BYTES`, or the user has no id; the text
        holds nothing of the user.
    """
    if user["user_id"] is None:
        raise ValueError("its user_id is NULL")
    try:
        text = chunks.serialise(user)
    except TypeError as error:
        raise ValueError(f"a column has no JSON form: {error}") from error
    if len(text) > USER_BYTES:
        raise ValueError(f"it takes {len(text)} bytes of JSON; {USER_BYTES} are allowed")
    return text


def group_size_of(event: Mapping[str, Any], settings: ListUsersSettings) -> int:
    """Users per invocation: the execution's input, or else the stack's parameter.

    Raises
    ------
    ConfigurationError
        When the input is not a whole number from 1 to 1000.
    """
    size = event.get("group_size")
    if size is None:
        return settings.users_per_invocation
    if type(size) is not int or not 1 <= size <= 1000:
        raise ConfigurationError(
            f"group_size in the execution's input is {size!r}; give a whole number from 1 to 1000"
        )
    return size


def chunk_size_of(settings: ListUsersSettings, group_size: int) -> int:
    """Users per chunk: whole groups, as many as a Map may iterate over, and at least one."""
    most = min(settings.chunk_size, GROUPS_PER_CHUNK * group_size)
    return max(most // group_size, 1) * group_size


def share(settings: ListUsersSettings, pointers: Sequence[Chunk]) -> float:
    """What one group may ask of the API per second when all that run at once share the rate."""
    widest = max((chunk.groups for chunk in pointers), default=1)
    at_once = min(len(pointers) or 1, settings.chunk_concurrency) * min(
        widest, settings.group_concurrency
    )
    return settings.api_requests_per_second / at_once


def answer(
    decision: str, run: Run, *, listed: int, tally: Tally, pointers: Sequence[Chunk]
) -> dict[str, Any]:
    """What the state hands on."""
    return {
        "decision": decision,
        "run": run.to_json(),
        "listed": listed,
        "tally": tally.to_json(),
        "chunks": [chunk.to_json() for chunk in pointers],
    }
