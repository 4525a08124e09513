"""`batchctl replay` on a bucket and a stream of AWS, and the fake bucket next to the real one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner, Result

from batch_core.records import decode, encode
from batchctl.__main__ import build_app
from batchctl.errors import BatchctlError
from batchctl.replay.bucket import Bucket, MissingError, S3Bucket
from batchctl.stacks import Stack
from tests.support.put_aside import (
    BATCH_KEY,
    RECORD_KEY,
    ROWS_KEY,
    RUN,
    FakeBucket,
    batch_object,
    record,
    record_object,
    rows_object,
)

STACK = Stack(
    name="acme",
    status="CREATE_COMPLETE",
    outputs={"PayloadBucketName": "payloads", "StreamName": "rows"},
    parameters={"TenantId": "acme"},
)


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    # Moto's CloudFormation asks for packages that nothing else here needs.
    monkeypatch.setattr("batchctl.commands.target.find_stack", lambda session, name: STACK)
    with mock_aws():
        boto3.client("s3").create_bucket(
            Bucket="payloads", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        boto3.client("kinesis").create_stream(StreamName="rows", ShardCount=1)
        yield


def put(key: str, body: bytes) -> None:
    boto3.client("s3").put_object(Bucket="payloads", Key=key, Body=body)


def keys() -> list[str]:
    listed = boto3.client("s3").list_objects_v2(Bucket="payloads")
    return [found["Key"] for found in listed.get("Contents", [])]


def on_the_stream() -> dict[str, bytes]:
    kinesis = boto3.client("kinesis")
    shard = kinesis.get_shard_iterator(
        StreamName="rows", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )
    records = kinesis.get_records(ShardIterator=shard["ShardIterator"])["Records"]
    return {record["PartitionKey"]: record["Data"] for record in records}


def replay(*words: str) -> Result:
    words = ("replay", "--stack", "acme", *words)
    return CliRunner().invoke(build_app(), words, env={"COLUMNS": "160"})


def line_of(done: Result) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return line


@pytest.fixture
def aside() -> dict[str, bytes]:
    """One object of each kind, in the bucket."""
    batch = [("a", encode(record((3, "three")))), ("b", b"poison")]
    objects = {
        BATCH_KEY: batch_object(*batch, as_text=True),
        ROWS_KEY: rows_object([1, "one"], [2, "two"]),
        RECORD_KEY: record_object(b"unreadable"),
    }
    for key, body in objects.items():
        put(key, body)
    return objects


@pytest.mark.usefixtures("aside")
def test_every_record_is_back_on_the_stream_and_every_object_is_moved() -> None:
    done = replay()

    assert done.exit_code == 0, done.output
    stream = on_the_stream()
    replayed = decode(stream.pop(f"{RUN}/3/7/0"))
    assert (replayed.rows, replayed.replayed) == (((1, "one"), (2, "two")), True)
    assert stream == {"a": encode(record((3, "three"))), "b": b"poison", "4001": b"unreadable"}
    assert keys() == sorted(f"replayed/{key}" for key in (BATCH_KEY, ROWS_KEY, RECORD_KEY))
    assert "Put 4 records back on the stream." in done.stdout
    assert "batchctl run --stack acme" in done.stdout

    again = replay()
    assert (again.exit_code, again.stdout) == (0, "Nothing to put back.\n")


@pytest.mark.usefixtures("aside")
def test_a_dry_run_shows_what_there_is_and_does_nothing() -> None:
    done = replay("--dry-run")

    shown = [line.split() for line in done.stdout.splitlines()]
    assert [line[:5] for line in shown[1:4]] == [
        ["batch", RUN, "1", "2", "1"],
        ["record", "unknown", "1", "1", "0"],
        ["rows", RUN, "1", "1", "2"],
    ]
    assert "RetryAttemptsExhausted (1)" in done.stdout
    assert "1406 (2)" in done.stdout
    assert "Nothing was done." in done.stdout
    assert (done.exit_code, on_the_stream()) == (0, {})
    assert keys() == sorted([BATCH_KEY, ROWS_KEY, RECORD_KEY])


@pytest.mark.usefixtures("aside")
def test_a_program_gets_one_line() -> None:
    line = line_of(replay("--json", "--run", RUN))

    assert [(each["kind"], each["rows"], each["errors"]) for each in line["found"]] == [
        ("batch", 1, {"RetryAttemptsExhausted": 1}),
        ("rows", 2, {"1406": 2}),
    ]
    untold = dict.fromkeys(("written", "due_again", "refused"))
    assert line["replayed"] == {"objects": 2, "records": 3, "rows": 3, **untold}
    assert line["unreadable"] == {}
    assert RECORD_KEY in keys()


def test_an_object_that_cannot_be_read_is_named_and_the_status_says_so() -> None:
    put("quarantine/notes.txt", b"remember the milk")
    put(ROWS_KEY, rows_object([1, "one"]))

    done = replay()

    assert done.exit_code == 1
    assert "quarantine/notes.txt cannot be read and stays where it is" in done.stderr
    assert keys() == ["quarantine/notes.txt", f"replayed/{ROWS_KEY}"]
    assert list(line_of(replay("--json"))["unreadable"]) == ["quarantine/notes.txt"]


def test_a_stream_that_takes_nothing_leaves_everything_to_the_next_replay() -> None:
    put(ROWS_KEY, rows_object([1, "one"]))
    boto3.client("kinesis").delete_stream(StreamName="rows")

    done = replay()

    assert done.exit_code == 1
    assert "0 of 1 objects were put back, and nothing is lost" in done.stderr
    boto3.client("kinesis").create_stream(StreamName="rows", ShardCount=1)
    assert replay().exit_code == 0
    assert list(on_the_stream()) == [f"{RUN}/3/7/0"]


def test_a_local_cloud_that_is_down_is_not_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("BATCHCTL_HOME", str(home))

    done = CliRunner().invoke(build_app(), ["replay"])

    assert done.exit_code == 1
    assert "The local cloud is not running. Start it with: batchctl up" in done.stderr
    assert not home.exists()


# --- the bucket -------------------------------------------------------------------------------


@pytest.fixture(params=["fake", "s3"])
def bucket(request: pytest.FixtureRequest) -> Bucket:
    objects = {"a/1": b"one", "a/2": b"two", "b/1": b"other"}
    if request.param == "fake":
        return FakeBucket(objects)
    for key, body in objects.items():
        put(key, body)
    return S3Bucket("payloads", boto3.client("s3"))


def test_objects_are_listed_by_prefix(bucket: Bucket) -> None:
    assert [entry.key for entry in bucket.entries("a/")] == ["a/1", "a/2"]
    assert list(bucket.entries("c/")) == []


def test_a_moved_object_is_the_same_elsewhere(bucket: Bucket) -> None:
    bucket.move("a/1", "c/a/1")

    assert bucket.read("c/a/1") == b"one"
    assert [entry.key for entry in bucket.entries("a/")] == ["a/2"]


def test_an_object_that_is_not_there_is_missing(bucket: Bucket) -> None:
    with pytest.raises(MissingError):
        bucket.read("a/3")
    with pytest.raises(MissingError):
        bucket.move("a/3", "c/a/3")


def test_more_objects_than_a_page_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(1_001):
        put(f"many/{n:04}", b"")

    listed = [entry.key for entry in S3Bucket("payloads", boto3.client("s3")).entries("many/")]

    assert listed == [f"many/{n:04}" for n in range(1_001)]


def test_a_bucket_that_cannot_be_reached_is_told() -> None:
    absent = S3Bucket("absent", boto3.client("s3"))
    with pytest.raises(BatchctlError, match="The bucket absent cannot be listed"):
        list(absent.entries(""))
    with pytest.raises(BatchctlError, match="The object a cannot be read"):
        absent.read("a")
    with pytest.raises(BatchctlError, match="The object a cannot be moved to b"):
        absent.move("a", "b")
