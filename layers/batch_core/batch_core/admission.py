"""Which of the listed users a run asks for, and why not the others.

Everybody is listed and counted. Not asked are those who cannot be processed, those whose last
attempts failed and who are not due yet, and those for whom five minutes do not suffice: they are
carried over, and the next run begins with them, so that nobody starves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import batched
from math import ceil
from typing import Any, Final

from batch_core import chunks
from batch_core.back_off import BackOff, Standing
from batch_core.cursor import Cursor, is_cursor
from batch_core.error_classes import ErrorClass
from batch_core.errors import JobError
from batch_core.failures import Failures
from batch_core.job import User
from batch_core.limits import CHUNKS_PER_RUN, GROUPS_PER_CHUNK, USER_BYTES
from batch_core.outcomes import Outcome
from batch_core.ports import Candidate, HeldBack, LastRun
from batch_core.settings.list_users import ListUsersSettings

# How long a group may take at its share of the API's rate: what an invocation has is about 55 s,
# and a group that is over soon lets the run end soon.
_GROUP_SECONDS: Final = 10.0
_GROUP_SECONDS_MOST: Final = 40.0
# What a group may take at the pace of the last run. Calls come in rounds of as many as are in
# flight: with this the last of them, however long a round is, ends within an invocation.
_WHOLE_GROUP_SECONDS: Final = 20.0
# Ids that the database takes for equal, such as ab and AB, come in any order among themselves.
_ALIKE: Final = 100
# Were chunks cut smaller for few users, a tenant that grows tenfold overnight would not fit into
# `CHUNKS_PER_RUN` of them.
_LEAST_CHUNK: Final = 1_000


@dataclass(frozen=True, slots=True)
class Lanes:
    """Chunks at once, and groups at once in each of them."""

    chunks: int
    groups: int

    @property
    def at_once(self) -> int:
        """Groups at once in all."""
        return self.chunks * self.groups


@dataclass(frozen=True, slots=True)
class Plan:
    """How many users a run asks for, and how they are cut.

    Parameters
    ----------
    users
        At most so many; the others are carried over.
    chunk_size
        Users per chunk: whole groups.
    group_size
        Users per invocation.
    lanes
        How wide the run's Maps may be.
    """

    users: int
    chunk_size: int
    group_size: int
    lanes: Lanes


def plan(
    settings: ListUsersSettings, *, group_size: int, last: LastRun | None, seconds: float
) -> Plan:
    """Work out what fits into a run.

    Parameters
    ----------
    settings
        The widths of the Maps, the size of a chunk, and the API's rate.
    group_size
        Users per invocation.
    last
        What the run before found. Without one, only the rate and the sizes bound this run.
    seconds
        What the groups have.
    """
    lanes = lanes_of(settings, group_size)
    if rate := settings.api_requests_per_second:
        group_size = min(group_size, max(int(rate * _GROUP_SECONDS_MOST / lanes.at_once), 1))
    if last is not None and last.user_ms:
        # One that is cut off has asked its first users only, and the next run's would, too.
        group_size = min(group_size, max(int(_WHOLE_GROUP_SECONDS * 1000 / last.user_ms), 1))
    largest = _whole_groups(min(settings.chunk_size, GROUPS_PER_CHUNK * group_size), group_size)
    fits = CHUNKS_PER_RUN * largest
    # All of the time is planned: who turns out not to fit begins the next run.
    if rate:
        fits = min(fits, int(rate * seconds))
    if last is not None and last.user_ms:
        fits = min(fits, int(lanes.at_once * seconds * 1000 / last.user_ms))
    fits = max(fits, group_size)
    expected = fits
    if last is not None:
        expected = min(fits, max(last.listed, lanes.chunks * _LEAST_CHUNK))
    chunk_size = _even(expected, lanes.chunks, group_size=group_size, largest=largest)
    return Plan(min(fits, CHUNKS_PER_RUN * chunk_size), chunk_size, group_size, lanes)


def lanes_of(settings: ListUsersSettings, group_size: int) -> Lanes:
    """Say how wide a run is: as its parameters allow, or as the API's rate keeps busy.

    The rate is shared out among the groups that run at once. Shared among too many, it would leave
    none of them enough to end in time, and all of them would be paid for waiting.
    """
    wide = Lanes(settings.chunk_concurrency, settings.group_concurrency)
    rate = settings.api_requests_per_second
    busy = max(int(rate * _GROUP_SECONDS / group_size), 1)
    if not rate or busy >= wide.at_once:
        return wide
    chunks = ceil(busy / wide.groups)
    return Lanes(chunks, busy // chunks)


def narrowed(lanes: Lanes, most: int) -> Lanes:
    """Lanes of which at most so many groups run at once."""
    if lanes.at_once <= most:
        return lanes
    chunks = min(lanes.chunks, most)
    return Lanes(chunks, most // chunks)


def deal[T](users: Iterable[T], plan: Plan) -> Iterator[list[T]]:
    """Cut users into chunks such that the groups start, lane by lane, in the users' order.

    Chunks that run at once take turns in getting a group: when a run's time is over, those whose
    turn never came stand behind the others, and the next run can begin with the first of them.
    """
    for wave in batched(users, plan.chunk_size * plan.lanes.chunks, strict=False):
        groups = list(batched(wave, plan.group_size, strict=False))
        chunks = ceil(len(wave) / plan.chunk_size)
        for first in range(chunks):
            yield [user for group in groups[first::chunks] for user in group]


def _even(users: int, at_once: int, *, group_size: int, largest: int) -> int:
    """Say how large chunks are that leave no lane idle while others have their last one.

    A chunk has so many groups at once and no more, so as many chunks as may run at once use all of
    the lanes; more of them are cut to fill the lanes a whole number of times.
    """
    chunks = at_once * ceil(users / at_once / largest)
    if chunks > CHUNKS_PER_RUN:
        return largest
    return min(ceil(users / chunks / group_size) * group_size, largest)


def _whole_groups(users: int, group_size: int) -> int:
    """So many users at most, in whole groups; at least one group."""
    return max(users // group_size, 1) * group_size


@dataclass(slots=True)
class Admission:
    """Goes through the candidates once; what it yields is asked for, the rest is counted.

    Parameters
    ----------
    now
        The moment the run stands for, in milliseconds since 1970.
    limit
        How many users to admit.
    back_off
        When to ask again for users that failed; None asks for all of them.
    failures
        Takes down everybody who is not asked for.
    """

    now: int
    limit: int
    back_off: BackOff | None
    failures: Failures
    listed: int = 0
    admitted: int = 0
    next_user: Cursor | None = None
    _held_back: Counter[str] = field(default_factory=Counter)
    _recent: dict[Any, None] = field(default_factory=dict)

    def __call__(self, candidates: Iterable[Candidate]) -> Iterator[bytes]:
        """Yield each admitted user as it lies in a chunk.

        Raises
        ------
        JobError
            When the users query yields no `user_id`.
        """
        for candidate in candidates:
            if "user_id" not in candidate.user:
                raise JobError("the job's users query yields no column user_id; name one so")
            self.listed += 1
            text = self._admitted(candidate)
            if text is not None:
                self.admitted += 1
                yield text

    @property
    def held_back(self) -> HeldBack:
        """Those not asked for on purpose."""
        return HeldBack(**self._held_back)

    def _admitted(self, candidate: Candidate) -> bytes | None:
        user_id = candidate.user["user_id"]
        if self._was_listed(user_id):
            self.failures.add(Outcome.REJECTED, ErrorClass.LISTED_TWICE, user_id)
            return None
        try:
            text = checked(candidate.user, candidate.failures)
        except UnfitUserError as error:
            self.failures.add(Outcome.REJECTED, error.error_class, user_id)
            return None
        reason = self._reason_to_wait(candidate)
        if reason is None:
            return text
        self._held_back[reason] += 1
        self.failures.add(Outcome.SKIPPED, reason, user_id)
        return None

    def _was_listed(self, user_id: Any) -> bool:
        """Whether the query has yielded this user before: rows of one user follow each other."""
        if user_id is None:
            return False
        if user_id in self._recent:
            return True
        self._recent[user_id] = None
        if len(self._recent) > _ALIKE:
            del self._recent[next(iter(self._recent))]
        return False

    def _reason_to_wait(self, candidate: Candidate) -> str | None:
        if candidate.failures and self.back_off is not None:
            standing = self.back_off.standing(
                failures=candidate.failures, failed_at=candidate.failed_at, now=self.now
            )
            if standing is not Standing.DUE:
                return standing.value
        if self.admitted < self.limit:
            return None
        user_id = candidate.user["user_id"]
        if self.next_user is None and is_cursor(user_id):
            self.next_user = user_id
        return ErrorClass.CARRIED_OVER


class UnfitUserError(Exception):
    """A user cannot be written into a chunk."""

    def __init__(self, error_class: ErrorClass) -> None:
        super().__init__(error_class)
        self.error_class = error_class


def checked(user: User, failures: int) -> bytes:
    """Write a user as it lies in a chunk.

    Raises
    ------
    UnfitUserError
        When that is impossible, larger than `limits.USER_BYTES`, or the user has no id.
    """
    if user["user_id"] is None:
        raise UnfitUserError(ErrorClass.NO_USER_ID)
    try:
        text = chunks.serialise(user, failures)
    except TypeError as error:
        raise UnfitUserError(ErrorClass.NO_JSON_FORM) from error
    if len(text) > USER_BYTES:
        raise UnfitUserError(ErrorClass.USER_TOO_LARGE)
    return text
