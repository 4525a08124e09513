"""A short soak; ``make soak`` is the long one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO

import pytest
from rich.console import Console

from batchctl.local.cloud import LocalCloud
from tests.soak.__main__ import own_cloud
from tests.soak.display import display
from tests.soak.plan import Kind, Plan
from tests.soak.soak import soak
from tests.soak.watch import Rows
from tests.support.databases import KINDS

SEED = 7


@pytest.fixture(params=KINDS)
def soaked(request: pytest.FixtureRequest, cloud: LocalCloud) -> Iterator[LocalCloud]:
    """Give a cloud on each kind of database, the session's own for its kind."""
    if request.param == cloud.database_kind:
        yield cloud
    else:
        with own_cloud(request.param) as other:
            yield other


def test_half_a_minute_of_faults_loses_nobody(soaked: LocalCloud) -> None:
    plan = Plan.of(seed=SEED, seconds=25, users=120)
    seen = StringIO()

    with display(Console(file=seen, width=200), plan.seconds) as shown:
        result = soak(soaked, plan, shown)

    assert result.findings == (), seen.getvalue()
    assert result.faults.keys() >= {Kind.DATABASE_KILLED, Kind.WORKERS_KILLED, Kind.REDELIVERED}
    assert result.rows == Rows(len(plan.population.active), lost=(), stale=(), surplus=())
    assert json.loads(json.dumps(result.document()))["rows_compared"] == result.rows.compared
