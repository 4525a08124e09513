"""The payload bucket."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from batch_core import meter, tracing
from batch_core.errors import PayloadAlteredError, PayloadError, PayloadMissingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectRequestTypeDef

# Lambda's default would wait a minute for one read; a run has five in all.
CONFIG: Final = Config(
    connect_timeout=3,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 4},
    max_pool_connections=16,
)
# botocore repeats a request that failed, but not one whose body broke off while it was read.
_READS: Final = 3

# A 403 is not among them: whoever reads may also list, so S3 tells "missing" from "forbidden".
_MISSING: Final = {"NoSuchKey", "404"}
# A write at the same time conflicts with a conditional one, and will be what is there.
_ALTERED: Final = {"PreconditionFailed", "412", "InvalidRange", "416"} | {
    "ConditionalRequestConflict",
    "409",
}


class S3PayloadStore:
    """A bucket of immutable objects; the client is made on first use and kept."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket

    def put(self, key: str, body: bytes, *, metadata: Mapping[str, str]) -> str:
        """Write an object and return its ETag.

        Raises
        ------
        PayloadError
            When S3 does not take it, retries included.
        """
        meter.count("s3_put")
        try:
            with tracing.aws_call("S3", "PutObject"):
                answer = self._client.put_object(
                    Bucket=self._bucket, Key=key, Body=body, Metadata=metadata
                )
        except (ClientError, BotoCoreError) as error:
            raise PayloadError(f"S3 did not take the object {key}: {error}") from error
        return answer["ETag"].strip('"')

    def put_new(self, key: str, body: bytes, *, metadata: Mapping[str, str]) -> bool:
        """Write an object unless there is one; returns whether it is the one that is there now.

        Raises
        ------
        PayloadError
            When S3 does not take it, retries included.
        """
        meter.count("s3_put")
        try:
            with tracing.aws_call("S3", "PutObject"):
                self._client.put_object(
                    Bucket=self._bucket, Key=key, Body=body, Metadata=metadata, IfNoneMatch="*"
                )
        except (ClientError, BotoCoreError) as error:
            known = _explained(key, error)
            if not isinstance(known, PayloadAlteredError):
                raise known from error
            # Perhaps by this very call, whose answer was lost and which botocore then repeated.
            return self.get(key) == body
        return True

    def get(
        self, key: str, *, etag: str | None = None, span: tuple[int, int] | None = None
    ) -> bytes:
        """Read an object, or the bytes `span[0]` up to but not including `span[1]`.

        Raises
        ------
        PayloadMissingError
            When it is not there.
        PayloadAlteredError
            When its ETag is not `etag`, or it ends before the span does.
        PayloadError
            When S3 does not answer, retries included.
        """
        request: GetObjectRequestTypeDef = {"Bucket": self._bucket, "Key": key}
        if etag is not None:
            request["IfMatch"] = f'"{etag}"'
        if span is not None:
            request["Range"] = f"bytes={span[0]}-{span[1] - 1}"
        body = self._read(key, request)
        if span is not None and len(body) != span[1] - span[0]:
            raise PayloadAlteredError(
                f"the object {key} ends at byte {span[0] + len(body)}, before {span[1]}"
            )
        return body

    def _read(self, key: str, request: GetObjectRequestTypeDef) -> bytes:
        broken: BotoCoreError | None = None
        for _ in range(_READS):
            meter.count("s3_get")
            with tracing.aws_call("S3", "GetObject") as call:
                try:
                    answer = self._client.get_object(**request)
                except (ClientError, BotoCoreError) as error:
                    raise _explained(key, error) from error
                try:
                    return answer["Body"].read()
                except BotoCoreError as error:
                    broken = error
                    call.failed(type(error).__name__)
        raise PayloadError(f"S3 did not deliver the object {key}: {broken}") from broken

    @cached_property
    def _client(self) -> S3Client:
        return boto3.client("s3", config=CONFIG)


def _explained(key: str, error: ClientError | BotoCoreError) -> PayloadError:
    told = error.response if isinstance(error, ClientError) else {}
    code = told.get("Error", {}).get("Code", "")
    if code in _MISSING:
        return PayloadMissingError(f"the object {key} is not there (S3 answers {code})")
    if code in _ALTERED:
        return PayloadAlteredError(f"the object {key} is not the one expected (S3 answers {code})")
    return PayloadError(f"S3 did not deliver the object {key}: {error}")
