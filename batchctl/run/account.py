"""Puts a run that has ended, the stack it ran on and the prices together into its report. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from batchctl.run.collect import Collector
from batchctl.run.costs import Deployment, costs_of, modelled_bill
from batchctl.run.figures import figures_of
from batchctl.run.prices import Prices
from batchctl.run.report import RunReport
from batchctl.run.runner import Ended


def account(
    ended: Ended,
    collector: Collector,
    *,
    where: str,
    local: bool,
    started_at: str,
    asked: Mapping[str, object],
    stack_parameters: Mapping[str, str],
    deployment: Deployment,
    prices: Prices,
    path: str,
) -> RunReport:
    """Make the report of a run; the fields are those of :class:`RunReport`."""
    figures = figures_of(
        collector.invocations,
        log_bytes=collector.log_bytes,
        state_bytes=ended.execution.state_bytes,
    )
    # One iteration for each group and for each chunk; a chunk holds at least one group.
    bill = ended.execution.bill or modelled_bill(
        ended.execution.wall_s, figures.max_state_bytes, 2 * collector.groups
    )
    return RunReport(
        run_id=collector.run_id,
        execution=ended.execution.arn,
        where=where,
        local=local,
        started_at=started_at,
        wall_s=ended.execution.wall_s,
        verdict=ended.verdict,
        figures=figures,
        costs=costs_of(
            figures,
            users=ended.verdict.listed,
            groups=collector.groups,
            bill=bill,
            deployment=deployment,
            prices=prices,
        ),
        deployment=deployment,
        prices=prices,
        missing_lines=ended.missing_lines,
        logs_error=ended.logs_error,
        invocations=collector.invocations,
        received=collector.received,
        failures=dict(collector.failures),
        examples=collector.examples,
        failed_groups=collector.failed_groups,
        notices=collector.notices,
        asked=asked,
        stack_parameters=stack_parameters,
        path=path,
    )
