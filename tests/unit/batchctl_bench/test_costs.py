"""Costs are compared at the same number of users."""

from __future__ import annotations

import pytest

from batchctl.bench.costs import HOURLY, all_in_at, cron_server, usd_by_use
from batchctl.run.costs import CostLine, Costs, Deployment, ExpressBill, costs_of
from batchctl.run.figures import Figures
from batchctl.run.prices import Prices


def line(service: str, usd: float) -> CostLine:
    return CostLine(service, usd, "measured", "")


COSTS = Costs(
    users=1_000,
    core=[line("Lambda", 0.002)],
    rest=[line("Kinesis shards", 0.003), line("RDS Proxy", 0.006)],
    runs_per_month=4_320,
)


def test_hourly_prices_are_shared_by_the_users_that_are_compared() -> None:
    # $2 of Lambda per million users, and $9 thousandths for 30,000 of them.
    assert all_in_at(COSTS, 30_000) == pytest.approx(2.0 + 0.3)


def test_what_is_paid_by_use_leaves_the_hourly_prices_out() -> None:
    assert usd_by_use(list(COSTS.lines)) == pytest.approx(0.002)


def usd_every(minutes: int) -> dict[str, float]:
    costs = costs_of(
        Figures(),
        users=1,
        groups=1,
        bill=ExpressBill(100, 64, "modelled"),
        deployment=Deployment(
            "arm64", minutes, 1, rds_proxy=True, logs_executions=False, emulated=True
        ),
        prices=Prices.of_region("ap-northeast-1"),
    )
    return {line.service: line.usd for line in costs.lines}


def test_the_services_paid_by_the_hour_are_those_that_a_rarer_run_pays_more_for() -> None:
    often, seldom = usd_every(10), usd_every(20)

    assert {service for service in often if seldom[service] != often[service]} == HOURLY


def test_a_server_for_the_script_is_shared_by_the_users_of_a_run() -> None:
    # A sixth of an hour of $0.0216 for 30,000 users.
    assert cron_server(30_000, schedule_minutes=10) == pytest.approx(0.12)
