"""What a trace has room for."""

from __future__ import annotations

import json
import threading
from contextlib import suppress

from batch_core import tracing
from tests.support.x_ray import DOCUMENT_BYTES, Collector


def test_what_failed_finds_room_when_the_rest_no_longer_does(x_ray: Collector) -> None:
    with tracing.invocation("Write Rows", tenant="t" * 24):
        for _ in range(100):
            with tracing.statement("SELECT 1"):
                pass
        for _ in range(100):
            with suppress(ValueError), tracing.statement("INSERT INTO t VALUES ('walter')"):
                raise ValueError("walter")

    (document,) = x_ray.documents()
    failed = [part for part in document["subsegments"] if part.get("fault")]
    assert len(document["subsegments"]) == tracing.PARTS + tracing.FAILED_PARTS
    assert [part["annotations"] for part in failed] == [{"error": "ValueError"}] * len(failed)
    assert len(failed) == tracing.FAILED_PARTS
    assert 15_000 < len(x_ray.datagrams[0]) < DOCUMENT_BYTES
    assert "walter" not in json.dumps(document)


def test_a_thread_that_outlives_its_invocation_is_left_out(x_ray: Collector) -> None:
    begun, end = threading.Event(), threading.Event()

    def work() -> None:
        with tracing.aws_call("S3", "GetObject"):
            begun.set()
            end.wait()

    with tracing.invocation("Call API"):
        thread = threading.Thread(target=work)
        thread.start()
        begun.wait()
    with tracing.invocation("Call API"):
        end.set()
        thread.join()

    assert ["subsegments" in document for document in x_ray.documents()] == [False, False]


def test_outside_an_invocation_nothing_is_traced(x_ray: Collector) -> None:
    with tracing.invocation("Call API"):
        pass

    with tracing.statement("SELECT 1"), tracing.api_call("GET", "http://a/*", attempt=1) as call:
        call.answered(500, "http_500")

    assert len(x_ray.documents()) == 1
    assert not tracing.is_recorded()


def test_a_statement_that_begins_unusually_tells_nothing_of_its_text(x_ray: Collector) -> None:
    with tracing.invocation("List Users"):
        for sql in ("  select 1", "/* walter */ SELECT 1", b"(SELECT 1)"):
            with tracing.statement(sql):
                pass

    (document,) = x_ray.documents()
    kinds = [part["sql"]["sanitized_query"] for part in document["subsegments"]]
    assert kinds == ["SELECT", "OTHER", "OTHER"]
