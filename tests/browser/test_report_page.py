"""A run's page in a browser: it shows the report's figures, and asks nobody for anything."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batchctl.report.page import write_page
from batchctl.run.lines import Example, Notice
from batchctl.run.report import RunReport
from tests.support.browser import Browser, Tab
from tests.support.run_reports import a_run

OUTCOMES = {"stored": 2_000, "unchanged": 300, "rejected": 60, "retry_later": 40}


def a_bad_run() -> RunReport:
    """Everything that a page can show, and texts that want to be more than texts."""
    run = a_run(outcomes=OUTCOMES)
    hostile = "<script>document.title = 'taken'</script><img src=https://example.com/x.png>"
    failed = [
        replace(line, meter={**line.meter, "response_bytes": 4})
        if line.slice == ("Call API", 2, 5)
        else line
        for line in run.invocations
    ]
    return replace(
        run,
        invocations=failed,
        failures={("rejected", "http_404"): 60, ("retry_later", hostile): 40},
        examples={("rejected", "http_404"): [Example("0a1b2c3d4e5f", "Call API", 1, 4)]},
        notices={Notice("ERROR", "Call API", hostile, "</script>"): 2},
        stack_parameters={**run.stack_parameters, "ApiBaseUrl": hostile},
    )


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(json.dumps(a_bad_run().document()))
    return read


@pytest.fixture
def tab(browser: Browser, document: dict[str, Any], tmp_path: Path) -> Tab:
    opened = browser.tab()
    opened.look()
    opened.open(write_page(document, tmp_path / "run.json"))
    return opened


def rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    table = document["course"]["invocations"]
    found = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    return [{**row, "state": table["states"][row["state"]]} for row in found]


def readout(tab: Tab, chart: str) -> str:
    return tab.text(f"#{chart} + .readout")


def test_it_loads_without_a_complaint_and_without_asking_for_anything_else(tab: Tab) -> None:
    (asked,) = tab.requests
    assert asked.startswith("file://")
    assert tab.complaints == []


def test_what_a_report_quotes_is_text_and_never_runs(tab: Tab) -> None:
    assert tab.evaluate("document.title").startswith("✔ SUCCEEDED")
    assert tab.evaluate("document.images.length") == 0
    assert "document.title = 'taken'" in tab.text("#failures-table")
    assert "https://example.com/x.png" in tab.text("#settings-table")


def test_the_policy_stops_a_script_and_a_request_that_are_not_the_pages_own(tab: Tab) -> None:
    tab.evaluate(
        "(() => { const node = document.createElement('script'); node.text = 'window.ran = 1';"
        " document.body.append(node); const image = document.createElement('img');"
        " image.src = 'http://127.0.0.1:9/x.png'; document.body.append(image); })()"
    )
    assert tab.evaluate("window.ran") is None
    assert len(tab.complaints) == 2
    assert all("Content Security Policy" in said for said in tab.complaints)


def test_the_outcome_bar_is_divided_as_the_users_are(tab: Tab) -> None:
    names = tab.every(".outcomes span", "data-outcome")
    users = tab.every(".outcomes span", "data-users")
    assert dict(zip(names, map(int, users), strict=True)) == OUTCOMES
    width = "document.querySelector('[data-outcome={}]').getBoundingClientRect().width"
    stored, unchanged = (tab.evaluate(width.format(n)) for n in ("stored", "unchanged"))
    assert stored / unchanged == pytest.approx(2_000 / 300, rel=0.02)


def test_the_waterfall_has_a_bar_for_each_invocation(tab: Tab, document: dict[str, Any]) -> None:
    drawn = zip(
        *(tab.every("#waterfall g", f"data-{name}") for name in ("state", "start", "duration")),
        strict=True,
    )
    expected = [
        (row["state"], str(row["start_ms"]), str(row["duration_ms"])) for row in rows(document)
    ]
    assert sorted(drawn) == sorted(expected)


def test_the_charts_of_the_api_show_the_reports_figures(tab: Tab, document: dict[str, Any]) -> None:
    calls = sum(map(int, tab.every("#histogram [data-calls]", "data-calls")))
    assert calls == document["api"]["requests"] == 2_400
    bins = [json.loads(text) for text in tab.every("#latency [data-bin]", "data-bin")]
    assert bins == document["course"]["api"]["over_time"]


def test_the_chart_of_the_stream_shows_the_reports_figures(
    tab: Tab, document: dict[str, Any]
) -> None:
    bins = [json.loads(text) for text in tab.every("#writes [data-bin]", "data-bin")]
    assert bins == document["course"]["writes"]["over_time"]
    assert sum(bin_[3] for bin_ in bins) == 2_400


def test_the_pointer_reads_a_bar(tab: Tab) -> None:
    bar = "#waterfall g[data-state='Call API'][data-chunk='2'][data-group='5']"
    tab.point_at(f"{bar} rect:last-of-type")
    assert readout(tab, "waterfall").startswith("Call API, chunk 2, group 5: 295 ms, from ")
    assert readout(tab, "waterfall").endswith("failed")


def test_the_keys_walk_over_a_chart(tab: Tab) -> None:
    tab.evaluate("document.querySelector('#waterfall svg').focus()")
    tab.press("ArrowRight")
    assert readout(tab, "waterfall").startswith("List Users: 400 ms")
    tab.press("End")
    assert readout(tab, "waterfall").startswith("Finish Run")
    tab.press("ArrowLeft")
    assert readout(tab, "waterfall").startswith("Write Rows")
    tab.press("Escape")
    assert readout(tab, "waterfall") == ""
    tab.evaluate("document.querySelector('#histogram svg').focus()")
    tab.press("Home")
    assert "requests (" in readout(tab, "histogram")


def test_everything_that_can_be_used_is_reached_with_the_tab_key(tab: Tab) -> None:
    usable = tab.evaluate(
        "document.querySelectorAll('a, button, input, summary, svg[tabindex]').length"
    )
    reached = set()
    for _ in range(usable):
        tab.press("Tab")
        reached.add(
            tab.evaluate(
                "[...document.querySelectorAll('a, button, input, summary, svg[tabindex]')]"
                ".indexOf(document.activeElement)"
            )
        )
    assert reached == set(range(usable))


def test_unchecking_a_state_fades_its_bars(tab: Tab, document: dict[str, Any]) -> None:
    tab.click("#filters input[value='Write Rows']")
    faded = set(tab.every("#waterfall g.off", "data-state"))
    assert faded == {"Write Rows"}
    shown = sum(row["state"] != "Write Rows" for row in rows(document))
    assert readout(tab, "waterfall") == f"{shown} of {len(rows(document))} invocations shown"
    tab.click("#filters input[value='Write Rows']")
    assert tab.every("#waterfall g.off", "data-state") == []


def test_only_failed_ones_can_be_left(tab: Tab) -> None:
    tab.click("#filters input[value='failed']")
    assert tab.every("#waterfall g:not(.off)", "data-group") == ["5"]
    tab.evaluate("document.querySelector('#waterfall svg').focus()")
    tab.press("ArrowRight")
    assert readout(tab, "waterfall").startswith("Call API, chunk 2, group 5")


def test_a_words_rows_are_left_of_a_table(tab: Tab) -> None:
    tab.evaluate("document.querySelector('[data-filters=failures-table]').focus()")
    tab.type("0A1B")
    left = "[...document.querySelectorAll('#failures-table tbody tr')].filter((r) => !r.hidden)"
    assert tab.evaluate(f"{left}.length") == 1
    assert "http_404" in tab.evaluate(f"{left}[0].innerText")


def test_it_follows_the_persons_preference_until_the_button_says_otherwise(tab: Tab) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    assert tab.evaluate(paper) == "rgb(255, 255, 255)"
    tab.look(scheme="dark")
    dark = tab.evaluate(paper)
    assert dark == "rgb(21, 25, 31)"
    tab.click("#theme")
    assert tab.evaluate(paper) == "rgb(255, 255, 255)"
    assert tab.text("#theme") == "Theme: light"
    tab.look(scheme="light")
    tab.click("#theme")
    assert tab.evaluate(paper) == dark


@pytest.mark.parametrize("width", [360, 768])
def test_nothing_is_wider_than_a_small_screen(tab: Tab, width: int) -> None:
    tab.look(width=width)
    tab.evaluate("new Promise(requestAnimationFrame)")
    assert tab.evaluate("document.scrollingElement.scrollWidth") <= width
    chart = "document.querySelector('#waterfall svg').getBoundingClientRect().right"
    assert tab.evaluate(chart) <= width


def test_it_prints_with_its_tables_open_and_without_its_controls(tab: Tab) -> None:
    assert tab.pdf().startswith(b"%PDF-")
    assert tab.evaluate("[...document.querySelectorAll('details')].every((each) => each.open)")
    tab.call("Emulation.setEmulatedMedia", media="print")
    assert tab.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_a_run_without_a_single_log_line_has_a_page(browser: Browser, tmp_path: Path) -> None:
    empty = a_run(chunks=0, outcomes={"stored": 0})
    document = replace(empty, invocations=[], received=[]).document()
    tab = browser.tab()
    tab.open(write_page(json.loads(json.dumps(document)), tmp_path / "run.json"))
    assert tab.complaints == []
    assert "there is nothing to draw" in tab.text("#course")
