"""Follows one user through a run, from the chunk that lists it to what became of it.

Logs name users by pseudonym, and not every one of them. The chunks name them all, which the
operator may read and a log reader may not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from batch_core.observability import pseudonym
from batchctl.errors import BatchctlError
from batchctl.replay.bucket import Bucket
from batchctl.run.collect import Collector
from batchctl.run.lines import CALL_API, PROCESS_USERS, Invocation


@dataclass(frozen=True, slots=True)
class Stop:
    """One thing that is known of the user; `at_ms` is None where nothing tells when."""

    at_ms: float | None
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Journey:
    """What is known of one user in one run.

    Parameters
    ----------
    pseudonym
        The user's name in the logs.
    chunk, group
        The slice of the run that the user travelled with; None when no chunk lists it.
    outcome
        What became of it, in words.
    certain
        Whether that was seen, and not only follows from what became of the group.
    """

    user: str
    pseudonym: str
    chunk: int | None
    group: int | None
    stops: Sequence[Stop]
    outcome: str
    certain: bool


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a user travels in a run, among how many of its group."""

    chunk: int
    group: int
    users: int

    @property
    def place(self) -> tuple[int, int]:
        """The chunk and the group."""
        return self.chunk, self.group


def follow(user: str, tenant: str, run_id: str, lines: Collector, bucket: Bucket) -> Journey:
    """Follow a user through a run.

    Raises BatchctlError when the bucket cannot be read, or no longer holds the run's chunks.
    """
    if lines.groups and not _chunks(bucket, run_id):
        raise BatchctlError(
            f"The chunks of the run {run_id} are no longer in the payload bucket, so nobody can"
            f" tell where user {user} was; in the logs the name is {pseudonym(tenant, user)}."
        )
    name = pseudonym(tenant, user)
    seat = find_user(bucket, run_id, user)
    stops = [*_listed(seat, lines), *_failed(name, lines)]
    outcome, certain = "not in this run: it was not listed, or held back for a later run", True
    if seat is not None:
        stops += [*_worked(seat.place, lines), *_received(seat.place, lines)]
        outcome, certain = _from_group(seat, lines)
    named = [each for each in lines.without_row if name in each.examples]
    if named:
        outcome, certain = f"{named[0].outcome}: {named[0].error}", True
    if seat is not None:
        for stop in _put_aside(bucket, run_id, seat.place, user):
            stops.append(stop)
            outcome, certain = f"rejected: {stop.what}", True
    return Journey(
        user=user,
        pseudonym=name,
        chunk=seat.chunk if seat else None,
        group=seat.group if seat else None,
        stops=sorted(stops, key=lambda stop: (stop.at_ms is None, stop.at_ms or 0)),
        outcome=outcome,
        certain=certain,
    )


def find_user(bucket: Bucket, run_id: str, user: str) -> Seat | None:
    """Where a user was listed, by the last holder of the lease."""
    keys = _chunks(bucket, run_id)
    for key in sorted(keys, key=_fence_and_chunk, reverse=True):
        for group, users in enumerate(groups_of(bucket.read(key))):
            if user in users:
                return Seat(_fence_and_chunk(key)[1], group, len(users))
    return None


def _chunks(bucket: Bucket, run_id: str) -> list[str]:
    return [entry.key for entry in bucket.entries(f"runs/{run_id}/") if "/chunks/" in entry.key]


def groups_of(body: bytes) -> Iterator[list[str]]:
    """The ids of the users of each group of a chunk: JSON lists, padded to one length."""
    decoder = json.JSONDecoder()
    text = body.decode()
    at = 0
    while at < len(text):
        users, at = decoder.raw_decode(text, at)
        yield [_id_of(entry) for entry in users]
        while at < len(text) and text[at] == " ":
            at += 1


def _id_of(entry: Any) -> str:
    """A user is an object, or one beside the failures that earlier runs count."""
    return str((entry[0] if isinstance(entry, list) else entry)["user_id"])


def _fence_and_chunk(key: str) -> tuple[int, int]:
    _, _, fence, _, chunk = key.split("/")
    return int(fence), int(chunk)


def _listed(seat: Seat | None, lines: Collector) -> Iterator[Stop]:
    for start in lines.starts:
        if start.decision == "process":
            where = "in no chunk" if seat is None else f"in chunk {seat.chunk}, group {seat.group}"
            yield Stop(start.at_ms, "List Users", where)


def _failed(name: str, lines: Collector) -> Iterator[Stop]:
    for each in lines.without_row:
        if name in each.examples:
            yield Stop(None, each.state, f"named without a row: {each.outcome}, {each.error}")


def _worked(place: tuple[int, int], lines: Collector) -> Iterator[Stop]:
    for state in (CALL_API, PROCESS_USERS):
        for line in lines.invocations:
            if line.slice == (state, *place):
                yield Stop(line.started_ms, state, _told(line))


def _told(line: Invocation) -> str:
    said = f"{line.duration.wall:,.0f} ms"
    if line.init:
        said += f", after a cold start of {line.init_ms:,.0f} ms"
    return said + (f", failed: {line.error or 'no answer'}" if line.failed or line.error else "")


def _received(place: tuple[int, int], lines: Collector) -> Iterator[Stop]:
    for each in lines.received:
        if place in each.groups:
            yield Stop(each.at_ms, "Write Rows", "received the rows of the group")


def _put_aside(bucket: Bucket, run_id: str, place: tuple[int, int], user: str) -> Iterator[Stop]:
    for entry in bucket.entries(f"quarantine/{run_id}/{place[0]}-{place[1]}-"):
        body = json.loads(bucket.read(entry.key))
        for rejected in body["rejected"]:
            if str(rejected["row"][0]) == user:
                yield Stop(
                    entry.modified.timestamp() * 1000,
                    "Write Rows",
                    f"put aside in {entry.key}: {rejected['error']}",
                )


def _of_failed_group(seat: Seat, lines: Collector) -> tuple[str, bool]:
    for each in lines.failed_groups:
        if (each.chunk, each.group) == seat.place and each.state:
            # It may have failed with its rows on the stream.
            certain = not any(seat.place in received.groups for received in lines.received)
            return f"retry_later: the group failed in {each.state}: {each.error}", certain
    return "retry_later: the group was not processed", False


def _from_group(seat: Seat, lines: Collector) -> tuple[str, bool]:
    """What follows for a user from what became of the group."""
    processed = [each for each in lines.invocations if each.slice == (PROCESS_USERS, *seat.place)]
    if all(line.failed for line in processed):
        return _of_failed_group(seat, lines)
    rows = max(line.meter.get("rows", 0) for line in processed)
    own = [each for each in lines.without_row if (each.chunk, each.group) == seat.place]
    others = ", ".join(f"{each.users:,} {each.outcome} ({each.error})" for each in own)
    if rows == 0 and not own:
        return "unchanged: there was nothing new for anyone of the group", True
    if rows and not any(seat.place in each.groups for each in lines.received):
        return "put on the stream, if there was anything new, and not received yet", False
    likely = (
        "stored"
        if rows + sum(each.users for each in own) == seat.users
        else ("stored or unchanged" if rows else "unchanged")
    )
    if own:
        return f"{likely}, unless among those of the group that have no row: {others}", False
    return f"{likely}: nobody of the group failed", False
