"""Chunks and claims that are gone, are not the ones meant, or that S3 does not give.

The workflow runs on the reference engine with the real functions behind List Users, S3 is moto's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest

from batch_core import claims
from batch_core.adapters.s3 import S3PayloadStore
from batch_core.answers import Answered
from batch_core.breaker import Breakers
from batch_core.call_api import ChunkReader, call_api
from batch_core.chunks import Chunk, pack, serialise
from batch_core.job import Response
from batch_core.outcomes import Tally
from batch_core.process_users import process_users
from batch_core.records import decode
from batch_core.run import Run
from job import JOB
from sampleapi.activity import activity
from tests.faults.conftest import Lab
from tests.support.answers import gathered
from tests.support.asl import Execution, Machine, render
from tests.support.aws_faults import (
    AwsFaults,
    Fault,
    altered,
    as_always,
    s3_error,
    truncated,
    unreached,
)
from tests.support.event_source_mapping import Clock, MemoryStream, Settings
from tests.support.fakes_api import FakeApi, Served
from tests.support.functions import execution_environments
from tests.support.jsonata import Jsonata
from tests.support.stream_lab import FIRST_VERSION, Group, StreamLab, row, run_of

GROUP = 20
CHUNK = 40


def body_for(user: int) -> bytes:
    """What the API answers about a user."""
    return json.dumps(activity("demo", f"u-{user}", 1)).encode()


def row_for(user: int) -> dict[str, Any]:
    """The row that follows from it, as it lies on the stream."""
    made = JOB.process({"account": f"u-{user}"}, Response(200, body_for(user)))
    row: dict[str, Any] = json.loads(json.dumps(made))
    return row


class PayloadLab:
    """One tenant's bucket, API and stream, and the workflow between them."""

    def __init__(self, jsonata: Jsonata) -> None:
        self.store = S3PayloadStore("payloads")
        self.stream = MemoryStream(Clock())
        self.before: dict[str, Callable[[dict[str, Any]], object]] = {}
        self._jsonata = jsonata
        self._reader = ChunkReader(self.store)
        self._breakers = Breakers()
        self._api = FakeApi()
        self.listed = 0
        self.tally = Tally()
        self._users = range(0)
        self._version = FIRST_VERSION
        self._group_size = GROUP

    def run(self, users: int, *, first: int = 1, group_size: int = GROUP) -> Execution:
        """Execute the workflow for so many users, as the next run."""
        self._version += 1
        self._users, self._group_size = range(first, first + users), group_size
        self.listed += users
        for user in self._users:
            self._api.serve(f"/users/u-{user}/activity", Served(200, body_for(user)))
        return Machine(render(), self._jsonata, self._invoke).execute({})

    @property
    def rows(self) -> list[tuple[int, dict[str, Any]]]:
        """The user and the row of everything on the stream."""
        records = [decode(item.data) for shard in self.stream.shards for item in shard.records]
        return [
            (values[0], dict(zip(record.columns[1:], values[1:], strict=True)))
            for record in records
            for values in record.rows
        ]

    @property
    def asked(self) -> list[str]:
        """The accounts that the API was asked about."""
        return [request.path.split("/")[2] for request in self._api.asked]

    def _invoke(self, function: str, payload: Any) -> Any:
        if spoil := self.before.get(function):
            # Inputs may be spoilt in place.
            spoil(payload)
        return getattr(self, f"_{function}")(payload)

    def _list_users(self, _payload: Any) -> dict[str, Any]:
        run = replace(run_of(self._version), group_size=self._group_size)
        users = [serialise({"user_id": n, "account": f"u-{n}", "etag": None}) for n in self._users]
        chunks = []
        for n, start in enumerate(range(0, len(users), CHUNK)):
            own = users[start : start + CHUNK]
            body, groups, stride = pack(own, run.group_size)
            chunk = Chunk(n=n, users=len(own), groups=groups, stride=stride, etag="")
            etag = self.store.put(chunk.key(run), body, metadata={})
            chunks.append(replace(chunk, etag=etag).to_json())
        return {
            "decision": "process",
            "run": run.to_json(),
            "listed": len(users),
            "tally": Tally().to_json(),
            "held_back": {"backing_off": 0, "quarantined": 0, "carried_over": 0},
            "lanes": {"chunks": 4, "groups": 10},
            "chunks": chunks,
        }

    def _call_api(self, payload: Any) -> Any:
        return call_api(
            payload,
            tenant="demo",
            job=JOB,
            reader=self._reader,
            store=self.store,
            api=self._api,
            breakers=self._breakers,
            seconds=60,
            now=lambda: 0,
        )

    def _process_users(self, payload: Any) -> Any:
        return process_users(payload, tenant="demo", job=JOB, store=self.store, stream=self.stream)

    def _finish_run(self, payload: Any) -> Any:
        self.tally += Tally.from_json(payload["tally"])
        return {"status": "completed", "unaccounted": 0, "reason": "", "told": payload}


