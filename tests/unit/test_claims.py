"""Claims: what is redeemed is what was put, or one clear error."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core import claims
from batch_core.codec import compress, dump_json
from batch_core.errors import (
    PayloadAlteredError,
    PayloadForeignError,
    PayloadMissingError,
    PayloadTooLargeError,
)
from batch_core.limits import CLAIM_COMPRESSED_BYTES, CLAIM_INLINE_BYTES, STATE_BYTES
from batch_core.run import Run
from tests.support.fakes import FakePayloadStore

RUN = Run("demo-20260131T102000Z", 1, 7, 100, 0, 0)
SMALL = ["x"]
MIDDLING = ["x" * 10_000]


def noise(size: int) -> str:
    """Text that hardly compresses: each character carries six bits."""
    return "".join(Random(1).choices([chr(48 + n) for n in range(64)], k=size))


def put(value: Any, store: FakePayloadStore) -> dict[str, Any]:
    return claims.put(value, run=RUN, name="4/0", store=store)


@pytest.fixture
def store() -> FakePayloadStore:
    return FakePayloadStore()


@pytest.fixture
def in_s3(store: FakePayloadStore) -> dict[str, Any]:
    """A claim whose value is in S3."""
    return put([noise(100_000)], store)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "inline"),
        ([], "inline"),
        (SMALL, "inline"),
        ("x" * (CLAIM_INLINE_BYTES - 2), "inline"),
        ("x" * (CLAIM_INLINE_BYTES - 1), "zlib"),
        (MIDDLING, "zlib"),
        (noise(20_000), "zlib"),
        (noise(40_000), "s3"),
    ],
)
def test_a_value_travels_the_cheapest_way_and_comes_back(
    store: FakePayloadStore, value: Any, kind: str
) -> None:
    claim = put(value, store)
    assert claim["kind"] == kind
    assert len(store.objects) == (kind == "s3")
    assert claims.redeem(claim, run=RUN, store=store) == value


@given(st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 999))))
def test_any_value_comes_back(rows: list[tuple[str, int]]) -> None:
    store = FakePayloadStore()
    value = [list(row) for row in rows]
    assert claims.redeem(put(value, store), run=RUN, store=store) == value


@given(st.integers(0, 60_000))
def test_a_claim_leaves_room_in_its_state_however_large_its_value(size: int) -> None:
    claim = put(noise(size), FakePayloadStore())
    assert len(dump_json(claim)) <= CLAIM_COMPRESSED_BYTES + 200 < STATE_BYTES


@given(st.recursive(st.integers(-(2**63), 2**64 - 1) | st.floats(), st.lists, max_leaves=200))
def test_no_number_of_a_value_is_a_number_of_the_state(value: Any) -> None:
    """JSONata reads each as a double, and would round the id of a user."""
    claim = put(value, FakePayloadStore())
    assert all(type(field) is str for name, field in claim.items() if name != "bytes")


def test_a_retry_overwrites_the_same_key(store: FakePayloadStore, in_s3: dict[str, Any]) -> None:
    assert put([noise(90_000)], store)["key"] == in_s3["key"]
    assert list(store.objects) == ["runs/demo-20260131T102000Z/7/claims/4/0"]


def test_an_object_names_its_run(store: FakePayloadStore, in_s3: dict[str, Any]) -> None:
    assert store.metadata[in_s3["key"]] == {"run-id": RUN.id}


def test_a_value_too_large_to_be_one_is_refused(
    store: FakePayloadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "CLAIM_BYTES", 1000)
    with pytest.raises(PayloadTooLargeError, match="4/0 holds 1003 bytes; 1000 are allowed"):
        put("x" * 1001, store)
    assert store.objects == {}


def test_an_object_that_is_gone_is_missing(store: FakePayloadStore, in_s3: dict[str, Any]) -> None:
    store.objects.clear()
    with pytest.raises(PayloadMissingError):
        claims.redeem(in_s3, run=RUN, store=store)


@pytest.mark.parametrize(
    "key",
    [
        "runs/acme-20260131T102000Z/7/claims/4/0",
        "runs/demo-20260131T102000Z/6/claims/4/0",
        "runs/demo-20260131T102000Z/7/chunks/4",
        "",
    ],
)
def test_a_claim_on_something_else_is_foreign(
    store: FakePayloadStore, in_s3: dict[str, Any], key: str
) -> None:
    store.put(key, store.objects[in_s3["key"]], metadata={})
    with pytest.raises(PayloadForeignError):
        claims.redeem({**in_s3, "key": key}, run=RUN, store=store)


@pytest.mark.parametrize(
    "body",
    [b"", b"x", compress(b"other"), compress(dump_json([noise(100_000)])) + b"x"],
)
def test_an_object_with_other_content_is_altered(
    store: FakePayloadStore, in_s3: dict[str, Any], body: bytes
) -> None:
    store.objects[in_s3["key"]] = body
    with pytest.raises(PayloadAlteredError):
        claims.redeem(in_s3, run=RUN, store=store)


def test_other_content_of_the_same_length_is_altered(
    store: FakePayloadStore, in_s3: dict[str, Any]
) -> None:
    body = store.objects[in_s3["key"]]
    for place in (0, 2, len(body) // 2, len(body) - 1):
        store.objects[in_s3["key"]] = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        with pytest.raises(PayloadAlteredError):
            claims.redeem(in_s3, run=RUN, store=store)


def test_a_bomb_in_place_of_an_object_is_altered(
    store: FakePayloadStore, in_s3: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "CLAIM_BYTES", 1_000_000)
    bomb = compress(bytes(2_000_000))
    store.objects[in_s3["key"]] = bomb
    with pytest.raises(PayloadAlteredError, match="beyond 1000000 bytes"):
        claims.redeem({**in_s3, "bytes": len(bomb)}, run=RUN, store=store)


@pytest.mark.parametrize(
    "change",
    [
        {"data": "not base64!"},
        {"data": "AAAA"},
        {"data": ""},
        {"data": None},
        {"sha256": "0" * 64},
        {"sha256": None},
        {"kind": "gzip"},
        {"kind": None},
        {"kind": "s3"},
        {"kind": "inline"},
        {"kind": "inline", "text": "{"},
        {"kind": "inline", "text": 7},
    ],
)
def test_a_claim_that_was_tampered_with_is_altered(
    store: FakePayloadStore, change: dict[str, Any]
) -> None:
    claim = put(MIDDLING, store)
    with pytest.raises(PayloadAlteredError):
        claims.redeem({**claim, **change}, run=RUN, store=store)


@pytest.mark.parametrize("value", [SMALL, MIDDLING, [noise(100_000)]])
def test_a_claim_that_lacks_a_field_is_altered(store: FakePayloadStore, value: Any) -> None:
    claim = put(value, store)
    for field in claim:
        rest = {name: part for name, part in claim.items() if name != field}
        with pytest.raises(PayloadAlteredError):
            claims.redeem(rest, run=RUN, store=store)
