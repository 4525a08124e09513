"""The verdicts: which figure is held against which bound."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from batchctl.bench.results import Crowd, Growth, Writing
from batchctl.bench.targets import Target, targets_of
from tests.support.bench_results import growth, row


def judged(
    *,
    grouped: float = 12.5,
    per_user: float = 20.0,
    grown: Growth | None = None,
    crowd: Crowd | None = None,
    row_store: Sequence[float] = (75.0,),
) -> dict[str, Target]:
    targets = targets_of(
        grouped=row("grouped", [grouped]),
        per_user=row("per_user", [per_user], users=1_200),
        cron=row("cron", [10.0]),
        growth=grown,
        crowd=crowd,
        writing=Writing(10_000, row_store, [100.0]),
    )
    return {target.name: target for target in targets}


@pytest.mark.parametrize(("wall", "met"), [(12.5, True), (12.6, False)])
def test_grouped_may_take_a_quarter_longer_than_the_tuned_script(wall: float, met: bool) -> None:
    assert judged(grouped=wall)["wall, a / c"].met is met


@pytest.mark.parametrize(("wall", "met"), [(20.0, True), (19.9, False)])
def test_one_lambda_per_user_takes_forty_times_as_long_for_each(wall: float, met: bool) -> None:
    # 20 s for 1,200 users are 500 s for 30,000: forty times 12.5 s.
    assert judged(per_user=wall)["wall per user, b / a"].met is met


@pytest.mark.parametrize(("memories", "met"), [((100, 119, 120), True), ((100, 121, 90), False)])
def test_memory_is_flat_within_a_fifth(memories: tuple[int, int, int], met: bool) -> None:
    targets = judged(grown=growth(*memories))

    assert targets["List Users memory, over the growth"].met is met
    assert targets["largest state, over the growth"].met is True
    assert targets["connections, over the growth"].measured == 1


@pytest.mark.parametrize(("rate", "met"), [(75.0, True), (74.9, False)])
def test_the_row_store_keeps_three_quarters_of_the_speed(rate: float, met: bool) -> None:
    assert judged(row_store=[rate])["rows/s, row store / 500-row statements"].met is met


@pytest.mark.parametrize(("connections", "met"), [(12, True), (13, False)])
def test_connections_are_few_beside_the_invocations(connections: int, met: bool) -> None:
    targets = judged(crowd=Crowd(120, 200, connections))

    assert targets["invocations at once per connection"].met is met


def test_what_was_left_out_is_neither_met_nor_missed() -> None:
    left_out = [t for name, t in judged().items() if "growth" in name or "at once" in name]

    assert [(target.measured, target.met) for target in left_out] == [(None, None)] * 4
