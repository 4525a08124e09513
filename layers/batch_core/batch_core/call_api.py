"""The state Call API: ask the outside API about each user of one group."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final
from uuid import UUID, uuid4

from batch_core import claims
from batch_core.answers import Answered, Gathering
from batch_core.api_rules import is_repeatable
from batch_core.breaker import Breakers, is_users_own, pardoned
from batch_core.chunks import Chunk, Listed, unpack
from batch_core.error_classes import ErrorClass, of_exception
from batch_core.failures import Failures
from batch_core.job import Job, Request, Response
from batch_core.observability import debugging, logger, pseudonym
from batch_core.outcomes import Outcome, Tally
from batch_core.ports import (
    BREAKER_OPEN,
    LATE,
    PERHAPS_SENT,
    ApiClient,
    Failure,
    PayloadStore,
)
from batch_core.run import Run
from batch_core.user_state import Mark, can_be_marked

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

    def users(self, run: Run, chunk: Chunk, group: int) -> list[Listed]:
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
    breakers: Breakers,
    seconds: float,
    now: Callable[[], float] = time.time,
) -> dict[str, Any]:
    """Call the API for the users of one group.

    Parameters
    ----------
    event
        The state's input: run, chunk and group.
    tenant, job, reader, store, api, breakers
        What it works for and with.
    seconds
        What is left of the invocation.
    now
        Seconds since 1970.

    Returns
    -------
    The state's output: a claim on the group's :class:`~batch_core.answers.Answers`, the tally of
    the users that are not among them, and figures for the workflow to add up. These are ``called``,
    the users whose calls were made; ``api_ms``, the whole milliseconds that takes where everyone is
    answered well; ``late``, the place in the group, counted from 1, of the first user whose turn
    never came, or 0; ``stopped``, the users who lost their turn because the API failed for
    everyone.
    """
    run, chunk = Run.from_json(event["run"]), Chunk.from_json(event["chunk"])
    number = int(event["group"])
    seconds = min(seconds - MARGIN_SECONDS, run.ends_at - now())
    breaker = breakers.of(run)
    breaker.begin_group()
    name = f"{chunk.n}/{number}"
    group = _Group(
        Failures(tenant),
        Gathering(
            lambda part, text: claims.spill(text, run=run, name=f"{name}/{part}", store=store)
        ),
    )
    if seconds <= 0 or not breaker.allows():
        unread = LATE if seconds <= 0 else BREAKER_OPEN
        group.failures.add_unread(unread, users=chunk.users_in(number, run.group_size))
        group.late = int(unread == LATE)
    else:
        users = reader.users(run, chunk, number)
        asked, requests = group.requests(job, run, users)
        if not all(map(is_repeatable, requests)) and not _is_first(run, name, store):
            asked, requests = group.repeatable(asked, requests)
        started = now()
        answers = api.call(
            requests,
            seconds=seconds,
            fair_seconds=run.fair_seconds,
            requests_per_second=run.requests_per_second,
            breaker=breaker,
            doubtful=[place for place, listed in enumerate(asked) if listed.failures],
        )
        others: dict[int, Failure | None] = {}
        for place, answer in answers:
            if isinstance(answer, Response):
                listed = asked[place]
                group.answered += 1
                group.gathering.add(Answered(listed.user, listed.failures, answer))
            else:
                others[place] = answer
        group.seconds = breaker.served_at - started
        # Only now it is known whether the API failed for everyone.
        group.fails = breaker.fails(unasked=list(others.values()).count(BREAKER_OPEN))
        for place, other in sorted(others.items()):
            if other == LATE and not group.late:
                group.late = 1 + users.index(asked[place])
            group.take(asked[place], pardoned(other) if group.fails else other)
        if debugging():
            # One text: Logs Insights takes 200 fields of a line.
            told = " ".join(
                f"{pseudonym(tenant, listed.user['user_id'])}:{_word(others, place)}"
                for place, listed in enumerate(asked)
            )
            logger.debug("answers", users=told)
        if breaker.can_tell():
            group.mark_failed()
    group.failures.log()
    claimed = group.gathering.to_json(group.marks)
    return {
        "claim": claims.put(claimed, run=run, name=name, store=store),
        "tally": (group.failures.tally + Tally(unchanged=group.unchanged)).to_json(),
        **group.figures(),
    }


def _is_first(run: Run, name: str, store: PayloadStore) -> bool:
    """Whether no attempt before this one may have asked about a group.

    Raises
    ------
    PayloadError
        When that cannot be told.
    """
    attempt = uuid4().hex.encode()
    return store.put_new(f"{run.prefix}/asked/{name}", attempt, metadata={"run-id": run.id})


def idempotency_key(run: Run, user_id: object) -> str:
    """The same for every attempt of a run to ask about a user, another in the next run.

    A UUID of the form that APIs expect of a random one; it tells nothing of the user.
    """
    name = f"{run.id}/{user_id}".encode()
    return str(UUID(bytes=sha256(name).digest()[:16], version=4))


def _word(others: Mapping[int, Failure | None], place: int) -> str:
    if place not in others:
        return "answered"
    failure = others[place]
    return Outcome.UNCHANGED if failure is None else failure.error


@dataclass(slots=True)
class _Group:
    """What became of the users of a group."""

    failures: Failures
    gathering: Gathering
    failed: list[tuple[Listed, Failure]] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    answered: int = 0
    unchanged: int = 0
    asked: int = 0
    # Until the last good answer.
    seconds: float = 0.0
    late: int = 0
    fails: bool = False

    def requests(
        self, job: Job, run: Run, users: Sequence[Listed]
    ) -> tuple[list[Listed], list[Request]]:
        """Ask the job for each user's request; a user without one is rejected."""
        asked: list[Listed] = []
        requests: list[Request] = []
        for listed in users:
            try:
                key = idempotency_key(run, listed.user["user_id"])
                request = job.request({"idempotency_key": key, **listed.user})
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a job raises concerns this user only
                self._unfit(listed, of_exception(error))
                continue
            if isinstance(request, Request):
                asked.append(listed)
                requests.append(request)
            else:
                self._unfit(listed, ErrorClass.NO_REQUEST)
        self.asked = len(asked)
        return asked, requests

    def repeatable(
        self, asked: Sequence[Listed], requests: Sequence[Request]
    ) -> tuple[list[Listed], list[Request]]:
        """Keep the requests that may be sent twice; the users of the others wait for the next run.

        The workflow starts a group again when its function died, and nobody knows how far it was.
        """
        kept = [pair for pair in zip(asked, requests, strict=True) if is_repeatable(pair[1])]
        for listed, request in zip(asked, requests, strict=True):
            if not is_repeatable(request):
                self.fail(listed, PERHAPS_SENT)
        self.asked = len(kept)
        return [listed for listed, _ in kept], [request for _, request in kept]

    def take(self, listed: Listed, other: Failure | None) -> None:
        """Enter a user that has no usable answer: nothing is new, or the call failed."""
        if other is not None:
            self.fail(listed, other)
            return
        self.unchanged += 1
        if listed.failures:
            self.marks.append(Mark(listed.user["user_id"], 0))

    def fail(self, listed: Listed, failure: Failure) -> None:
        self.failed.append((listed, failure))
        self.failures.add(failure.outcome, failure.error, listed.user["user_id"])

    def mark_failed(self) -> None:
        """Mark those whose failure may be their own; the run's end says whether marks count."""
        for listed, failure in self.failed:
            if is_users_own(failure):
                self._mark(listed, failure.error)

    def figures(self) -> dict[str, int]:
        late, unasked = self.failures.count(LATE), self.failures.count(BREAKER_OPEN)
        unserved = self.failures.tally.retry_later - late if self.fails else 0
        called = max(self.asked - late - unasked, 0)
        # Calls that fail may take any time: what the others took is the pace.
        served = self.answered + self.unchanged
        api_ms = max(self.seconds, 0.0) * 1000 * called / served if served else 0.0
        return {
            "called": called,
            "api_ms": round(api_ms),
            "late": self.late,
            "stopped": unasked + unserved,
        }

    def _unfit(self, listed: Listed, error: str) -> None:
        """Reject a user whom the job has no request for."""
        self.failures.add(Outcome.REJECTED, error, listed.user["user_id"])
        self._mark(listed, error)

    def _mark(self, listed: Listed, error: str) -> None:
        user_id = listed.user["user_id"]
        if can_be_marked(user_id):
            self.marks.append(Mark(user_id, listed.failures + 1, error))
