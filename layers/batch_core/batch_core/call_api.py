"""The state Call API: ask the outside API about each user of one group."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from batch_core import claims
from batch_core.chunks import Chunk, unpack
from batch_core.failures import Failures
from batch_core.job import Job, Request, Response, User
from batch_core.outcomes import Outcome, Tally
from batch_core.ports import ApiClient, Failure, PayloadStore
from batch_core.run import Run

# What must still fit behind the last answer: packing the claim, putting it into S3, retries of S3
# included, and the answer of the function.
MARGIN_SECONDS: Final = 3.0
# Groups of fewer users than this share one read of their chunk per environment: at one user per
# invocation a read each would be an S3 request per user, dearer than all the rest of the run.
SHARED_READ_BELOW: Final = 10


class ChunkReader:
    """Reads groups out of chunks, keeping the last chunk that was read whole.

    Chunks are immutable and named with their ETag, so what is kept cannot be stale.
    """

    def __init__(self, store: PayloadStore) -> None:
        self._store = store
        self._kept: tuple[str, str] | None = None
        self._body = b""

    def users(self, run: Run, chunk: Chunk, group: int) -> list[User]:
        """Read the users of one group.

        Raises
        ------
        PayloadError
            When the chunk is missing, or not the one that was listed.
        """
        start, end = chunk.span(group)
        if run.group_size >= SHARED_READ_BELOW:
            body = self._store.get(chunk.key(run), etag=chunk.etag, span=(start, end))
        else:
            body = self._whole(chunk.key(run), chunk.etag)[start:end]
        return unpack(body, expected=chunk.users_in(group, run.group_size))

    def _whole(self, key: str, etag: str) -> bytes:
        if self._kept != (key, etag):
            self._body = self._store.get(key, etag=etag)
            self._kept = (key, etag)
        return self._body


def call_api(
    event: Mapping[str, Any],
    *,
    tenant: str,
    job: Job,
    reader: ChunkReader,
    store: PayloadStore,
    api: ApiClient,
    seconds: float,
    now: Callable[[], float] = time.time,
) -> dict[str, Any]:
    """Call the API for the users of one group.

    Parameters
    ----------
    event
        The state's input: run, chunk and group.
    tenant, job, reader, store, api
        What it works for and with.
    seconds
        What is left of the invocation.
    now
        Seconds since 1970.

    Returns
    -------
    The state's output: a claim on ``[user, status, etag, body]`` of each usable answer, and the
    tally of the other users.
    """
    run, chunk = Run.from_json(event["run"]), Chunk.from_json(event["chunk"])
    group = int(event["group"])
    seconds = min(seconds - MARGIN_SECONDS, run.ends_at - now())
    if seconds <= 0:
        late = chunk.users_in(group, run.group_size)
        return _output([], Tally(retry_later=late), run, chunk, group, store)
    failures = Failures(tenant)
    users, requests = _requests(job, reader.users(run, chunk, group), failures)
    answers = api.call(requests, seconds=seconds, requests_per_second=run.requests_per_second)
    answered: list[list[Any]] = []
    unchanged = 0
    for user, answer in zip(users, answers, strict=True):
        match answer:
            case None:
                unchanged += 1
            case Failure(outcome, error):
                failures.add(outcome, error, user["user_id"])
            case Response(status, body, etag):
                try:
                    answered.append([user, status, etag, body.decode()])
                except UnicodeDecodeError:
                    failures.add(Outcome.REJECTED, "not_utf8", user["user_id"])
    failures.log()
    tally = failures.tally + Tally(unchanged=unchanged)
    return _output(answered, tally, run, chunk, group, store)


def _requests(
    job: Job, listed: Sequence[User], failures: Failures
) -> tuple[list[User], list[Request]]:
    """Ask the job for each user's request; a user without one is rejected."""
    users: list[User] = []
    requests: list[Request] = []
    for user in listed:
        try:
            request = job.request(user)
        except Exception as error:  # noqa: BLE001 - whatever a job raises concerns this user only
            failures.add(Outcome.REJECTED, type(error).__name__, user["user_id"])
            continue
        if isinstance(request, Request):
            users.append(user)
            requests.append(request)
        else:
            failures.add(Outcome.REJECTED, "no_request", user["user_id"])
    return users, requests


def _output(
    answered: list[list[Any]], tally: Tally, run: Run, chunk: Chunk, group: int, store: PayloadStore
) -> dict[str, Any]:
    claim = claims.put(answered, run=run, name=f"{chunk.n}/{group}", store=store)
    return {"claim": claim, "tally": tally.to_json()}
