"""What Call API hands to Process Users about one group, through a claim.

Neither of them holds more than a part of a group's answers at once: 1,000 of them at 256 KiB each
would not fit into any function.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from batch_core.codec import dump_json, embedded
from batch_core.errors import PayloadAlteredError
from batch_core.job import Response, User
from batch_core.limits import ANSWERS_PART_BYTES
from batch_core.user_state import Mark


@dataclass(frozen=True, slots=True)
class Answered:
    """A user with a usable answer, and the failures in a row that earlier runs count."""

    user: User
    failures: int
    response: Response


class Gathering:
    """The usable answers of a group as they come; what becomes too much is spilled.

    A part is JSON: bodies are text in it, those that are not UTF-8 ``[base64]``.

    Parameters
    ----------
    spill
        Makes a claim for a part, given its number and its text.
    """

    def __init__(self, spill: Callable[[int, bytes], Mapping[str, Any]]) -> None:
        self._spill = spill
        self._spilled: list[Mapping[str, Any]] = []
        self._texts: list[bytes] = []
        self._size = 0

    def add(self, answered: Answered) -> None:
        """Take in an answer.

        Raises
        ------
        PayloadError
            When a part cannot be spilled.
        """
        answer = answered.response
        text = dump_json(
            [answered.user, answered.failures, answer.status, answer.etag, _text(answer.body)]
        )
        if self._texts and self._size + len(text) > ANSWERS_PART_BYTES:
            self._spilled.append(self._spill(len(self._spilled), self._part()))
            self._texts, self._size = [], 0
        self._texts.append(text)
        self._size += len(text)

    def to_json(self, marks: Sequence[Mark] = ()) -> dict[str, Any]:
        """Write them for a claim, with the marks of users that have no answer here."""
        return {
            "answers": embedded(self._part()),
            "spilled": self._spilled,
            "marks": [mark.to_json() for mark in marks],
        }

    def _part(self) -> bytes:
        return b"[%b]" % b",".join(self._texts)


@dataclass(frozen=True, slots=True)
class Answers:
    """The usable answers of a group, and the marks of users that have none.

    Parameters
    ----------
    last
        The last part of the answers, as :func:`read_part` reads it.
    spilled
        The claims on the parts before it.
    marks
        Of users without an answer here.
    """

    last: Any
    spilled: Sequence[Mapping[str, Any]]
    marks: Sequence[Mark]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read them back.

        Raises
        ------
        PayloadAlteredError
            When it is something else.
        """
        try:
            marks = [Mark.from_json(mark) for mark in value["marks"]]
            return cls(value["answers"], list(value["spilled"]), marks)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _altered(error) from error


def read_part(part: Any) -> Iterator[Answered]:
    """Read the answers of a part one by one.

    Raises
    ------
    PayloadAlteredError
        When it is something else.
    """
    try:
        for user, failures, status, etag, text in part:
            yield Answered(user, failures, Response(status, _body(text), etag))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _altered(error) from error


def _altered(error: Exception) -> PayloadAlteredError:
    return PayloadAlteredError(f"the claim does not hold a group's answers: {error}")


def _text(body: bytes) -> str | list[str]:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return [b64encode(body).decode()]


def _body(text: str | list[str]) -> bytes:
    return text.encode() if isinstance(text, str) else b64decode(text[0], validate=True)
