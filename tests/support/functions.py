"""The functions, wired as they are deployed, in the test's own process: AWS by moto."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final

import boto3
import pytest
from moto import mock_aws

from functions.call_api import app as call_api
from functions.finish_run import app as finish_run
from functions.list_users import app as list_users
from functions.process_users import app as process_users
from functions.write_rows import app as write_rows

REGION: Final = "eu-west-1"
CONTEXT: Final = SimpleNamespace(
    function_name="f",
    memory_limit_in_mb="512",
    invoked_function_arn="arn:aws:lambda:eu-west-1:123456789012:function:f",
    aws_request_id="r",
    get_remaining_time_in_millis=lambda: 60_000,
)
# What an execution environment keeps between invocations.
_KEPT: Final = (
    list_users.lister,
    call_api.parts,
    process_users.parts,
    write_rows.writer,
    write_rows.quarantine,
    finish_run.finisher,
    finish_run.payloads,
)


@contextmanager
def execution_environments(
    monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]
) -> Iterator[None]:
    """Give the functions an AWS with a bucket and a stream, and these environment variables."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    defaults = {"TENANT_ID": "demo", "PAYLOAD_BUCKET": "payloads", "STREAM_NAME": "rows"}
    for name, value in {**defaults, **variables}.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        location: Any = {"LocationConstraint": REGION}
        boto3.client("s3").create_bucket(Bucket="payloads", CreateBucketConfiguration=location)
        boto3.client("kinesis").create_stream(StreamName="rows", ShardCount=1)
        fresh_environments()
        yield
        fresh_environments()


def secret(name: str, text: str) -> str:
    """Make a secret and return its ARN."""
    return boto3.client("secretsmanager").create_secret(Name=name, SecretString=text)["ARN"]


def on_the_stream() -> list[bytes]:
    """Read every record on the stream, from the first."""
    kinesis = boto3.client("kinesis")
    shard = kinesis.get_shard_iterator(
        StreamName="rows", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )
    records = kinesis.get_records(ShardIterator=shard["ShardIterator"])["Records"]
    return [record["Data"] for record in records]


def fresh_environments() -> None:
    """Let every function's next invocation find an environment that was never used."""
    if call_api.parts.cache_info().currsize:
        call_api.parts()["api"].close()
    for kept in _KEPT:
        kept.cache_clear()
