"""Call API and Process Users, wired as they are deployed: a scripted API, and AWS by moto."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from batch_core.adapters import api_secret
from batch_core.adapters.api_secret import ApiSecret
from batch_core.adapters.s3 import S3PayloadStore
from batch_core.chunks import Chunk, pack, serialise
from batch_core.codec import dump_json
from batch_core.errors import ConfigurationError
from batch_core.job import Request
from batch_core.outcomes import Tally
from batch_core.records import decode
from batch_core.run import Run
from functions.call_api import app as call_api
from functions.process_users import app as process_users
from sampleapi.activity import activity
from tests.support.etags import bound
from tests.support.functions import CONTEXT, execution_environments, on_the_stream, secret
from tests.support.scripted_server import ScriptedServer, answer

RUN = Run(
    id="demo-20260131T102000Z",
    version=1769854800000,
    fence=1,
    group_size=10,
    requests_per_second=0,
    ends_at=9e9,
)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """Set what the template sets, for a tenant whose API wants a secret."""
    with ScriptedServer() as server:
        variables = {
            "API_BASE_URL": f"{server.url}/demo/",
            "API_CONCURRENCY": "5",
            "API_TIMEOUT_SECONDS": "10",
            "API_ALLOW_PRIVATE_ADDRESSES": "true",
        }
        with execution_environments(monkeypatch, variables):
            monkeypatch.setenv("API_SECRET_ARN", secret("api", "s3cret\n"))
            yield server


def listed(users: list[dict[str, Any]]) -> Chunk:
    body, groups, stride = pack([serialise(user) for user in users], RUN.group_size)
    etag = S3PayloadStore("payloads").put(f"{RUN.prefix}/chunks/0", body, metadata={})
    return Chunk(0, len(users), groups, stride, etag)


def test_users_go_from_the_chunk_through_the_api_onto_the_stream(api: ScriptedServer) -> None:
    users = [{"user_id": n, "account": f"acct-{n}", "etag": None} for n in range(25)]
    for user in users:
        body = dump_json(activity("demo", str(user["account"]), 0))
        api.on(f"/demo/users/{user['account']}/activity", answer(200, body, ETag='"1"'))
    api.on("/demo/users/acct-3/activity", answer(404))
    api.on("/demo/users/acct-4/activity", answer(200, b"{}"))
    chunk = listed(users)

    tallies, stored = [], []
    for group in range(chunk.groups):
        event = {"run": RUN.to_json(), "chunk": chunk.to_json(), "group": group}
        called = call_api.lambda_handler(event, CONTEXT)
        tallies.append(process_users.lambda_handler({**event, **called}, CONTEXT))
    for data in on_the_stream():
        record = decode(data)
        assert (record.run_id, record.version) == (RUN.id, RUN.version)
        stored += [dict(zip(record.columns, row, strict=True)) for row in record.rows]

    assert [Tally.from_json(tally) for tally in tallies] == [
        Tally(queued=8, rejected=2),
        Tally(queued=10),
        Tally(queued=5),
    ]
    assert sorted(row["user_id"] for row in stored) == [n for n in range(25) if n not in {3, 4}]
    for row in stored:
        assert row["note"] == activity("demo", f"acct-{row['user_id']}", 0)["note"]
        assert row["etag"].startswith('"1"#')
    # Each user asked for once, with the secret, over the connections of one environment.
    assert sorted(r.target for r in api.received) == sorted(
        f"/demo/users/{user['account']}/activity" for user in users
    )
    assert {r.headers["authorization"] for r in api.received} == {"Bearer s3cret"}
    assert api.connections <= 5


def test_a_known_etag_makes_its_user_unchanged_and_puts_nothing(api: ScriptedServer) -> None:
    asked = Request("/users/a/activity")
    etag = bound('"1"', asked, base_url=f"{api.url}/demo")
    chunk = listed([{"user_id": 1, "account": "a", "etag": etag}])
    api.on("/demo/users/a/activity", answer(304))
    event = {"run": RUN.to_json(), "chunk": chunk.to_json(), "group": 0}
    called = call_api.lambda_handler(event, CONTEXT)
    tally = process_users.lambda_handler({**event, **called}, CONTEXT)
    assert Tally.from_json(tally) == Tally(unchanged=1)
    assert on_the_stream() == []
    assert api.received[0].headers["if-none-match"] == '"1"'


# --- the secret -------------------------------------------------------------------------------


class Vault:
    """A secret that can be changed, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.text = "first"
        self.reads = 0
        self.now = 1_000_000.0
        monkeypatch.setattr(api_secret, "secret_text", self.read)
        monkeypatch.setattr("batch_core.adapters.api_secret.time.time", lambda: self.now)

    def read(self, _arn: str) -> str:
        self.reads += 1
        return self.text


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Vault:
    return Vault(monkeypatch)


def test_the_secret_is_read_once_in_five_minutes(vault: Vault) -> None:
    secret = ApiSecret("arn")
    assert [secret() for _ in range(3)] == ["first"] * 3
    vault.text = "rotated"
    vault.now += api_secret.SECONDS - 1
    assert secret() == "first"
    assert vault.reads == 1
    vault.now += 1
    assert secret() == "rotated"


def test_a_tenant_without_a_secret_sends_none(vault: Vault) -> None:
    assert ApiSecret("")() is None
    assert vault.reads == 0


@pytest.mark.parametrize("text", ["", "\n", "a\r\nHost: evil.example", "caf\u00e9", "a\x00b"])
def test_a_secret_that_is_no_header_is_told_without_being_shown(vault: Vault, text: str) -> None:
    vault.text = text
    with pytest.raises(ConfigurationError, match="the secret arn:x must be one line") as caught:
        ApiSecret("arn:x")()
    assert "evil" not in str(caught.value)
