"""The saved queries, asked of the lines that the functions write."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from batch_core.observability import logger, pseudonym
from tests.support.express_log import a_run_with_failures
from tests.support.logs_insights import Line, Record, ask
from tests.support.tenant import Tenant, account
from tests.template.translation import of_type, written

QUERIES = of_type(written(), "Logs::QueryDefinition")


class Logs:
    """A tenant's log groups, and the saved queries on them."""

    def __init__(self, lines: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
        self._written = lines
        self._capsys = capsys
        self._others: list[Line] = []

    def add(self, group: str, *texts: str) -> None:
        """Enter lines that the functions do not write themselves."""
        self._others += [Line(group, text) for text in texts]

    def ask(self, name: str, **words: str) -> list[Record]:
        """Answer a saved query, with some of its words replaced."""
        query = QUERIES[name]["Properties"]
        text = query["QueryString"]
        for word, value in words.items():
            assert text.count(word) == 1
            text = text.replace(word, value)
        groups = {group["Ref"] for group in query["LogGroupNames"]}
        return ask(text, [line for line in self._lines() if line.group in groups])

    def _lines(self) -> list[Line]:
        # Metrics are printed beside the logger.
        self._written.write(self._capsys.readouterr().out)
        texts = self._written.getvalue().splitlines()
        states = [json.loads(text).get("state", "Finish Run") for text in texts]
        return [
            *(
                Line(f"{state.title().replace(' ', '')}LogGroup", text)
                for state, text in zip(states, texts, strict=True)
            ),
            *self._others,
        ]


@pytest.fixture
def logs(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Logs:
    """Record what the functions write, after the migration."""
    lines = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", lines)
    capsys.readouterr()
    return Logs(lines, capsys)


def test_the_last_runs_are_told_with_what_became_of_the_users(tenant: Tenant, logs: Logs) -> None:
    tenant.seed(60)
    tenant.api.script({account(n): [{"status": 404, "repeat": True}] for n in range(1, 6)})
    first = json.loads(tenant.run().cause)
    tenant.before["finish_run"] = fail
    tenant.run()

    second, told = logs.ask("LastRunsQuery")

    assert (told["run_id"], told["end"], told["users"]) == (first["run_id"], "failed", 60)
    assert (told["stored"], told["rejected"], told["unaccounted"]) == (55, 5, 0)
    assert (second["end"], second["users"]) == (None, 60)


def test_what_failed_is_told_with_its_outcome_and_its_place(tenant: Tenant, logs: Logs) -> None:
    tenant.seed(160)
    tenant.sql("ALTER TABLE user_activity MODIFY note VARCHAR(1) NOT NULL")
    tenant.api.script({account(1): [{"status": 404}]})
    tenant.before["process_users"] = lambda payload: fail() if payload["group"] == 2 else None
    tenant.run()
    logs.add("StateMachineLogGroup", *a_run_with_failures().lines)
    logs.add("CallApiLogGroup", TIMED_OUT)

    told = {
        (each["what"], each["state"], each["chunk"], each["group"], each["became"], each["class"])
        for each in logs.ask("FailuresQuery")
    }

    assert told >= {
        ("users without a row", "Call API", 0, 0, "rejected", "http_404"),
        ("users without a row", "Write Rows", 0, 0, "rejected", "mysql_1406"),
        ("users without a row", "Write Rows", 0, 1, "rejected", "mysql_1406"),
        ("run account", None, None, None, None, "failed"),
        ("TaskFailed", None, None, None, None, "Runtime.ExitError"),
        ("platform.report", None, None, None, None, "timeout"),
    }
    assert not {what for what, *_ in told} & {"listed", "records received", "TaskSucceeded"}


def test_a_function_that_raises_leaves_an_error_with_its_group(
    tenant: Tenant, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant.seed(60)
    monkeypatch.setenv("STREAM_NAME", "no-such-stream")
    tenant.configure()

    tenant.run()

    failed = [each for each in logs.ask("FailuresQuery") if each["state"] == "Process Users"]
    assert {(each["chunk"], each["group"]) for each in failed} == {(0, 0), (0, 1)}
    assert {(each["became"], each["class"]) for each in failed} == {("retry_later", "StreamError")}
    assert all(re.fullmatch(r"demo-\d{8}T\d{6}.*Z", each["run_id"]) for each in failed)


def test_a_user_is_followed_through_a_run(tenant: Tenant, logs: Logs) -> None:
    tenant.seed(60)
    tenant.api.script({account(47): [{"status": 404}]})
    debugged(tenant)
    run_id = tenant.run().output["run_id"]
    moment = run_id.removeprefix("demo-")

    def of(user: int) -> list[tuple[Any, ...]]:
        words = {"T102000": moment[8:15], "0123456789ab": pseudonym("demo", user)}
        return [
            (each["state"], each["message"], each["group"], each["became"], each["class"])
            for each in logs.ask("UserQuery", **words)
        ]

    assert of(47) == [
        ("Call API", "answers", 0, None, None),
        ("Call API", "users without a row", 0, "rejected", "http_404"),
    ]
    assert of(55) == [
        ("Call API", "answers", 1, None, None),
        ("Process Users", "rows put on the stream", 1, None, None),
        ("Write Rows", "rows written", None, None, None),
    ]
    assert of(61) == []


def test_debug_lines_name_nobody(tenant: Tenant, logs: Logs) -> None:
    tenant.seed(20)
    debugged(tenant)

    tenant.run()

    lines = logs._written.getvalue()
    assert '"level":"DEBUG"' in lines
    assert "u-0000" not in lines


def test_a_run_is_told_function_by_function(tenant: Tenant, logs: Logs) -> None:
    tenant.seed(430)
    run_id = tenant.run().output["run_id"]
    tenant.run()

    answer = logs.ask("RunQuery", T102000=run_id.removeprefix("demo-")[8:15])

    assert answer[0]["state"] == "List Users"
    assert {each["state"]: (each["invocations"], each["rows"]) for each in answer} == {
        "List Users": (1, 0),
        "Call API": (9, 0),
        "Process Users": (9, 430),
        "Write Rows": (1, 430),
        "Finish Run": (1, 0),
    }


def test_what_grew_is_told_beside_what_is_slow(tenant: Tenant, logs: Logs) -> None:
    tenant.seed(60)
    tenant.api.settings(latency_ms=200)
    tenant.api.script({account(n): [{"status": 503}] for n in range(1, 4)})

    tenant.run()

    # A run may lie in two slots.
    told = logs.ask("SlowQuery")
    assert all(each["slot"] % 600 == 0 for each in told)
    calls = [each for each in told if each["state"] == "Call API"]
    assert sum(each["api_requests"] for each in calls) == 63
    assert sum(each["api_retries"] or 0 for each in calls) == 3
    assert all(each["p50_ms"] > 200 and each["cpu_ms"] > 0 for each in calls)
    assert sum(each["db_connections"] or 0 for each in told if each["state"] == "Write Rows") == 1
    slowest = logs.ask("SlowestGroupsQuery")
    durations = [each["meter.duration_ms"] for each in slowest]
    assert durations == sorted(durations, reverse=True)
    assert {(e["state"], e["group"]) for e in slowest} >= {("Call API", 0), ("Call API", 1)}


def test_users_without_a_row_are_added_up_by_class(tenant: Tenant, logs: Logs) -> None:
    tenant.configure(MAX_REJECTED_PERCENT="100")
    tenant.seed(100)
    statuses = {1: 404, 2: 404, 3: 410, 51: 404, 52: 410}
    tenant.api.script({account(n): [{"status": s, "repeat": True}] for n, s in statuses.items()})

    tenant.run()

    answer = logs.ask("ErrorClassesQuery")
    assert [(e["class"], e["became"], e["state"], e["users"]) for e in answer] == [
        ("http_404", "rejected", "Call API", 3),
        ("http_410", "rejected", "Call API", 2),
    ]


def test_how_long_rows_waited_on_the_stream_is_told(tenant: Tenant, logs: Logs) -> None:
    tenant.seed(60)
    tenant.stream_seconds = 90

    tenant.run()

    (told,) = logs.ask("StreamLagQuery")
    assert 90_000 <= told["lag_ms"] < 120_000
    assert (told["batches"], told["records"], told["rows"]) == (1, 2, 60)
    assert told["shard"] == "shardId-000000000000"


def test_cold_starts_are_counted_among_all_invocations(tenant: Tenant, logs: Logs) -> None:
    logs.add(
        "CallApiLogGroup",
        *(invocation(init_ms=init_ms) for init_ms in (None, 300.0, None, 500.0)),
    )

    (told,) = logs.ask("ColdStartsQuery")

    assert (told["state"], told["invocations"], told["cold"], told["percent"]) == (
        "Call API", 4, 2, 50,
    )  # fmt: skip
    assert (told["p50_ms"], told["slowest_ms"], told["used_mb"]) == (300, 500, 140)


@pytest.mark.parametrize("name", QUERIES)
def test_a_saved_query_is_found_below_the_stacks_name_and_says_what_it_is_for(name: str) -> None:
    query = QUERIES[name]["Properties"]

    assert query["Name"]["Fn::Sub"].startswith("${AWS::StackName}/")
    first, second = query["QueryString"].splitlines()[:2]
    assert first.startswith("# ")
    assert "?" in first
    assert len(query["QueryString"]) < 10_000
    assert "${" not in query["QueryString"], second
    # A query that every line answers is dear: it is billed by what it reads, not by what it finds.
    assert re.search(r"^filter ", query["QueryString"], re.MULTILINE)


def test_every_saved_query_is_asked_here() -> None:
    source = Path(__file__).read_text("utf-8")

    assert set(QUERIES) == set(re.findall(r"\"(\w+Query)\"", source))


# What Lambda itself writes of a function that ran out of time.
# https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html#platform-report
TIMED_OUT = json.dumps(
    {
        "timestamp": "2026-01-31T10:20:00.000Z",
        "type": "platform.report",
        "record": {"requestId": "r-1", "status": "timeout", "metrics": {"durationMs": 60_000}},
    }
)


def invocation(init_ms: float | None) -> str:
    meter = {"memory_mb": 256, "memory_used_mb": 140, "duration_ms": 12.5}
    if init_ms is not None:
        meter["init_ms"] = init_ms
    line = {"timestamp": "2026-01-31T10:20:00.000Z", "level": "INFO", "message": "invocation"}
    return json.dumps(line | {"state": "Call API", "meter": meter})


def debugged(tenant: Tenant) -> None:
    """Let every invocation write its debug lines."""
    tenant._monkeypatch.setattr(logger, "sampling_rate", "1")


def fail(_payload: Any = None) -> None:
    raise RuntimeError("the environment is gone")
