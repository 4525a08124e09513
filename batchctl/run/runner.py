"""Runs the workflow once, watching its logs meanwhile and gathering the rest afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYetError
from dataclasses import dataclass
from threading import Thread
from typing import Any, Final, Protocol

from batchctl.errors import BatchctlError
from batchctl.run.collect import Collector, Counts, LogReader
from batchctl.run.verdict import Execution, Verdict, verdict_of

type Show = Callable[[Counts, str], None]
"""Shows how far the run is, and the phase in words."""

# Reading logs takes processor time from the run where both share a machine.
POLL_S: Final = 1.0


class Workflow(LogReader, Protocol):
    """A stack that can be run and whose logs can be read."""

    def execute(self, given: Mapping[str, Any]) -> Execution:
        """Run the workflow once and wait for its end."""
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for log lines after the end, in seconds.

    A run that broke down does not say which lines to expect; for it `grace` has to do.
    """

    deadline: float
    grace: float
    pause: float


LOCAL: Final = Patience(deadline=10, grace=1, pause=0.25)
# CloudWatch Logs shows most events within seconds and promises nothing.
ON_AWS: Final = Patience(deadline=60, grace=10, pause=2)


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended; `logs_error` says why its figures are lacking, if they are."""

    execution: Execution
    verdict: Verdict
    missing_lines: int
    logs_error: str


def run_once(
    workflow: Workflow,
    collector: Collector,
    given: Mapping[str, Any],
    show: Show,
    patience: Patience,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Ended:
    """Run the workflow and gather its lines.

    Raises
    ------
    BatchctlError
        When the workflow cannot be started, or its end is not heard of.
    KeyboardInterrupt
        When the person at the terminal stops watching; the run itself goes on.
    """
    execution = _watch(_started(workflow, given), collector, show)
    logs_error = ""
    try:
        verdict = _gather(execution, collector, show, patience, clock, sleep)
    except BatchctlError as error:
        # The run is over and judged; a person who may not read its logs still wants to know.
        logs_error = str(error)
        verdict = verdict_of(execution, listed=collector.counts.listed)
    return Ended(
        execution=execution,
        verdict=verdict,
        missing_lines=collector.missing if verdict.judged else 0,
        logs_error=logs_error,
    )


def _started(workflow: Workflow, given: Mapping[str, Any]) -> Future[Execution]:
    """Start the workflow in a thread that does not keep this program from ending."""
    ended: Future[Execution] = Future()

    def work() -> None:
        try:
            ended.set_result(workflow.execute(given))
        except BaseException as error:  # noqa: BLE001  handed over, not swallowed
            ended.set_exception(error)

    Thread(target=work, name="execution", daemon=True).start()
    return ended


def _watch(ended: Future[Execution], collector: Collector, show: Show) -> Execution:
    readable = True
    while True:
        show(collector.counts, _phase(collector))
        try:
            return ended.result(timeout=POLL_S)
        except NotYetError:
            if ended.done():  # the execution itself raised one
                raise
        if readable:
            try:
                collector.poll()
            except BatchctlError:
                # Said at the end, by `_gather`, if it is still so.
                readable = False


def _phase(collector: Collector) -> str:
    counts = collector.counts
    if counts.listed is None:
        return "listing users"
    if counts.processed < counts.listed:
        return "calling the API"
    return "waiting for the last rows"


def _gather(
    execution: Execution,
    collector: Collector,
    show: Show,
    patience: Patience,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Verdict:
    started = clock()
    while True:
        collector.sweep()
        verdict = verdict_of(execution, listed=collector.counts.listed)
        show(collector.counts, "reading the last log lines")
        waited = clock() - started
        if verdict.judged and collector.missing == 0:
            return verdict
        if waited >= (patience.deadline if verdict.judged else patience.grace):
            return verdict
        sleep(patience.pause)
