"""The payload bucket, as its operator sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from batchctl.errors import BatchctlError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mypy_boto3_s3 import S3Client

_MISSING: Final = {"NoSuchKey", "404"}


class MissingError(BatchctlError):
    """There is no such object, or no longer."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a listing."""

    key: str
    modified: datetime


class Bucket(Protocol):
    """Objects that can be listed, read and moved."""

    def entries(self, prefix: str) -> Iterator[Entry]:
        """List the objects whose keys begin with `prefix`."""
        ...

    def read(self, key: str) -> bytes:
        """Return an object. Raises MissingError when there is none."""
        ...

    def move(self, key: str, to: str) -> None:
        """Copy an object, then delete it where it was. Raises MissingError when there is none."""
        ...


class S3Bucket(Bucket):
    """A bucket on S3; what S3 refuses is a BatchctlError."""

    def __init__(self, name: str, client: S3Client) -> None:
        self._name = name
        self._client = client

    def entries(self, prefix: str) -> Iterator[Entry]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._name, Prefix=prefix
        )
        try:
            for page in pages:
                for found in page.get("Contents", []):
                    yield Entry(found["Key"], found["LastModified"])
        except (ClientError, BotoCoreError) as error:
            raise BatchctlError(f"The bucket {self._name} cannot be listed: {error}") from error

    def read(self, key: str) -> bytes:
        try:
            return self._client.get_object(Bucket=self._name, Key=key)["Body"].read()
        except (ClientError, BotoCoreError) as error:
            raise _explained(f"The object {key} cannot be read", error) from error

    def move(self, key: str, to: str) -> None:
        try:
            self._client.copy_object(
                Bucket=self._name, Key=to, CopySource={"Bucket": self._name, "Key": key}
            )
            self._client.delete_object(Bucket=self._name, Key=key)
        except (ClientError, BotoCoreError) as error:
            raise _explained(f"The object {key} cannot be moved to {to}", error) from error


def _explained(what: str, error: Exception) -> BatchctlError:
    code = error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None
    kind = MissingError if code in _MISSING else BatchctlError
    return kind(f"{what}: {error}")
