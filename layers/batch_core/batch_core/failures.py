"""Users that got no row, gathered for one bounded log line per invocation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from batch_core.error_classes import known
from batch_core.observability import logger, pseudonym
from batch_core.outcomes import Outcome, Tally

if TYPE_CHECKING:
    from batch_core.ports import Failure

_EXAMPLES: Final = 3
# What goes wrong for many users goes wrong in few ways.
_CLASSES: Final = 10


class Failures:
    """What went wrong for which users of a group."""

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant
        self._counts: Counter[tuple[Outcome, str]] = Counter()
        self._examples: dict[tuple[Outcome, str], list[str]] = {}

    def add(self, outcome: Outcome, error: str, user_id: object) -> None:
        """Enter one user.

        Parameters
        ----------
        outcome
            What became of the user.
        error
            The class of the failure, a word of :mod:`~batch_core.error_classes`.
        user_id
            Logged as a pseudonym.
        """
        kind = (outcome, known(error))
        self._counts[kind] += 1
        examples = self._examples.setdefault(kind, [])
        if len(examples) < _EXAMPLES:
            examples.append(pseudonym(self._tenant, user_id))

    def add_unread(self, failure: Failure, *, users: int) -> None:
        """Enter the users of a group that was not even read; who they are is in its chunk."""
        kind = (failure.outcome, failure.error)
        self._counts[kind] += users
        self._examples.setdefault(kind, [])

    def count(self, failure: Failure) -> int:
        """How many users failed in this way."""
        return self._counts[failure.outcome, failure.error]

    @property
    def tally(self) -> Tally:
        """The count of each outcome."""
        outcomes = Counter[Outcome]()
        for (outcome, _), count in self._counts.items():
            outcomes[outcome] += count
        return Tally.of(outcomes.elements())

    def log(self, place: Mapping[str, object] | None = None) -> None:
        """Write the line, if there is anything to write; `place` is what its context lacks."""
        if not self._counts:
            return
        logger.warning(
            "users without a row",
            extra=place,
            users=self._counts.total(),
            classes=len(self._counts),
            failures=[
                {
                    "outcome": outcome.value,
                    "error": error,
                    "users": count,
                    "examples": self._examples[outcome, error],
                }
                for (outcome, error), count in self._counts.most_common(_CLASSES)
            ],
        )
