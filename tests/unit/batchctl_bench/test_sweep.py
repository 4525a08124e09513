"""What memory does to a run as modelled, and the choice of settings by it."""

from __future__ import annotations

import pytest

from batchctl.bench.frontier import Choice, Setting, frontier, recommended
from batchctl.run.lambda_model import VCPU_MB
from tests.support.bench_results import observation, sweep


def test_a_run_with_a_whole_core_took_what_was_measured() -> None:
    assert observation(100, 10.0).at(VCPU_MB, usd_gb_s=0.0).wall_s == pytest.approx(10.0)


def test_less_memory_makes_every_wave_longer_by_what_both_functions_lose() -> None:
    small = observation(100, 10.0).at(512, usd_gb_s=0.0)

    # Nine waves; 0.1 s and 0.05 s of CPU at 512 / 1,769 of a core.
    assert small.wall_s == pytest.approx(10.0 + 9 * 0.15 * (VCPU_MB / 512 - 1))
    assert small.setting.memory_mb == 512


def test_a_choice_costs_its_gigabyte_seconds_and_all_else() -> None:
    choice = observation(100, 10.0).at(VCPU_MB, usd_gb_s=0.00001)

    # 100 invocations of 500 and 50 ms at 1.7275 GB for 10,000 users.
    gb_s = 100 * 0.55 * VCPU_MB / 1_024
    assert choice.usd_per_million == pytest.approx(0.02 + gb_s * 0.00001 * 100)


def choice(wall_s: float, usd: float) -> Choice:
    return Choice(Setting(100, 50, 5_000, 512), wall_s, usd)


def test_the_frontier_leaves_out_what_is_slower_and_no_cheaper() -> None:
    fast, cheap, slow, equal = choice(1, 9), choice(5, 2), choice(6, 3), choice(7, 2)

    assert frontier([slow, cheap, equal, fast]) == [fast, cheap]


def test_neither_speed_nor_thrift_at_any_price_is_recommended() -> None:
    fast, middle, cheap = choice(8, 9), choice(10, 4), choice(50, 1)

    assert recommended([fast, middle, cheap]) == middle
    assert recommended([fast, cheap]) == cheap


def test_there_is_nothing_to_recommend_of_nothing() -> None:
    with pytest.raises(ValueError, match="empty"):
        recommended([])


def test_the_sweep_recommends_from_its_frontier() -> None:
    swept = sweep()

    assert swept.recommended in swept.frontier
    assert len(swept.choices) == 6