@pytest.fixture
def payload_lab(jsonata: Jsonata, monkeypatch: pytest.MonkeyPatch) -> Iterator[PayloadLab]:
    # However small, every claim is an object.
    monkeypatch.setattr(claims, "CLAIM_INLINE_BYTES", 0)
    monkeypatch.setattr(claims, "CLAIM_COMPRESSED_BYTES", 0)
    with execution_environments(monkeypatch, {}):
        yield PayloadLab(jsonata)


def told(execution: Execution) -> tuple[Tally, list[str]]:
    """What Finish Run is told: the tally, and the errors of the failed groups."""
    assert execution.status == "SUCCEEDED"
    given = execution.output["told"]
    return Tally.from_json(given["tally"]), [failure["error"] for failure in given["failures"]]


def delete(key: str) -> None:
    boto3.client("s3").delete_object(Bucket="payloads", Key=key)


def overwrite(key: str, body: bytes) -> None:
    S3PayloadStore("payloads").put(key, body, metadata={})


def other_users(payload: dict[str, Any]) -> None:
    """Overwrite the chunk with another one of the same shape."""
    key = chunk_key(payload)
    body = S3PayloadStore("payloads").get(key)
    overwrite(key, body.replace(b'"u-2', b'"u-3'))


def is_group(payload: dict[str, Any], chunk: int, group: int) -> bool:
    return (payload["chunk"]["n"], payload["group"]) == (chunk, group)


def chunk_key(payload: dict[str, Any]) -> str:
    return Chunk.from_json(payload["chunk"]).key(Run.from_json(payload["run"]))


type Spoil = Callable[[dict[str, Any]], object]


def one_group(spoil: Spoil) -> Spoil:
    """Spoil what the second group of the first chunk finds."""
    return lambda payload: spoil(payload) if is_group(payload, 0, 1) else None


def another_runs_claim(payload: dict[str, Any]) -> None:
    run = replace(Run.from_json(payload["run"]), id="demo-19700101T000000Z")
    payload["claim"] = claims.put(
        gathered(()), run=run, name="0/1", store=S3PayloadStore("payloads")
    )


def same_length(payload: dict[str, Any]) -> None:
    claim = payload["claim"]
    overwrite(claim["key"], bytes(claim["bytes"]))


def valid_but_other(payload: dict[str, Any]) -> None:
    """An answer for another user, well formed, of the length that the claim names."""
    run, store = Run.from_json(payload["run"]), S3PayloadStore("payloads")
    others = gathered([Answered({"user_id": 1}, 0, Response(200, b"{}"))])
    other = claims.put(others, run=run, name="0/1", store=store)
    payload["claim"]["bytes"] = other["bytes"]


GONE: dict[str, tuple[str, Spoil]] = {
    "a chunk deleted": ("call_api", one_group(lambda p: delete(chunk_key(p)))),
    "a claim deleted": ("process_users", one_group(lambda p: delete(p["claim"]["key"]))),
}

NOT_THE_ONE: dict[str, tuple[str, Spoil, str]] = {
    "a chunk overwritten": (
        "call_api",
        one_group(lambda p: overwrite(chunk_key(p), b"[]")),
        "PayloadAlteredError",
    ),
    "a chunk overwritten by other users": (
        "call_api",
        one_group(other_users),
        "PayloadAlteredError",
    ),
    "a claim cut short": (
        "process_users",
        one_group(lambda p: overwrite(p["claim"]["key"], b"short")),
        "PayloadAlteredError",
    ),
    "a claim overwritten at the same length": (
        "process_users",
        one_group(same_length),
        "PayloadAlteredError",
    ),
    "a claim overwritten by valid answers": (
        "process_users",
        one_group(valid_but_other),
        "PayloadAlteredError",
    ),
    "a claim of another run": (
        "process_users",
        one_group(another_runs_claim),
        "PayloadForeignError",
    ),
}


@pytest.mark.fault(40)
@pytest.mark.parametrize("injected", GONE)
def test_the_users_of_an_object_that_is_gone_are_left_for_the_next_run(
    lab: Lab, payload_lab: PayloadLab, injected: str
) -> None:
    function, spoil = GONE[injected]
    payload_lab.before[function] = spoil

    tally, errors = told(payload_lab.run(110))

    assert errors == ["PayloadMissingError"]
    assert tally == Tally(queued=90, retry_later=GROUP)
    report(lab, payload_lab, injected)


@pytest.mark.fault(40)
def test_the_run_after_it_finds_everybody_again(lab: Lab, payload_lab: PayloadLab) -> None:
    payload_lab.before["call_api"] = lambda p: delete(chunk_key(p))
    tally, errors = told(payload_lab.run(30))
    assert tally == Tally(retry_later=30)
    del payload_lab.before["call_api"]

    tally, _ = told(payload_lab.run(30))

    assert tally == Tally(queued=30)
    report(lab, payload_lab, "every chunk deleted, then another run", times=len(errors))


