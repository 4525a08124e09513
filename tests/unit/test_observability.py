"""Logs and traces as a Lambda environment emits them: its own process, a real collector."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.x_ray import HEADER, SEGMENT, TRACE, Collector

ROOT = Path(__file__).parents[2]
FUNCTION = """
from types import SimpleNamespace
from batch_core import meter
from batch_core.errors import UnreachableDatabaseError
from batch_core.observability import logger, observed, publish
from batch_core.tracing import trace_ids

@observed("Call API")
def handler(event, context):
    if event.get("fail"):
        raise ValueError("boom")
    if event.get("lost"):
        raise UnreachableDatabaseError("2003: nobody there")
    if event.get("debug"):
        logger.debug("in detail")
    meter.count("s3_get")
    meter.latency(203)
    return {"trace": trace_ids()}

context = SimpleNamespace(
    memory_limit_in_mb="512", function_name="f", invoked_function_arn="arn", aws_request_id="r"
)
"""


class Environment:
    """Runs code in a process with the variables of a Lambda environment."""

    def __init__(self, collector: Collector) -> None:
        self.collector = collector

    def run(
        self,
        code: str,
        *,
        check: bool = True,
        sampled: bool = True,
        before: str = "",
        **variables: str,
    ) -> list[dict[str, Any]]:
        """Return what was logged."""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", before + FUNCTION + code],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT / "layers" / "batch_core"),
                "LAMBDA_TASK_ROOT": str(ROOT),
                "AWS_REGION": "ap-northeast-1",
                "AWS_XRAY_DAEMON_ADDRESS": self.collector.address,
                "_X_AMZN_TRACE_ID": HEADER if sampled else HEADER.replace("=1", "=0"),
                "TENANT_ID": "acme",
                **variables,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def environment() -> Iterator[Environment]:
    with Collector() as collector:
        yield Environment(collector)


EVENT = '{"run": {"id": "acme-1"}, "chunk": {"n": 2}, "group": 3}'


def test_an_invocation_logs_its_identity_and_its_meter(environment: Environment) -> None:
    (line,) = environment.run(f"handler({EVENT}, context)")

    assert line["message"] == "invocation"
    assert line["request_id"] == "r"
    assert "error" not in line
    assert {k: line[k] for k in ("state", "tenant", "run_id", "chunk", "group")} == {
        "state": "Call API", "tenant": "acme", "run_id": "acme-1", "chunk": 2, "group": 3,
    }  # fmt: skip
    meter = line["meter"]
    assert (meter["s3_get"], sum(meter["api_latency"].values()), meter["memory_mb"]) == (1, 1, 512)
    assert meter["event_bytes"] == len(EVENT.replace(" ", ""))
    assert min(meter["init_ms"], meter["init_cpu_ms"]) > 0
    assert min(meter["cpu_ms"], meter["queued_ms"], meter["init_queued_ms"]) >= 0
    assert 5 < meter["memory_used_mb"] < 4_000


def test_the_memory_of_an_invocation_is_its_own_and_not_its_parents(
    environment: Environment,
) -> None:
    held = b"x" * (400 << 20)

    (line,) = environment.run(f"handler({EVENT}, context)")

    assert line["meter"]["memory_used_mb"] < len(held) >> 20


def test_a_warm_invocation_starts_its_meter_and_its_identity_anew(environment: Environment) -> None:
    first, second = environment.run(f"handler({EVENT}, context); handler({{}}, context)")

    assert "init_ms" not in second["meter"]
    assert second["meter"]["s3_get"] == 1
    assert first["meter"]["env_id"] == second["meter"]["env_id"]
    assert "run_id" not in second


def test_a_failing_handler_still_logs_its_meter_and_raises(environment: Environment) -> None:
    lines = environment.run('handler({"fail": True}, context)', check=False)

    told = {name: lines[0][name] for name in ("level", "message", "error", "outcome")}
    assert told == {
        "level": "ERROR", "message": "invocation", "error": "ValueError", "outcome": "retry_later",
    }  # fmt: skip
    assert lines[-1]["exception_name"] == "ValueError"


def test_an_environment_that_lost_its_database_says_so_and_ends(environment: Environment) -> None:
    code = """
import atexit
atexit.register(print, '{"message": "ended in good order"}')
try:
    handler({"lost": True}, context)
finally:
    print('{"message": "went on"}')
