"""How an execution ended, read from what Step Functions answers. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from batch_core.outcomes import Outcome
from batchctl.run.costs import ExpressBill

# What an execution decided that found the run taken, and the status that makes.
LEFT_TO_ANOTHER: Final = {"duplicate": "DUPLICATE", "skipped": "SKIPPED"}
_REASON_CHARS: Final = 600


@dataclass(frozen=True, slots=True)
class Execution:
    """What Step Functions says about an execution that has ended.

    Parameters
    ----------
    arn
        Its name.
    status
        ``SUCCEEDED``, ``FAILED`` or ``TIMED_OUT``.
    wall_s
        Seconds from start to end.
    output, error, cause
        As returned; empty where there is none.
    bill
        What was billed; None where the local cloud stands in for AWS.
    state_bytes
        Sizes of the states' inputs and outputs, where the history can be read.
    """

    arn: str
    status: str
    wall_s: float
    output: str = ""
    error: str = ""
    cause: str = ""
    bill: ExpressBill | None = None
    state_bytes: Sequence[int] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the run.

    Parameters
    ----------
    status
        ``SUCCEEDED``, ``FAILED``, ``TIMED_OUT``, or ``DUPLICATE`` and ``SKIPPED`` for an execution
        that left the run to another one.
    reason
        Why, in words, when it did not succeed.
    state
        The state that failed, when one did.
    kept
        Users among the unchanged whose row was not written, since a newer run has the say.
    judged
        Whether the run reached its end, where it judges itself.
    """

    status: str
    listed: int
    outcomes: Mapping[str, int]
    unaccounted: int
    reason: str = ""
    state: str = ""
    judged: bool = False
    kept: int = 0

    @property
    def good(self) -> bool:
        """Whether the run completed and nothing is unaccounted."""
        return self.status == "SUCCEEDED" and self.unaccounted == 0

    @property
    def served(self) -> int:
        """Users who were asked about, and whose answer came to something."""
        came = (Outcome.STORED, Outcome.UNCHANGED, Outcome.GONE)
        return sum(self.outcomes[outcome.value] for outcome in came)


def verdict_of(execution: Execution, *, listed: int | None) -> Verdict:
    """Judge an execution.

    Parameters
    ----------
    execution
        The execution.
    listed
        How many users it listed as far as the logs say: for an execution that broke down before
        it could judge itself.
    """
    told = _object(execution.output if execution.status == "SUCCEEDED" else execution.cause)
    if "outcomes" in told:
        outcomes = {outcome.value: int(told["outcomes"][outcome.value]) for outcome in Outcome}
        other = LEFT_TO_ANOTHER.get(str(told.get("status")))
        return Verdict(
            status=other or execution.status,
            listed=int(told["listed"]),
            outcomes=outcomes,
            unaccounted=int(told["unaccounted"]),
            reason=str(told.get("reason") or ""),
            judged=other is None,
            kept=int(told.get("kept") or 0),
        )
    outcomes = dict.fromkeys((outcome.value for outcome in Outcome), 0)
    return Verdict(
        status="FAILED" if execution.status == "SUCCEEDED" else execution.status,
        listed=listed or 0,
        outcomes=outcomes,
        unaccounted=listed or 0,
        reason=_reason(execution, told),
        state=str(told.get("state") or ""),
    )


def _reason(execution: Execution, told: Mapping[str, Any]) -> str:
    """The innermost message: a state's failure wraps Lambda's, which wraps the exception's."""
    if execution.status == "TIMED_OUT":
        return f"the workflow was stopped after {execution.wall_s:.0f} s, its time limit"
    name, message = innermost(
        str(told.get("error") or execution.error), str(told.get("cause") or execution.cause)
    )
    text = f"{name}: {message}" if name else message
    return text if len(text) <= _REASON_CHARS else text[: _REASON_CHARS - 1] + "…"


def innermost(error: str, cause: str) -> tuple[str, str]:
    """The class and the message of an exception that Lambda wrapped into a cause.

    A run that judged itself failed says why in a `reason`.
    """
    inner = _object(cause)
    told = inner.get("errorMessage") or inner.get("reason")
    message = str(told or cause or "no cause was given")
    return str(inner.get("errorType") or error), message


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
