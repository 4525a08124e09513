"""What a run remembers about a user for the next ones: marks, written with the group's rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, TypeIs

from batch_core.error_classes import ErrorClass, cut, known
from batch_core.limits import USER_ID_CHARS
from batch_core.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batch_core.records import Record, RejectedRow

# SMALLINT in the ledger; nobody fails so often, since the breaks become long.
_FAILURES_MAX: Final = 65_535


@dataclass(frozen=True, slots=True)
class Mark:
    """What one run says about one user.

    Parameters
    ----------
    user_id
        The user.
    failures
        Failures in a row, this run's included; 0 says that the user has recovered.
    error
        The class of the last one, a word of :mod:`~batch_core.error_classes`.
    said
        The job's own text for it, cut; it may hold the user's data.
    """

    user_id: int | str
    failures: int
    error: str = ""
    said: str = ""

    def to_json(self) -> list[Any]:
        return [self.user_id, self.failures, self.error, *([self.said] if self.said else [])]

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read a mark.

        Raises
        ------
        ValueError
            When it is none.
        """
        match value:
            case [user_id, int(failures), str(error)] | [user_id, int(failures), str(error), _] if (
                can_be_marked(user_id) and failures >= 0
            ):
                said = value[3] if len(value) > 3 else ""
                return cls(user_id, failures, error and known(error), cut(str(said)))
        raise ValueError("a mark is not [user_id, failures, error, said]")

    @property
    def values(self) -> tuple[str, int, str, str]:
        """As the table `batch_user` takes them."""
        return str(self.user_id), min(self.failures, _FAILURES_MAX), str(self.error), self.said


def can_be_marked(user_id: object) -> TypeIs[int | str]:
    """Whether the ledger can name a user; one it cannot name is simply asked every time."""
    return isinstance(user_id, int | str) and len(str(user_id)) <= USER_ID_CHARS


def marks_of(record: Record, rejected: Iterable[RejectedRow]) -> list[Mark]:
    """Say what a record tells about its users, once it is known which of its rows were refused.

    A user whose row was stored has recovered, if there was anything to recover from.
    """
    before = dict(record.failures)
    refused = [
        Mark(row.row[0], before.pop(row.row[0], 0) + 1, class_of_row(row.error))
        for row in rejected
        if row.record is record and row.outcome is Outcome.REJECTED and can_be_marked(row.row[0])
    ]
    # Not forgotten at once: a user who is listed again was not gone.
    gone = [
        Mark(row.row[0], before.pop(row.row[0], 0) + 1, ErrorClass.GONE)
        for row in rejected
        if row.record is record and row.outcome is Outcome.GONE and can_be_marked(row.row[0])
    ]
    recovered = [Mark(user_id, 0) for user_id in before if can_be_marked(user_id)]
    return [*record.marks, *refused, *gone, *recovered]


def class_of_row(error: str) -> str:
    """The class of a row's error, by what stands in front of it: MySQL's number, most often."""
    first = error.partition(":")[0]
    if first.isdigit():
        return f"mysql_{first}"
    return ErrorClass.NOT_GONE if first == ErrorClass.NOT_GONE else ErrorClass.UNWRITABLE
