"""Traces of whole runs, as the SDK sends them to the daemon's address."""

from __future__ import annotations

import json
import re
from typing import Any

import boto3

from batch_core import tracing
from batch_core.records import Record, encode
from tests.support.functions import secret
from tests.support.tenant import Tenant, account, write
from tests.support.x_ray import DOCUMENT_BYTES, SEGMENT, TRACE, Collector

SECRET = "s3cret-of-the-api"


def of(documents: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The documents of one function."""
    return [document for document in documents if document["name"] == name]


def parts(document: dict[str, Any]) -> list[tuple[str, str]]:
    """What an invocation waited for, in order."""
    children = sorted(document.get("subsegments", []), key=lambda child: child["start_time"])
    return [(child["name"], what(child)) for child in children]


def what(child: dict[str, Any]) -> str:
    if "sql" in child:
        return str(child["sql"]["sanitized_query"])
    return str(child.get("aws", {}).get("operation", "")) or child.get("http", {}).get(
        "request", {}
    ).get("url", "")


def test_a_run_is_a_tree_of_what_each_function_waited_for(tenant: Tenant, x_ray: Collector) -> None:
    tenant.configure(API_SECRET_ARN=secret("api", SECRET))
    tenant.seed(60)
    x_ray.documents()

    run_id = tenant.run().output["run_id"]

    documents = x_ray.documents()
    assert {(d["type"], d["trace_id"], d["parent_id"]) for d in documents} == {
        ("subsegment", TRACE, SEGMENT)
    }
    (listing,) = of(documents, "List Users")
    assert listing["annotations"] == {"tenant": "demo", "run_id": run_id}
    assert parts(listing)[:3] == [
        ("SecretsManager", "GetSecretValue"),
        ("MySQL", "CONNECT"),
        ("MySQL", "BEGIN"),
    ]
    assert ("S3", "PutObject") in parts(listing)

    first, second = sorted(of(documents, "Call API"), key=lambda d: str(d["annotations"]["group"]))
    assert first["annotations"] == {"tenant": "demo", "run_id": run_id, "group": "0/0"}
    assert second["annotations"]["group"] == "0/1"
    base = tenant.variable("API_BASE_URL")
    assert parts(first) == [
        ("S3", "GetObject"),
        ("SecretsManager", "GetSecretValue"),
        *[("127.0.0.1", f"{base}/users/*/activity")] * tracing.API_CALLS,
    ]
    call = first["subsegments"][-1]
    assert call["namespace"] == "remote"
    assert call["http"]["request"]["method"] == "GET"
    assert call["http"]["response"] == {"status": 200}
    assert call["metadata"]["default"] == {"attempt": 1}

    for document in of(documents, "Process Users"):
        assert parts(document) == [("Kinesis", "PutRecords")]
        assert document["subsegments"][0]["namespace"] == "aws"
        assert document["subsegments"][0]["aws"]["region"] == "eu-west-1"

    (writing,) = of(documents, "Write Rows")
    assert writing["annotations"] == {"tenant": "demo", "shard": "shardId-000000000000"}
    run = writing["subsegments"][0]
    assert (run["name"], run["annotations"]) == ("Run", {"run_id": run_id})
    assert run["metadata"]["default"] == {"records": 2, "producers": [TRACE]}
    # The SELECT is the look at sql_mode, once for each connection.
    assert [kind for name, kind in parts(writing) if name == "MySQL"][:3] == [
        "CONNECT", "SELECT", "BEGIN",
    ]  # fmt: skip
    assert ("MySQL", "INSERT") in parts(writing)
    assert parts(writing)[-1] == ("MySQL", "COMMIT")

    (ending,) = of(documents, "Finish Run")
    assert ending["annotations"] == {"tenant": "demo", "run_id": run_id}
    assert ("MySQL", "UPDATE") in parts(ending)
    for document in documents:
        for child in document.get("subsegments", []):
            assert child["parent_id"] == document["id"]
            assert document["start_time"] <= child["start_time"] <= child["end_time"]
            assert child["end_time"] <= document["end_time"]


def test_calls_that_are_in_flight_at_once_stand_side_by_side(
    tenant: Tenant, x_ray: Collector
) -> None:
    tenant.api.settings(latency_ms=50)
    tenant.seed(20)

    tenant.run()

    (calling,) = of(x_ray.documents(), "Call API")
    calls = [child for child in calling["subsegments"] if child["namespace"] == "remote"]
    assert len(calls) == tracing.API_CALLS
    assert max(call["start_time"] for call in calls) < min(call["end_time"] for call in calls)
    assert all("subsegments" not in call for call in calls)


def test_an_attempt_that_fails_is_told_by_its_status_and_each_attempt_is_counted(
    tenant: Tenant, x_ray: Collector
) -> None:
    tenant.seed(1)
    tenant.api.script({account(1): [{"status": 503}]})

    tenant.run()

    (calling,) = of(x_ray.documents(), "Call API")
    failed, answered = [c for c in calling["subsegments"] if c["namespace"] == "remote"]
    assert (failed["fault"], failed["http"]["response"]["status"]) == (True, 503)
    assert answered["http"]["response"]["status"] == 200
    assert [c["metadata"]["default"]["attempt"] for c in (failed, answered)] == [1, 2]
    # Of one user alone no part of the path is known to be everybody's.
    assert failed["http"]["request"]["url"].endswith("/demo/*/*/*")


def test_a_batch_of_several_runs_is_found_by_each(tenant: Tenant, x_ray: Collector) -> None:
    runs = [f"demo-2026013{n}T100000Z" for n in range(3)]

    write(*(encode(record(run_id, trace=f"1-697dd3e0-{n:024x}")) for n, run_id in enumerate(runs)))

    (writing,) = of(x_ray.documents(), "Write Rows")
    found = [child for child in writing["subsegments"] if child["name"] == "Run"]
    assert [child["annotations"]["run_id"] for child in found] == runs
    assert [child["metadata"]["default"]["producers"] for child in found] == [
        [f"1-697dd3e0-{n:024x}"] for n in range(3)
    ]


def test_nothing_in_a_trace_is_personal(tenant: Tenant, x_ray: Collector) -> None:
    tenant.configure(API_SECRET_ARN=secret("api", SECRET), MAX_REJECTED_PERCENT="100")
    names = [f"walter.white.{n}" for n in range(1, 41)]
    values = ",".join(f"({471100 + n}, '{name}')" for n, name in enumerate(names))
    tenant.sql(f"INSERT INTO users (user_id, account) VALUES {values}")
    tenant.api.script({name: [{"status": 500, "repeat": True}] for name in names[:10]})
    tenant.run()
    # A row that the database refuses with the row's text in its words.
    rows = ((471101, "x" * 99, "2026-01-31 10:00:00", 1, "JP", "[]", "NOTE", "ETAG"),)
    write(encode(record("demo-20260131T100000Z", rows=rows)))
    tenant.sql("DROP TABLE user_activity")
    tenant.run()

    assert len(x_ray.documents()) >= 6
    everything = b"\n".join(x_ray.datagrams)
    assert b"fault" in everything
    arn = tenant.variable("DATABASE_SECRET_ARN")
    login = boto3.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
    password = json.loads(login)["password"]
    for word in ("walter", "white", "NOTE", "ETAG", SECRET, password, "WHERE", "VALUES"):
        assert word.encode() not in everything, word
    # Times and ids have such digits, too.
    assert not re.search(rb"(?<![0-9a-f.])4711\d\d(?![0-9a-f])", everything)


def test_the_largest_invocations_fit_into_a_datagram(tenant: Tenant, x_ray: Collector) -> None:
    tenant.configure(
        USERS_PER_INVOCATION="1000",
        CHUNK_SIZE="1000",
        API_CONCURRENCY="50",
        MAX_RETRY_LATER_PERCENT="100",
    )
    tenant.api.settings(error_rate=0.8)
    tenant.seed(1_000)
    tenant.run()
    columns = ("2026-01-31 10:00:00", 1, "JP", "[]", "n" * 400, "e")
    for _ in range(20):
        rows = tuple((n, "a", *columns) for n in range(1, 1_001))
        write(encode(record("demo-20260131T100000Z", rows=rows)))

    documents = x_ray.documents()
    (calling,) = of(documents, "Call API")
    assert any(child.get("fault") for child in calling["subsegments"])
    writing = of(documents, "Write Rows")[-1]
    assert len(writing["subsegments"]) == tracing.PARTS
    sizes = sorted(map(len, x_ray.datagrams))
    assert 5_000 < sizes[-1] < DOCUMENT_BYTES


def record(run_id: str, *, trace: str = TRACE, rows: tuple[Any, ...] = ()) -> Record:
    columns = ("user_id", "action", "occurred_at", "score", "country", "devices", "note", "etag")
    return Record(
        tenant="demo",
        run_id=run_id,
        chunk=0,
        group=0,
        version=1,
        trace_id=trace,
        segment_id=SEGMENT,
        part=0,
        columns=columns,
        rows=rows,
    )
