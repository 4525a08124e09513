"""What Call API hands to Process Users about one group, through a claim."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from batch_core.errors import PayloadAlteredError
from batch_core.job import Response, User
from batch_core.user_state import Mark


@dataclass(frozen=True, slots=True)
class Answered:
    """A user with a usable answer, and the failures in a row that earlier runs count."""

    user: User
    failures: int
    response: Response


@dataclass(frozen=True, slots=True)
class Answers:
    """The usable answers of a group, and the marks of users that have none.

    A claim is JSON: bodies travel as text, those that are not UTF-8 as ``[base64]``.
    """

    answered: Sequence[Answered] = ()
    marks: Sequence[Mark] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        """Write them for a claim."""
        return {
            "answers": [
                [a.user, a.failures, a.response.status, a.response.etag, _text(a.response.body)]
                for a in self.answered
            ],
            "marks": [mark.to_json() for mark in self.marks],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read them back.

        Raises
        ------
        PayloadAlteredError
            When it is something else.
        """
        try:
            return cls(
                [
                    Answered(user, failures, Response(status, _body(text), etag))
                    for user, failures, status, etag, text in value["answers"]
                ],
                [Mark.from_json(mark) for mark in value["marks"]],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PayloadAlteredError(f"the claim does not hold a group's answers: {error}") from (
                error
            )


def _text(body: bytes) -> str | list[str]:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return [b64encode(body).decode()]


def _body(text: str | list[str]) -> bytes:
    return text.encode() if isinstance(text, str) else b64decode(text[0], validate=True)
