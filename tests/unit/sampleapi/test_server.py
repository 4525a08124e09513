from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from email.message import Message
from http.client import HTTPConnection, IncompleteRead, RemoteDisconnected
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from sampleapi.activity import activity
from sampleapi.admin import SampleApiAdmin
from sampleapi.scores import score
from tests.support.sample_api import sample_api


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with sample_api() as url:
        yield url


@pytest.fixture
def admin(url: str) -> SampleApiAdmin:
    admin = SampleApiAdmin(url, "acme")
    admin.reset()
    return admin


def call(
    url: str, path: str, *, method: str = "GET", body: Any = None, **headers: str
) -> tuple[int, Any, Message]:
    text = None if body is None else json.dumps(body)
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=10)) as connection:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, text, names)
        with connection.getresponse() as response:
            content = response.read()
            return response.status, json.loads(content) if content else None, response.headers


def get(url: str, account: str = "u-000001", **headers: str) -> tuple[int, Any, str | None]:
    status, body, answered = call(url, f"/acme/users/{account}/activity", **headers)
    return status, body, answered.get("ETag")


def test_it_serves_the_activity_that_the_pure_function_tells(
    url: str, admin: SampleApiAdmin
) -> None:
    assert get(url)[:2] == (200, activity("acme", "u-000001", 0))


def test_an_answer_is_about_half_a_kilobyte() -> None:
    sizes = [len(json.dumps(activity("acme", f"u-{n}", 0), ensure_ascii=False)) for n in range(100)]

    assert 300 < sum(sizes) / 100 < 600


def test_the_etag_of_an_unchanged_user_is_answered_304_without_a_body(
    url: str, admin: SampleApiAdmin
) -> None:
    _, _, etag = get(url)

    assert get(url, If_None_Match=str(etag)) == (304, None, etag)
    assert admin.stats()["not_modified"] == 1


def test_a_touched_user_has_a_new_activity_and_a_new_etag(url: str, admin: SampleApiAdmin) -> None:
    _, _, etag = get(url, "u-7")

    admin.touch("u-7")

    revision = admin.revisions()["u-7"]
    assert get(url, "u-7", If_None_Match=str(etag))[:2] == (200, activity("acme", "u-7", revision))


def test_tenants_differ(url: str, admin: SampleApiAdmin) -> None:
    admin.settings(error_rate=1)

    assert get(url)[0] == 500
    assert call(url, "/globex/users/u-000001/activity")[0] == 200
    assert activity("acme", "u-1", 0) != activity("globex", "u-1", 0)


def test_failures_are_drawn_from_the_seed_and_not_from_the_order(
    url: str, admin: SampleApiAdmin
) -> None:
    def failing(accounts: list[str], seed: int) -> set[str]:
        admin.reset()
        admin.settings(error_rate=0.3, seed=seed)
        return {account for account in accounts if get(url, account)[0] == 500}

    accounts = [f"u-{n}" for n in range(100)]

    first = failing(accounts, 1)
    assert failing(accounts[::-1], 1) == first
    assert failing(accounts, 2) != first
    assert 15 <= len(first) <= 45


def test_a_throttled_request_says_when_to_come_back(url: str, admin: SampleApiAdmin) -> None:
    admin.settings(throttle_rate=1, retry_after="17")

    status, _, headers = call(url, "/acme/users/u-1/activity")

    assert (status, headers["Retry-After"]) == (429, "17")


def test_more_than_the_allowed_rate_is_throttled(url: str, admin: SampleApiAdmin) -> None:
    admin.settings(rate_limit_rps=0.001)

    assert [get(url)[0] for _ in range(3)] == [200, 429, 429]


def test_the_same_settings_given_again_fail_the_same_requests_again(
    url: str, admin: SampleApiAdmin
) -> None:
    def failing() -> list[int]:
        admin.settings(error_rate=0.5, seed=3)
        return [get(url, f"u-{n}")[0] for n in range(40)]

    assert failing() == failing()


def test_an_account_may_hold_a_slash_and_a_percent_sign(url: str, admin: SampleApiAdmin) -> None:
    for account in ("ann/7", "a%41", "日本"):
        assert get(url, quote(account, safe=""))[1]["account"] == account


def test_scripted_answers_come_in_order_and_then_the_usual_one(
    url: str, admin: SampleApiAdmin
) -> None:
    admin.script({"u-1": [{"status": 503}, {"status": 200, "body": "[1]"}]})

    assert [get(url, "u-1")[:2] for _ in range(3)] == [
        (503, None),
        (200, [1]),
        (200, activity("acme", "u-1", 0)),
    ]


def test_a_repeated_answer_never_ends(url: str, admin: SampleApiAdmin) -> None:
    admin.script({"u-1": [{"status": 500, "repeat": True}]})

    assert [get(url, "u-1")[0] for _ in range(3)] == [500] * 3


def test_a_connection_can_be_dropped(url: str, admin: SampleApiAdmin) -> None:
    admin.script({"u-1": [{"close": True}]})

    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        get(url, "u-1")


def test_a_body_can_be_cut(url: str, admin: SampleApiAdmin) -> None:
    admin.script({"u-1": [{"body": "{}", "truncate": True}]})

    with pytest.raises((IncompleteRead, ConnectionResetError)):
        get(url, "u-1")


def test_a_score_needs_the_customers_own_credential(url: str, admin: SampleApiAdmin) -> None:
    question = {"customer": {"id": "c-1"}}

    mine = call(url, "/acme/scores", method="POST", body=question, Authorization="Bearer token-c-1")
    other = call(url, "/acme/scores", method="POST", body=question, Authorization="Bearer token-x")

    assert mine[:2] == (200, score("c-1"))
    assert other[0] == 401


def test_requests_are_counted_by_status_and_by_user(url: str, admin: SampleApiAdmin) -> None:
    get(url, "u-1")
    get(url, "u-1")
    admin.script({"u-2": [{"status": 404}]})
    get(url, "u-2")

    stats = admin.stats(per_user=True)

    assert stats["requests"] == 3
    assert stats["by_status"] == {"200": 2, "404": 1}
    assert stats["per_user"] == {"u-1": 2, "u-2": 1}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"error_rate": 1.5}, "error_rate is a share"),
        ({"latency_ms": -1}, "latency_ms must not be negative"),
        ({"latency_ms": "long"}, "latency_ms must be a number"),
        ({"retry_after": 3}, "retry_after must be printable text"),
        ({"retry_after": "1\r\nX: y"}, "retry_after must be printable text"),
        ({"latency_ms": float("nan")}, "latency_ms must be a number"),
        ({"error_rate": 0.6, "throttle_rate": 0.6}, "together are more than 1"),
        ({"latencyMs": 1}, "latencyMs is not a setting"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(
    admin: SampleApiAdmin, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        admin.settings(**values)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ([{"stauts": 500}], "u-1 may have"),
        ([{"status": "500"}], "status of u-1"),
        ([{"body": {}}], "body of u-1"),
        ([{"headers": []}], "headers of u-1"),
        ([{"delay_ms": -1}], "delay_ms of u-1"),
        ([], "the script of u-1"),
    ],
)
def test_a_script_that_makes_no_sense_is_refused(
    admin: SampleApiAdmin, script: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        admin.script({"u-1": script})


def test_a_port_that_cannot_be_is_one_clear_message() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sampleapi", "--port", "99999"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_one_clear_message() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        done = subprocess.run(
            [sys.executable, "-m", "sampleapi", "--port", port],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr
