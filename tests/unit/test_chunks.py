"""Chunks: every group is one byte range of its object."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core.chunks import Chunk, Listed, pack, serialise, unpack
from batch_core.codec import dump_json
from batch_core.errors import ConfigurationError, PayloadAlteredError
from batch_core.job import User
from batch_core.run import Run

RUN = Run("demo-20260131T102000Z", 1, 7, 100, 0, 0)

users = st.lists(
    st.fixed_dictionaries(
        {
            "user_id": st.integers(0, 2**63),
            "name": st.text(st.characters(exclude_categories=["Cs"])),
        }
    ),
    max_size=50,
)


@given(users, st.integers(1, 60))
def test_every_user_is_in_exactly_one_group(listed: list[User], group_size: int) -> None:
    body, groups, stride = pack(
        [serialise(user, n % 3) for n, user in enumerate(listed)], group_size
    )
    chunk = Chunk(0, len(listed), groups, stride, "e")
    assert len(body) == groups * stride
    read: list[Listed] = []
    for group in range(groups):
        start, end = chunk.span(group)
        slice_ = unpack(body[start:end], expected=chunk.users_in(group, group_size))
        assert 1 <= len(slice_) <= group_size
        read += slice_
    assert read == [Listed(user, n % 3) for n, user in enumerate(listed)]


def test_an_empty_chunk_has_no_groups() -> None:
    assert pack([], 10) == (b"", 0, 0)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[1,2", b"[1]", b"[1,2,3]", b"[1,2][1,2]", b"\xff", b"null"]
)
def test_bytes_that_are_not_the_group_are_altered(body: bytes) -> None:
    with pytest.raises(PayloadAlteredError):
        unpack(body, expected=2)


def test_a_slice_of_another_stride_is_altered() -> None:
    body, _, stride = pack([serialise({"user_id": n}) for n in range(20)], 10)
    with pytest.raises(PayloadAlteredError):
        unpack(body[1 : stride + 1], expected=10)


def test_a_chunk_lies_below_its_run() -> None:
    assert Chunk(3, 1, 1, 1, "e").key(RUN) == "runs/demo-20260131T102000Z/7/chunks/3"


def test_a_pointer_is_read_back_and_small() -> None:
    chunk = Chunk(99, 40_000, 400, 400_000, "d41d8cd98f00b204e9800998ecf8427e")
    assert Chunk.from_json({**chunk.to_json(), "later": 1}) == chunk
    assert len(dump_json(chunk.to_json())) < 110


@pytest.mark.parametrize("field", ["n", "users", "groups", "stride", "etag"])
def test_a_pointer_without_a_field_is_told(field: str) -> None:
    value = Chunk(1, 1, 1, 1, "e").to_json()
    del value[field]
    with pytest.raises(ConfigurationError, match=rf"chunk\.{field}"):
        Chunk.from_json(value)


def test_users_held_for_a_chunk_take_hardly_more_than_their_bytes() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    serialise({"user_id": 0})
    before = resident()
    held = [serialise({"user_id": n, "account": "a"}) for n in range(20_000)]

    assert len(held) == 20_000
    # Under 2 MB of objects; as orjson returned them they would hold 80.
    assert resident() - before < 20_000_000
