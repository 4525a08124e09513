"""What a run costs at list prices: measured amounts, and the few that must be modelled. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final, Literal

from batchctl.run.figures import Figures
from batchctl.run.lines import WRITE_ROWS
from batchctl.run.prices import Prices

type Basis = Literal["measured", "modelled"]

# Express memory is billed in steps of 64 MB of "50 MB + definition size + execution data x number
# of Parallel/Map steps", and duration in steps of 100 ms.
# https://aws.amazon.com/step-functions/pricing/
_EXPRESS_BASE_MB: Final = 50
_EXPRESS_STEP_MB: Final = 64
_EXPRESS_STEP_MS: Final = 100
# The month of AWS's price examples.
_MONTH_MINUTES: Final = 30 * 24 * 60
# What the template makes to watch a tenant with, beside one alarm that combines others and one
# dashboard. An alarm is paid for each metric that it watches.
CUSTOM_METRICS: Final = 9
ALARM_METRICS: Final = 21
ALARM_METRICS_OF_A_PROXY: Final = 3
# An Express execution logged at level ALL without data writes about so much for a group of two
# tasks: 13 events of 390 bytes.
EXPRESS_LOG_BYTES_PER_GROUP: Final = 13 * 390


@dataclass(frozen=True, slots=True)
class Deployment:
    """What of the stack bears on its price.

    Parameters
    ----------
    architecture
        ``arm64`` or ``x86_64``.
    schedule_minutes
        The schedule's period: hourly and monthly prices are shared out over its runs.
    shards
        Shards of the stream.
    rds_proxy
        Whether an RDS Proxy stands before the database.
    logs_executions
        Whether the workflow logs its execution events.
    emulated
        Whether the functions ran on another machine than Lambda's, so that their durations have to
        be modelled.
    """

    architecture: str
    schedule_minutes: int
    shards: int
    rds_proxy: bool
    logs_executions: bool
    emulated: bool


@dataclass(frozen=True, slots=True)
class ExpressBill:
    """What AWS billed for the execution, or what it would have."""

    milliseconds: int
    memory_mb: int
    basis: Basis


@dataclass(frozen=True, slots=True)
class CostLine:
    """One service's price for one run, in US dollars, and where the amount comes from."""

    service: str
    usd: float
    basis: Basis
    amount: str


@dataclass(frozen=True, slots=True)
class Costs:
    """The price of one run; `core` is the first two lines, Step Functions and Lambda."""

    users: int
    core: Sequence[CostLine]
    rest: Sequence[CostLine]
    runs_per_month: float

    @property
    def lines(self) -> Sequence[CostLine]:
        """Every service, Step Functions and Lambda first."""
        return [*self.core, *self.rest]

    @property
    def step_functions_lambda(self) -> float | None:
        """US dollars per million user-runs for Step Functions and Lambda; None without users."""
        return self._per_million(self.core)

    @property
    def all_in(self) -> float | None:
        """US dollars per million user-runs for everything counted; None without users."""
        return self._per_million(self.lines)

    @property
    def usd_per_month(self) -> float:
        """US dollars for a month of such runs, everything counted."""
        return sum(line.usd for line in self.lines) * self.runs_per_month

    def _per_million(self, lines: Sequence[CostLine]) -> float | None:
        if not self.users:
            return None
        return sum(line.usd for line in lines) / self.users * 1_000_000


def modelled_bill(wall_s: float, state_bytes: int, iterations: int) -> ExpressBill:
    """Work out what an Express execution of that length would be billed.

    Parameters
    ----------
    wall_s
        Seconds from start to end.
    state_bytes
        The largest state, taken for each iteration's data.
    iterations
        Iterations of all Maps.
    """
    memory_mb = _EXPRESS_BASE_MB + state_bytes * iterations / 1024 / 1024
    return ExpressBill(
        milliseconds=ceil(wall_s * 1000 / _EXPRESS_STEP_MS) * _EXPRESS_STEP_MS,
        memory_mb=ceil(memory_mb / _EXPRESS_STEP_MB) * _EXPRESS_STEP_MB,
        basis="modelled",
    )


