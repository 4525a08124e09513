"""How a chunk of users lies in its object, so that a group is one byte range.

Each group is a JSON list, padded with spaces to the longest group of its chunk (the stride). Group
``g`` is then bytes ``[g * stride, (g + 1) * stride)``: nothing per group has to travel in state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from math import ceil
from typing import Any, Self

from batch_core.codec import dump_json, parse_json
from batch_core.cursor import cursor_to_json
from batch_core.errors import ConfigurationError, PayloadAlteredError
from batch_core.job import User
from batch_core.run import Run


@dataclass(frozen=True, slots=True)
class Chunk:
    """A pointer to one chunk; about 80 bytes of JSON, the item of the outer Map.

    Parameters
    ----------
    n
        The chunk's number in its run.
    users
        How many users it holds.
    groups
        How many groups that makes.
    stride
        Bytes per group.
    etag
        The ETag of its object.
    """

    n: int
    users: int
    groups: int
    stride: int
    etag: str

    def key(self, run: Run) -> str:
        """Where the chunk's object is."""
        return f"{run.prefix}/chunks/{self.n}"

    def span(self, group: int) -> tuple[int, int]:
        """The bytes of a group, end not included."""
        return group * self.stride, (group + 1) * self.stride

    def users_in(self, group: int, group_size: int) -> int:
        """How many users a group holds; the last may be short."""
        return min(group_size, self.users - group * group_size)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read the pointer out of a state's input.

        Raises
        ------
        ConfigurationError
            When a field is missing.
        """
        try:
            return cls(
                n=int(value["n"]),
                users=int(value["users"]),
                groups=int(value["groups"]),
                stride=int(value["stride"]),
                etag=str(value["etag"]),
            )
        except KeyError as error:
            raise ConfigurationError(f"the state's input lacks chunk.{error.args[0]}") from error


def pack(users: Sequence[bytes], group_size: int) -> tuple[bytes, int, int]:
    """Lay users, each already JSON, into the body of a chunk.

    Returns
    -------
    The body, the number of groups, and the stride in bytes.
    """
    groups = [
        b"[" + b",".join(users[start : start + group_size]) + b"]"
        for start in range(0, len(users), group_size)
    ]
    stride = max(map(len, groups), default=0)
    return b"".join(group.ljust(stride) for group in groups), ceil(len(users) / group_size), stride


@dataclass(frozen=True, slots=True)
class Listed:
    """A user of a group, with the failures in a row that earlier runs count.

    `cursor` is the id as the database compares it, in JSON, where `user_id` is not that already.
    """

    user: User
    failures: int = 0
    cursor: Any = None


def unpack(body: bytes, *, expected: int) -> list[Listed]:
    """Read the users of one group.

    Raises
    ------
    PayloadAlteredError
        When the bytes are not the group that the pointer promised.
    """
    try:
        users = parse_json(body)
    except ValueError as error:
        raise PayloadAlteredError(f"a group's slice is not a list of users: {error}") from error
    if not isinstance(users, list) or len(users) != expected:
        raise PayloadAlteredError(f"a group's slice does not hold the {expected} users listed")
    return [Listed(*entry) if isinstance(entry, list) else Listed(entry) for entry in users]


def serialise(user: User, failures: int = 0) -> bytes:
    """Write one user as it lies in a chunk: nearly all have no failures, so these are left out."""
    entry: object = [user, failures] if failures else user
    if isinstance(user_id := user.get("user_id"), Decimal):
        entry = [user, failures, cursor_to_json(user_id)]
    # A copy: what orjson returns holds on to a buffer of kilobytes, and a chunk is thousands.
    return b"%b" % dump_json(entry)
