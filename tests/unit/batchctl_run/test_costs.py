"""The arithmetic of prices, against examples worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from batchctl.run.costs import (
    Costs,
    Deployment,
    ExpressBill,
    costs_of,
    modelled_bill,
    sampled_traces,
)
from batchctl.run.figures import Figures, FunctionFigures
from batchctl.run.lambda_model import Time
from batchctl.run.prices import Prices

TOKYO = Prices.of_region("ap-northeast-1")
GROUPED = Deployment(
    architecture="arm64",
    schedule_minutes=10,
    shards=1,
    rds_proxy=True,
    logs_executions=True,
    emulated=False,
)
PLAIN = replace(GROUPED, rds_proxy=False, logs_executions=False)


def functions(name: str, invocations: int) -> FunctionFigures:
    return FunctionFigures(name, invocations, 0, Time(0), 10.0, 20.0, 0.1, 512, None)


def test_thirty_thousand_users_in_groups_cost_what_the_sheet_says() -> None:
    figures = Figures(
        lambda_invocations=660,
        lambda_gb_s=200.0,
        s3_put=30,
        s3_get=300,
        kinesis_put_units=300,
        log_bytes=400_000,
    )
    costs = costs_of(
        figures,
        users=30_000,
        groups=300,
        bill=ExpressBill(milliseconds=10_500, memory_mb=64, basis="measured"),
        deployment=GROUPED,
        prices=TOKYO,
    )
    by_service = {line.service: line.usd for line in costs.lines}
    # 10.5 s x 64/1024 GB = 0.65625 GB-s; x 0.00001667 + 0.000001
    assert by_service["Step Functions"] == pytest.approx(0.0000119396875)
    # 660 x 0.0000002 + 200 x 0.0000133334
    assert by_service["Lambda"] == pytest.approx(0.000132 + 0.00266668)
    # 30 x 0.0000047 + 300 x 0.00000037
    assert by_service["S3"] == pytest.approx(0.000141 + 0.000111)
    assert by_service["Kinesis puts"] == pytest.approx(300 * 0.0215e-6)
    # a sixth of an hour
    assert by_service["Kinesis shards"] == pytest.approx(0.00325)
    # 400,000 bytes + 300 groups x 13 events x 390 bytes = 1,921,000 bytes
    assert by_service["Logs"] == pytest.approx(0.00145996)
    # 9 x 0.30 + (21 + 3) x 0.10 + 0.50 + 3.00 a month, of which a run has one 4,320th
    assert by_service["CloudWatch"] == pytest.approx(8.60 / 4_320)
    assert by_service["RDS Proxy"] == pytest.approx(0.006)
    # 0.0028106197 / 30,000 x 1,000,000
    assert costs.step_functions_lambda == pytest.approx(0.0936873)
    assert costs.all_in == pytest.approx(sum(by_service.values()) / 0.03)


def costs_of_nothing() -> Costs:
    """What a plain tenant pays for a run that did nothing."""
    bill = ExpressBill(0, 64, "modelled")
    return costs_of(Figures(), users=1, groups=1, bill=bill, deployment=PLAIN, prices=TOKYO)


def test_a_tenant_without_a_proxy_has_fewer_alarms_to_pay() -> None:
    costs = costs_of_nothing()
    (line,) = (line for line in costs.rest if line.service == "CloudWatch")
    assert line.usd == pytest.approx(8.30 / 4_320)


def test_x86_costs_a_quarter_more_per_gigabyte_second() -> None:
    figures = Figures(lambda_invocations=0, lambda_gb_s=100.0)
    bill = ExpressBill(milliseconds=0, memory_mb=64, basis="measured")
    prices = {
        architecture: costs_of(
            figures,
            users=1,
            groups=1,
            bill=bill,
            deployment=replace(PLAIN, architecture=architecture),
            prices=TOKYO,
        ).core[1]
        for architecture in ("arm64", "x86_64")
    }
    assert prices["x86_64"].usd / prices["arm64"].usd == pytest.approx(1.25, abs=0.001)


def test_without_a_proxy_nothing_is_said_of_one() -> None:
    costs = costs_of_nothing()
    assert "RDS Proxy" not in {line.service for line in costs.lines}
    assert {line.service for line in costs.lines if line.basis == "modelled"} == {
        "Step Functions",
        "Kinesis shards",
        "Logs",
        "X-Ray",
        "CloudWatch",
    }


def test_what_ran_on_another_machine_is_priced_as_modelled_and_says_so() -> None:
    figures = Figures(lambda_gb_s=100.0, lambda_gb_s_modelled=30.0)
    bill = ExpressBill(0, 64, "modelled")
    costs = costs_of(
        figures,
        users=1,
        groups=1,
        bill=bill,
        deployment=replace(PLAIN, emulated=True),
        prices=TOKYO,
    )
    line = costs.core[1]
    assert line.usd == pytest.approx(30 * 0.0000133334)
    assert line.basis == "modelled"


@pytest.mark.parametrize(("batches", "wall_s", "traces"), [(0, 5, 1), (3, 5, 4), (105, 5, 11)])
def test_a_trace_a_second_and_a_twentieth_of_the_others_are_recorded(
    batches: int, wall_s: float, traces: int
) -> None:
    figures = Figures(by_function=(functions("Call API", 300), functions("Write Rows", batches)))
    assert sampled_traces(figures, wall_s=wall_s) == traces


def test_a_month_is_so_many_runs() -> None:
    costs = costs_of_nothing()
    run = sum(line.usd for line in costs.lines)
    assert costs.usd_per_month == pytest.approx(run * 4_320)


def test_without_users_there_is_no_price_per_user() -> None:
    costs = costs_of(
        Figures(),
        users=0,
        groups=0,
        bill=ExpressBill(100, 64, "modelled"),
        deployment=GROUPED,
        prices=TOKYO,
    )
    assert costs.step_functions_lambda is None
    assert costs.all_in is None


@pytest.mark.parametrize(
    ("wall_s", "state_bytes", "iterations", "milliseconds", "memory_mb"),
    [
        (4.213, 11_000, 31, 4_300, 64),
        (4.2, 11_000, 31, 4_200, 64),
        # The example of the pricing page: 400 iterations of 32 KB are 12.5 MB.
        (1.0, 32 * 1024, 400, 1_000, 64),
        # 40,000 users, one per invocation, 1 KB each: 50 + 39 MB.
        (30.0, 1_024, 40_000, 30_000, 128),
    ],
)
def test_an_express_bill_is_rounded_up_as_aws_does(
    wall_s: float, state_bytes: int, iterations: int, milliseconds: int, memory_mb: int
) -> None:
    bill = modelled_bill(wall_s, state_bytes, iterations)
    assert (bill.milliseconds, bill.memory_mb, bill.basis) == (milliseconds, memory_mb, "modelled")


@pytest.mark.parametrize("region", ["ap-northeast-1", "us-east-1"])
def test_a_price_list_is_dated_and_sourced(region: str) -> None:
    prices = Prices.of_region(region)
    assert prices.region == region
    assert isinstance(prices.as_of, date)
    assert all(source.startswith("https://aws.amazon.com/") for source in prices.sources.values())
    assert set(prices.unconfirmed) <= set(prices.sources)


def test_a_region_without_a_list_gets_tokyos_and_says_so() -> None:
    assert Prices.of_region("eu-west-1").region == "ap-northeast-1"
