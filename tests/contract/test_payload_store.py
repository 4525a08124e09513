"""The payload bucket, in memory and on S3 (moto)."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from batch_core import meter
from batch_core.adapters.s3 import S3PayloadStore
from batch_core.errors import PayloadAlteredError, PayloadError, PayloadMissingError
from batch_core.ports import PayloadStore
from tests.support.fakes import FakePayloadStore


@pytest.fixture
def s3_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3PayloadStore]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket="payloads")
        yield S3PayloadStore("payloads")


@pytest.fixture(params=["fake", "s3"])
def store(request: pytest.FixtureRequest) -> PayloadStore:
    if request.param == "fake":
        return FakePayloadStore()
    real: S3PayloadStore = request.getfixturevalue("s3_store")
    return real


def test_what_was_put_is_got(store: PayloadStore) -> None:
    etag = store.put("runs/a/1/chunks/0", b"body", metadata={"run-id": "a"})

    assert store.get("runs/a/1/chunks/0") == b"body"
    assert store.get("runs/a/1/chunks/0", etag=etag) == b"body"
    assert '"' not in etag


def test_of_all_who_put_one_new_object_the_first_alone_has_it(store: PayloadStore) -> None:
    assert store.put_new("runs/a/1/asked/0", b"one", metadata={"run-id": "a"})
    assert not store.put_new("runs/a/1/asked/0", b"two", metadata={"run-id": "a"})
    assert store.get("runs/a/1/asked/0") == b"one"
    # It may ask again, when the answer was lost.
    assert store.put_new("runs/a/1/asked/0", b"one", metadata={"run-id": "a"})


def test_a_span_is_read_without_its_end(store: PayloadStore) -> None:
    etag = store.put("k", b"0123456789", metadata={})

    assert store.get("k", span=(0, 4)) == b"0123"
    assert store.get("k", etag=etag, span=(4, 10)) == b"456789"


@pytest.mark.parametrize("span", [(8, 11), (10, 12), (20, 30)])
def test_a_span_past_the_end_is_an_altered_payload(
    store: PayloadStore, span: tuple[int, int]
) -> None:
    store.put("k", b"0123456789", metadata={})

    with pytest.raises(PayloadAlteredError, match="k"):
        store.get("k", span=span)


def test_an_object_that_is_not_there_is_missing(store: PayloadStore) -> None:
    with pytest.raises(PayloadMissingError, match="runs/a/1/chunks/7"):
        store.get("runs/a/1/chunks/7")
    with pytest.raises(PayloadMissingError):
        store.get("runs/a/1/chunks/7", etag="0" * 32, span=(0, 1))


def test_an_overwritten_object_is_altered_for_who_knows_the_old_etag(store: PayloadStore) -> None:
    old = store.put("k", b"one", metadata={})
    new = store.put("k", b"two", metadata={})

    with pytest.raises(PayloadAlteredError, match="k"):
        store.get("k", etag=old)
    with pytest.raises(PayloadAlteredError):
        store.get("k", etag=old, span=(0, 2))
    assert store.get("k", etag=new) == b"two"


def test_a_retry_that_puts_the_same_gets_the_same_etag(store: PayloadStore) -> None:
    assert store.put("k", b"one", metadata={}) == store.put("k", b"one", metadata={})


def test_the_metadata_travels_with_the_object(s3_store: S3PayloadStore) -> None:
    s3_store.put("k", b"one", metadata={"run-id": "a", "fence": "1"})

    head = boto3.client("s3").head_object(Bucket="payloads", Key="k")
    assert head["Metadata"] == {"run-id": "a", "fence": "1"}


def test_requests_are_counted(s3_store: S3PayloadStore) -> None:
    meter.reset()
    s3_store.put("k", b"one", metadata={})
    s3_store.get("k")
    s3_store.get("k", span=(0, 1))

    assert meter.reading() == {"s3_put": 1, "s3_get": 2}


def test_a_bucket_that_is_not_there_is_named_by_one_error(s3_store: S3PayloadStore) -> None:
    nowhere = S3PayloadStore("elsewhere")

    with pytest.raises(PayloadError, match="NoSuchBucket"):
        nowhere.put("k", b"", metadata={})
    with pytest.raises(PayloadError, match="NoSuchBucket"):
        nowhere.get("k")
