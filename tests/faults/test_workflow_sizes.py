"""Payloads near what a state may hold. The executor itself fails a test that comes too near."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_core.breaker import Breakers
from batch_core.call_api import ChunkReader, call_api
from batch_core.chunks import Chunk, pack, serialise
from batch_core.job import Job, Request, Response, Row, Table, User
from batch_core.limits import (
    API_BODY_BYTES,
    CHUNKS_PER_RUN,
    GROUPS_PER_CHUNK,
    ITERATION_RESULT_BYTES,
    STATE_BYTES,
)
from batch_core.outcomes import Tally
from batch_core.process_users import process_users
from batchctl.local.sql_server import series
from tests.faults.conftest import Lab
from tests.support.asl import MOST_STATE_BYTES, Execution, Machine, StatesError, render, state_bytes
from tests.support.event_source_mapping import Clock, MemoryStream
from tests.support.fakes import FakePayloadStore
from tests.support.fakes_api import FakeApi, Served
from tests.support.jsonata import Jsonata
from tests.support.stream_lab import run_of
from tests.support.tenant import Tenant

USERS = 6
GROUP = 3
# Letters of one to four bytes, and some that JSON writes as two or six.
ALPHABETS = ["ab", "é", "字書", "🙂🙃", '"\\', "\x01\x02", 'aé字🙂"\n']


def text_of(alphabet: str, size: int, seed: int) -> str:
    """About so many bytes of text that hardly compresses, if it has more than one letter."""
    letters = size // len(alphabet[0].encode())
    return "".join(random.Random(seed).choices(alphabet, k=letters))


class Bodies:
    """A workflow whose API answers each user with a body of this text, and a job that keeps it."""

    def __init__(self, jsonata: Jsonata, texts: list[str]) -> None:
        self.store = FakePayloadStore()
        self.stream = MemoryStream(Clock())
        self._run = replace(run_of(1_769_854_800_000), group_size=GROUP)
        self._reader = ChunkReader(self.store)
        self._breakers = Breakers()
        self._api = FakeApi()
        for user, text in enumerate(texts):
            body = json.dumps(text, ensure_ascii=False).encode()
            # What is beyond it never gets past the real client.
            assert len(body) <= API_BODY_BYTES
            self._api.serve(f"/{user}", Served(200, body))
        self._machine = Machine(render(), jsonata, self._invoke)
        self._functions: dict[str, Callable[[Any], Any]] = {
            "list_users": self._list_users,
            "call_api": self._call_api,
            "process_users": self._process_users,
            "finish_run": lambda payload: {"status": "completed", "told": payload},
        }

    def run(self) -> Execution:
        return self._machine.execute({})

    def _invoke(self, function: str, payload: Any) -> Any:
        return self._functions[function](payload)

    def _list_users(self, _payload: Any) -> Any:
        users = [serialise({"user_id": user}) for user in range(USERS)]
        body, groups, stride = pack(users, GROUP)
        chunk = Chunk(n=0, users=USERS, groups=groups, stride=stride, etag="")
        etag = self.store.put(chunk.key(self._run), body, metadata={})
        return {
            "decision": "process",
            "run": self._run.to_json(),
            "listed": USERS,
            "tally": Tally().to_json(),
            "held_back": {"backing_off": 0, "quarantined": 0, "carried_over": 0},
            "lanes": {"chunks": 4, "groups": 10},
            "chunks": [replace(chunk, etag=etag).to_json()],
        }

    def _call_api(self, payload: Any) -> Any:
        return call_api(
            payload,
            tenant="demo",
            job=KEEPS,
            reader=self._reader,
            store=self.store,
            api=self._api,
            breakers=self._breakers,
            seconds=60,
            now=lambda: 0,
        )

    def _process_users(self, payload: Any) -> Any:
        return process_users(
            payload, tenant="demo", job=KEEPS, store=self.store, stream=self.stream
        )


def keep(_user: User, response: Response) -> Row:
    return {"text": response.json()}


KEEPS = Job(
    users="",
    table=Table("texts", columns=("text",)),
    request=lambda user: Request(path=f"/{user['user_id']}"),
    process=keep,
)


@pytest.mark.fault(19)
def test_whatever_the_size_and_the_letters_of_the_answers_no_state_grows_with_them(
    lab: Lab, jsonata: Jsonata
) -> None:
    seen = {"runs": 0, "users": 0, "accounted": 0}

    @settings(max_examples=25, deadline=None)
    @given(
        sizes=st.lists(
            st.sampled_from([0, 1_300, 4_000, 9_900, 15_000, 40_000, 100_000]),
            min_size=USERS,
            max_size=USERS,
        ),
        alphabet=st.sampled_from(ALPHABETS),
        seed=st.integers(0, 99),
    )
    def check(sizes: list[int], alphabet: str, seed: int) -> None:
        texts = [text_of(alphabet, size, seed + user) for user, size in enumerate(sizes)]
        execution = Bodies(jsonata, [text[:40_000] for text in texts]).run()
        told = execution.output["told"]
        tally = Tally.from_json(told["tally"])
        assert told["failures"] == []
        assert execution.max_state_bytes < STATE_BYTES
        seen["runs"] += 1
        seen["users"] += USERS
        seen["accounted"] += tally.queued + tally.settled

    check()
    lab.report(
        "answers of up to 240 KB, of one to six bytes a letter",
        times=seen["runs"],
        users=seen["users"],
        accounted=seen["accounted"],
    )


@pytest.mark.fault(19)
@pytest.mark.parametrize("letter", ["x", "字", "🙂", '"', "\x01"])
def test_whatever_the_functions_say_when_they_fail_the_widest_map_stays_below_the_limit(
    lab: Lab, jsonata: Jsonata, letter: str
) -> None:
    users = GROUPS_PER_CHUNK * 100

    execution = Machine(render(), jsonata, Complaining(users, letter)).execute({})

    told = execution.output["told"]
    assert execution.largest["For Each Group iteration"] <= ITERATION_RESULT_BYTES
    assert execution.max_state_bytes <= MOST_STATE_BYTES
    lab.report(
        "every group of the widest chunk fails with 9,000 letters",
        times=GROUPS_PER_CHUNK,
        users=users,
        accounted=told["tally"]["retry_later"],
    )


class Complaining:
    """Functions whose groups all fail with a long text."""

    def __init__(self, users: int, letter: str) -> None:
        self._users = users
        self._cause = json.dumps({"errorMessage": letter * 9_000}, ensure_ascii=False)

    def __call__(self, function: str, payload: Any) -> Any:
        if function == "call_api":
            raise StatesError("E" * 500, self._cause)
        if function == "finish_run":
            return {"status": "completed", "told": payload}
        groups = -(-self._users // 100)
        chunk = {"n": 99, "users": self._users, "groups": groups, "stride": 400_000}
        return {
            "decision": "process",
            "run": run_of(1_769_854_800_000).to_json(),
            "listed": self._users,
            "tally": Tally().to_json(),
            "held_back": {"backing_off": 0, "quarantined": 0, "carried_over": 0},
            "lanes": {"chunks": 4, "groups": 10},
            "chunks": [{**chunk, "etag": "d41d8cd98f00b204e9800998ecf8427e"}],
        }


@pytest.mark.fault(19)
def test_a_hundred_thousand_users_are_listed_in_a_state_that_is_as_small_as_for_a_few(
    lab: Lab, tenant: Tenant
) -> None:
    users = 100_000
    tenant.configure(CHUNK_SIZE="1000", USERS_PER_INVOCATION="100")
    tenant.sql(f"INSERT INTO users SELECT seq, CONCAT('u-', seq), 1 FROM {series(1, users)}")

    listing = tenant.invoke(
        "list_users",
        {"scheduled_time": None, "started_at": tenant.started.isoformat(), "execution": "one"},
    )

    assert len(listing["chunks"]) == CHUNKS_PER_RUN
    assert state_bytes(listing) < STATE_BYTES
    lab.report(
        "100,000 users in the most chunks a run may have",
        times=1,
        users=users,
        accounted=sum(chunk["users"] for chunk in listing["chunks"]),
    )
