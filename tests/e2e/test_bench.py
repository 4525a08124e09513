"""The bench, small: every variant does the same work on the same cloud."""

from __future__ import annotations

import json
from pathlib import Path

from batchctl.bench.arena import Arena
from batchctl.local.cloud import LocalCloud
from tests.support.terminal import Terminal, result_of


def test_every_variant_stores_every_user_and_the_results_are_kept(
    terminal: Terminal, home: Path
) -> None:
    words = ("--users", "60", "--latency-ms", "20", "--rounds", "1", "--no-growth", "--json")
    result = result_of(terminal.type("bench", *words))

    variants = {variant["key"]: variant["median"] for variant in result["variants"]}
    assert variants.keys() == {"grouped", "per_user", "cron", "naive"}
    assert {(v["users"], v["stored"]) for v in variants.values()} == {(60, 60)}
    assert all(v["wall_s"] > 0 and v["cpu_s"] > 0 for v in variants.values())
    # What sets the variants apart: one INSERT for all, or one for each.
    assert (variants["cron"]["statements"], variants["naive"]["statements"]) == (2, 61)
    assert variants["cron"]["connections"] == 1 < variants["naive"]["connections"] <= 51
    assert variants["per_user"]["put_units"] == 60
    assert variants["grouped"]["put_units"] == 1
    assert variants["per_user"]["invocations"] > variants["grouped"]["invocations"]
    assert result["writing"]["ratio"] > 0
    assert (result["growth"], result["sweep"]) == (None, None)
    (folder,) = (home / "bench").iterdir()
    assert json.loads((folder / "bench.json").read_text()) == result
    assert "</html>" in (folder / "bench.html").read_text()
    assert result["charts"] == ["variants.png"]
    assert (folder / "variants.png").read_bytes().startswith(b"\x89PNG")


def test_a_round_meets_an_api_as_slow_as_was_said(cloud: LocalCloud, tmp_path: Path) -> None:
    arena = Arena(cloud, latency_ms=20, reports=tmp_path)

    usual = arena.project(5).report.figures.api_p50_ms
    slow = arena.project(5, latency_ms=400).report.figures.api_p50_ms

    assert usual is not None
    assert slow is not None
    assert usual < 400 <= slow