"""

    lines = environment.run(code, check=False)

    assert [line["message"] for line in lines] == ["invocation", "the environment ends itself"]
    assert lines[-1]["exception_name"] == "UnreachableDatabaseError"
    assert "nobody there" in lines[-1]["exception"]


def test_the_trace_carries_the_run_as_annotations(environment: Environment) -> None:
    environment.run(f"handler({EVENT}, context)")

    (document,) = environment.collector.documents()
    assert (document["type"], document["name"]) == ("subsegment", "Call API")
    assert (document["trace_id"], document["parent_id"]) == (TRACE, SEGMENT)
    assert document["annotations"] == {"tenant": "acme", "run_id": "acme-1", "group": "2/3"}


def test_a_failure_is_traced_by_its_class_alone(environment: Environment) -> None:
    environment.run('handler({"fail": True}, context)', check=False)

    (document,) = environment.collector.documents()
    assert (document["fault"], document["annotations"]["error"]) == (True, "ValueError")
    assert b"boom" not in environment.collector.datagrams[0]


def test_an_environment_that_ends_itself_has_sent_its_trace(environment: Environment) -> None:
    environment.run('handler({"lost": True}, context)', check=False)

    (document,) = environment.collector.documents()
    assert document["annotations"]["error"] == "UnreachableDatabaseError"


def test_a_trace_that_is_not_recorded_costs_no_sdk_and_sends_nothing(
    environment: Environment,
) -> None:
    code = f"handler({EVENT}, context); assert not any('xray' in name for name in sys.modules)"

    environment.run(f"import sys; {code}", sampled=False)

    assert environment.collector.documents() == []


def test_the_trace_ids_go_with_the_records(environment: Environment) -> None:
    lines = environment.run("print(__import__('json').dumps(handler({}, context)))")

    assert lines[-1]["trace"] == [TRACE, SEGMENT]


def test_metrics_have_the_tenant_as_their_only_dimension(environment: Environment) -> None:
    publishing = (
        'publish("acme", counts={"UsersListed": 10}, percents={"Coverage": 99.5},'
        ' beside={"run_id": "acme-1"})'
    )

    first, second = environment.run(f"{publishing}; {publishing}")

    for line in (first, second):
        (metrics,) = line["_aws"]["CloudWatchMetrics"]
        assert (metrics["Namespace"], metrics["Dimensions"]) == ("ExpressBatch", [["Tenant"]])
        assert [(each["Name"], each["Unit"]) for each in metrics["Metrics"]] == [
            ("UsersListed", "Count"),
            ("Coverage", "Percent"),
        ]
        assert (line["Tenant"], line["UsersListed"], line["Coverage"]) == ("acme", [10.0], [99.5])


def test_what_stands_beside_metrics_is_a_field_of_their_line(environment: Environment) -> None:
    publishing = 'publish("acme", counts={"A": 1}, percents={}, beside={"run_id": "%s"})'

    lines = environment.run(f"{publishing % 'acme-1'}; {publishing % 'acme-2'}")

    assert [line["run_id"] for line in lines] == ["acme-1", "acme-2"]


def test_debug_lines_are_written_by_the_share_of_invocations_that_is_asked_for(
    environment: Environment,
) -> None:
    code = "for _ in range(400): handler({'debug': True}, context)"

    none = environment.run(code)
    some = environment.run(code, POWERTOOLS_LOGGER_SAMPLE_RATE="0.5")
    every = environment.run(code, POWERTOOLS_LOG_LEVEL="DEBUG")

    counts = [
        sum(line["message"] == "in detail" for line in lines) for lines in (none, some, every)
    ]
    assert (counts[0], counts[2]) == (0, 400)
    # Outside of this once in 10^14 times.
    assert 120 < counts[1] < 280


def test_libraries_write_no_debug_lines_whatever_lambda_sets_the_root_logger_to(
    environment: Environment,
) -> None:
    code = """
import logging
handler({'debug': True}, context)
logging.getLogger("botocore.endpoint").debug("the whole request")
"""
    # As the runtime does before it loads the handler.
    # https://github.com/aws/aws-lambda-python-runtime-interface-client/blob/main/awslambdaric/bootstrap.py
    runtime = """
import logging, sys
logging.basicConfig(level="DEBUG", stream=sys.stdout, format='{"message": "%(message)s"}')
"""

    lines = environment.run(code, before=runtime, POWERTOOLS_LOG_LEVEL="DEBUG")

    assert [line.get("message") for line in lines] == ["in detail", "invocation"]
