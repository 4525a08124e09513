"""The bench as a program, a person and a picture's reader get it."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from batchctl.bench import charts
from batchctl.bench.grids import grids
from batchctl.bench.page import write_page
from batchctl.bench.tables import tables
from tests.support.bench_results import bench


def shown(*, whole: bool, width: int = 80) -> str:
    console = Console(file=StringIO(), width=width, color_system=None)
    console.print(tables(bench(whole=whole), ".local/bench/now"))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_the_document_is_json_and_names_every_variant() -> None:
    document = json.loads(json.dumps(bench().document()))

    assert {v["key"]: v["wall_per_user_to_cron"] for v in document["variants"]} == {
        "grouped": 1.25,
        "per_user": pytest.approx(40 / 11 * 25),
        "cron": 1,
        "naive": pytest.approx(126 / 11),
    }
    assert document["variants"][0]["median"]["users_per_s"] == pytest.approx(30_000 / 13)
    assert document["growth"]["law"]["exponent"] == pytest.approx(1)
    assert document["sweep"]["recommended"] in document["sweep"]["frontier"]
    assert [target["met"] for target in document["targets"]] == [True] * 7


def test_what_was_left_out_is_null() -> None:
    document = bench(whole=False).document()

    assert (document["growth"], document["crowd"], document["sweep"]) == (None, None, None)


@pytest.mark.parametrize("whole", [True, False])
def test_the_tables_fit_into_eighty_columns_with_no_figure_cut(whole: bool) -> None:
    text = shown(whole=whole)

    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_tables_say_what_was_not_measured_like_the_others() -> None:
    text = " ".join(shown(whole=True).split())

    assert "a note on per_user" in text
    assert "modelled" in text
    assert "120 invocations of Call API waited for the API at once" in text
    assert "not measured" in shown(whole=False)


def test_a_chart_is_drawn_for_everything_there_are_figures_for(tmp_path: Path) -> None:
    whole = charts.draw(bench(), tmp_path)
    part = charts.draw(bench(whole=False), tmp_path)

    assert [file.name for file in whole] == ["variants.png", "growth.png", "sweep.png"]
    assert [file.name for file in part] == ["variants.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in whole)


def test_the_bars_carry_their_ratios() -> None:
    axes = charts.variants(bench()).axes[0]

    labels = [text.get_text() for text in axes.texts]
    assert labels[0] == "11.0 s"
    assert labels[1] == "13.0 s · 1.25 x the asyncio script"
    assert labels[3].endswith("scaled from 1,200 users")
    assert [label.get_text() for label in axes.get_yticklabels()][1] == "grouped"


@pytest.mark.parametrize("whole", [True, False])
def test_the_page_shows_every_table_chart_and_note_and_loads_nothing(
    tmp_path: Path, whole: bool
) -> None:
    found = bench(whole=whole)
    page = tmp_path / "bench.html"
    write_page(found, charts.draw(found, tmp_path), page)
    text = page.read_text()

    for grid in grids(found):
        assert f"<h2>{grid.title}</h2>" in text
        assert all(f">{cell}<" in text for row in grid.rows for cell in row[1:-1])
    assert text.count('src="data:image/png;base64,iVBOR') == (3 if whole else 1)
    assert all(note.partition("'")[0] in text for note in found.notes())
    assert "default-src 'none'" in text
    assert not [part for part in ("http:", "https:", "<script", "file:") if part in text]


def test_the_page_says_at_once_whether_a_target_is_missed(tmp_path: Path) -> None:
    page = tmp_path / "bench.html"
    good = bench()
    write_page(good, [], page)
    assert "Every target is met" in page.read_text()

    grouped, *others = good.rows
    slow = replace(good, rows=[replace(grouped, rounds=good.row("naive").rounds), *others])
    write_page(slow, [], page)
    assert "A target is missed" in page.read_text()
