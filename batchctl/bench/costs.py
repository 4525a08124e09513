"""What the bench adds to the prices of a run. Pure."""

from __future__ import annotations

from typing import Final

from batchctl.run.costs import CostLine, Costs

# Paid by the hour or the month, whatever the run does: the names in `batchctl.run.costs`.
HOURLY: Final = frozenset({"Kinesis shards", "CloudWatch", "RDS Proxy"})
# A t4g.small in Tokyo, on demand, which runs all month for the script: 2 vCPU, 2 GB.
# https://aws.amazon.com/ec2/pricing/on-demand/
CRON_SERVER_USD_HOUR: Final = 0.0216


def usd_by_use(lines: list[CostLine]) -> float:
    """US dollars of a run, without what is paid by the hour."""
    return sum(line.usd for line in lines if line.service not in HOURLY)


def all_in_at(costs: Costs, users: int) -> float:
    """US dollars per million user-runs, were the hourly prices shared by so many users.

    A run of fewer users would look dearer than the way it works makes it.
    """
    by_hour = sum(line.usd for line in costs.lines if line.service in HOURLY)
    by_use = usd_by_use(list(costs.lines))
    return (by_use / costs.users + by_hour / users) * 1_000_000


def cron_server(users: int, *, schedule_minutes: int) -> float:
    """US dollars per million user-runs of a server that only runs the script; modelled."""
    return CRON_SERVER_USD_HOUR * schedule_minutes / 60 / users * 1_000_000