def costs_of(
    figures: Figures,
    *,
    users: int,
    groups: int,
    bill: ExpressBill,
    deployment: Deployment,
    prices: Prices,
) -> Costs:
    """Price one run.

    Parameters
    ----------
    figures
        What it used.
    users
        How many users it listed.
    groups
        How many groups it had.
    bill
        What the execution was billed.
    """
    hours = deployment.schedule_minutes / 60
    gb_s = figures.lambda_gb_s_modelled if deployment.emulated else figures.lambda_gb_s
    express_gb_s = bill.milliseconds / 1000 * bill.memory_mb / 1024
    execution_log = groups * EXPRESS_LOG_BYTES_PER_GROUP if deployment.logs_executions else 0
    core = [
        CostLine(
            "Step Functions",
            prices.step_functions_request + express_gb_s * prices.step_functions_gb_s,
            bill.basis,
            f"1 request, {express_gb_s:,.3f} GB-s",
        ),
        CostLine(
            "Lambda",
            figures.lambda_invocations * prices.lambda_request
            + gb_s * prices.lambda_gb_s[deployment.architecture],
            "modelled" if deployment.emulated else "measured",
            f"{figures.lambda_invocations:,} requests, {gb_s:,.2f} GB-s {deployment.architecture}",
        ),
    ]
    rest = [
        CostLine(
            "S3",
            figures.s3_put * prices.s3_put + figures.s3_get * prices.s3_get,
            "measured",
            f"{figures.s3_put:,} PUT, {figures.s3_get:,} GET",
        ),
        CostLine(
            "Kinesis puts",
            figures.kinesis_put_units * prices.kinesis_put_unit,
            "measured",
            f"{figures.kinesis_put_units:,} PUT units",
        ),
        CostLine(
            "Kinesis shards",
            deployment.shards * hours * prices.kinesis_shard_hour,
            "modelled",
            f"{deployment.shards} shard(s) for the {deployment.schedule_minutes} minutes from run"
            " to run",
        ),
        CostLine(
            "Logs",
            # Decimal gigabytes: the dearer reading of "per GB".
            (figures.log_bytes + execution_log) / 1e9 * prices.logs_gb,
            "modelled",
            f"{figures.log_bytes:,} bytes of the functions' lines measured"
            + (f", {execution_log:,} bytes of execution events" if execution_log else ""),
        ),
    ]
    traces = sampled_traces(figures, wall_s=bill.milliseconds / 1000)
    rest.append(
        CostLine("X-Ray", traces * prices.xray_trace, "modelled", f"{traces:,} traces sampled")
    )
    rest.append(_watching(deployment, prices))
    if deployment.rds_proxy:
        rest.append(
            CostLine(
                "RDS Proxy",
                prices.rds_proxy_vcpus_min * hours * prices.rds_proxy_vcpu_hour,
                "modelled",
                f"{prices.rds_proxy_vcpus_min} vCPUs for the {deployment.schedule_minutes} minutes"
                " from run to run",
            )
        )
    runs = _MONTH_MINUTES / deployment.schedule_minutes
    return Costs(users=users, core=core, rest=rest, runs_per_month=runs)


def _watching(deployment: Deployment, prices: Prices) -> CostLine:
    """What a tenant's metrics, alarms and dashboard cost from run to run."""
    alarms = ALARM_METRICS + deployment.rds_proxy * ALARM_METRICS_OF_A_PROXY
    month = (
        CUSTOM_METRICS * prices.cloudwatch_metric_month
        + alarms * prices.cloudwatch_alarm_month
        + prices.cloudwatch_combined_alarm_month
        + prices.cloudwatch_dashboard_month
    )
    return CostLine(
        "CloudWatch",
        month * deployment.schedule_minutes / _MONTH_MINUTES,
        "modelled",
        f"{CUSTOM_METRICS} metrics, {alarms} watched by alarms, 1 alarm of alarms and a dashboard"
        f" for the {deployment.schedule_minutes} minutes from run to run",
    )


def sampled_traces(figures: Figures, *, wall_s: float) -> int:
    """How many of a run's traces X-Ray records: one a second, and of the rest a twentieth.

    The workflow and its functions are one trace, each batch of the writer is one of its own.
    https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html
    """
    batches = sum(f.invocations for f in figures.by_function if f.name == WRITE_ROWS)
    by_second = min(batches, ceil(wall_s))
    return 1 + by_second + ceil((batches - by_second) / 20)