@pytest.mark.fault(41)
@pytest.mark.parametrize("injected", NOT_THE_ONE)
def test_an_object_that_is_not_the_one_meant_is_never_used(
    lab: Lab, payload_lab: PayloadLab, injected: str
) -> None:
    function, spoil, error = NOT_THE_ONE[injected]
    payload_lab.before[function] = spoil

    tally, errors = told(payload_lab.run(110))

    assert errors == [error]
    assert tally == Tally(queued=90, retry_later=GROUP)
    report(lab, payload_lab, injected)


@pytest.mark.fault(41)
def test_a_warm_environment_never_serves_the_chunk_of_an_earlier_run(
    lab: Lab, payload_lab: PayloadLab
) -> None:
    """Small groups share one read of their chunk, which the environment keeps."""
    told(payload_lab.run(6, group_size=2))
    before = len(payload_lab.asked)

    told(payload_lab.run(4, first=5, group_size=2))

    assert payload_lab.asked[before:] == ["u-5", "u-6", "u-7", "u-8"]
    report(lab, payload_lab, "a chunk kept from the run before")


def report(lab: Lab, payload_lab: PayloadLab, injected: str, *, times: int = 1) -> None:
    """Every user has an outcome or a row on the stream, and the row is that user's own."""
    rows = payload_lab.rows
    lab.report(
        injected,
        times=times,
        users=payload_lab.listed,
        accounted=payload_lab.tally.settled + len(rows),
        lost=sum(row != row_for(user) for user, row in rows),
    )


# --- 42: S3 itself ----------------------------------------------------------------------------

SLOW_DOWN = s3_error(503, "SlowDown")
INTERNAL = s3_error(500, "InternalError")

PASSING: dict[str, tuple[str, list[Fault]]] = {
    "503 SlowDown, three times, to a read": ("GetObject", [SLOW_DOWN] * 3),
    "500, three times, to a read": ("GetObject", [INTERNAL] * 3),
    "503 SlowDown, three times, to a write": ("PutObject", [SLOW_DOWN] * 3),
    "500, three times, to a write": ("PutObject", [INTERNAL] * 3),
    "no connection, three times, to read": ("GetObject", [unreached] * 3),
    "a body that breaks off, twice": ("GetObject", [truncated] * 2),
    # Of the claim: S3 has no checksum for a slice of a chunk, which TLS alone guards.
    "a body that fails its checksum, twice": ("GetObject", [as_always, altered, altered]),
}


@pytest.mark.fault(42)
@pytest.mark.parametrize("injected", PASSING)
def test_what_passes_is_not_noticed(
    lab: Lab, payload_lab: PayloadLab, aws_faults: AwsFaults, injected: str
) -> None:
    operation, faults = PASSING[injected]
    # The first read is the chunk's, the first writes are the chunks' own.
    aws_faults.script(operation, *faults)

    tally, errors = told(payload_lab.run(40))

    assert errors == []
    assert tally == Tally(queued=40)
    report(lab, payload_lab, injected, times=aws_faults.injected[operation])


LASTING: dict[str, tuple[str, list[Fault]]] = {
    "503 SlowDown to every read of a chunk": ("GetObject", [SLOW_DOWN] * 4),
    "no connection for a read of a chunk": ("GetObject", [unreached] * 4),
    "every read of a chunk broken off": ("GetObject", [truncated] * 3),
    "every read of a claim fails its checksum": ("GetObject", [as_always, *[altered] * 3]),
    "503 SlowDown to every write of a claim": ("PutObject", [as_always, *[SLOW_DOWN] * 4]),
}


@pytest.mark.fault(42)
@pytest.mark.parametrize("injected", LASTING)
def test_what_lasts_costs_one_group_its_turn(
    lab: Lab, payload_lab: PayloadLab, aws_faults: AwsFaults, injected: str
) -> None:
    operation, faults = LASTING[injected]
    aws_faults.script(operation, *faults)

    tally, errors = told(payload_lab.run(40))

    assert errors == ["PayloadError"]
    assert tally == Tally(queued=20, retry_later=20)
    report(lab, payload_lab, injected, times=aws_faults.injected[operation])


@pytest.mark.fault(42)
def test_a_batch_is_not_done_before_its_poison_is_put_aside(
    lab: Lab, stream_lab: StreamLab, aws_faults: AwsFaults
) -> None:
    rows = {user: row(f"good {user}") for user in range(1, 11)}
    stream_lab.put(Group(FIRST_VERSION, 0, rows | {4: row("x" * 501)}))
    del stream_lab.newest[4]
    aws_faults.script("PutObject", *[SLOW_DOWN] * 8)
    mapping = stream_lab.mapping(settings=Settings.of_write_rows())
    mapping.drain()

    assert len(mapping.invocations) == 3
    assert [kept["rejected"][0]["row"][0] for kept in stream_lab.quarantine.values()] == [4]
    lab.report(
        "503 SlowDown while a poison row is put aside, for two deliveries",
        times=aws_faults.injected["PutObject"],
        users=stream_lab.rows_put,
        accounted=stream_lab.tally.settled,
        lost=stream_lab.lost,
    )
