"""A short soak; ``make soak`` is the long one."""

from __future__ import annotations

import json
from io import StringIO

from rich.console import Console

from batchctl.local.cloud import LocalCloud
from tests.soak.display import display
from tests.soak.plan import Kind, Plan
from tests.soak.soak import soak
from tests.soak.watch import Rows

SEED = 7


def test_half_a_minute_of_faults_loses_nobody(cloud: LocalCloud) -> None:
    plan = Plan.of(seed=SEED, seconds=25, users=120)
    seen = StringIO()

    with display(Console(file=seen, width=200), plan.seconds) as shown:
        result = soak(cloud, plan, shown)

    assert result.findings == (), seen.getvalue()
    assert result.faults.keys() >= {Kind.DATABASE_KILLED, Kind.WORKERS_KILLED, Kind.REDELIVERED}
    assert result.rows == Rows(len(plan.population.active), lost=(), stale=(), surplus=())
    assert json.loads(json.dumps(result.document()))["rows_compared"] == result.rows.compared
