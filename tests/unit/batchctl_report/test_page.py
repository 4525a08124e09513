"""What the page says; how it looks and moves is tests/browser's."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from batchctl.__main__ import build_app
from batchctl.errors import BatchctlError
from batchctl.report.page import page_of
from batchctl.run.report import RunReport
from batchctl.run.verdict import Verdict
from tests.support.run_reports import OUTCOMES, a_run


def page(run: RunReport) -> str:
    return page_of(json.loads(json.dumps(run.document())))


def test_a_run_that_failed_says_so_first_and_why() -> None:
    outcomes = dict.fromkeys(OUTCOMES, 0) | {"stored": 2_393}
    verdict = Verdict("FAILED", 2_400, outcomes, 7, "7 users are unaccounted for", "Finish Run")
    told = page(a_run(verdict=verdict))
    assert "<title>✘ FAILED" in told
    assert "<strong>7</strong> of 2,400 users are unaccounted for." in told
    assert "<strong>Finish Run:</strong> 7 users are unaccounted for" in told
    assert 'data-outcome="unaccounted" data-users="7"' in told


def test_a_run_whose_lines_are_missing_is_called_partial() -> None:
    assert "Partial: 3 log lines" in page(replace(a_run(), missing_lines=3))


def test_the_policy_names_the_one_script_and_allows_no_address() -> None:
    told = page(a_run())
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', told)
    script = re.search(r"<script>(.+)</script>\n</body>", told, re.DOTALL)
    assert policy is not None
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert policy[1].startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}'" in policy[1]
    assert "http" not in policy[1]


def test_a_report_that_does_not_tell_how_the_run_went_is_named() -> None:
    with pytest.raises(BatchctlError, match="demo-1 was written by an older batchctl"):
        page_of({"run_id": "demo-1", "status": "SUCCEEDED"})


def test_a_run_of_one_user_a_group_makes_a_page_below_three_megabytes() -> None:
    run = a_run(chunks=20, groups=400, group_size=1, at_once=20)
    document = run.document()
    assert document["course"]["invocations"]["groups_per_row"] > 1
    table = document["course"]["invocations"]
    count = table["columns"].index("count")
    assert sum(row[count] for row in table["rows"]) == len(run.invocations) == 24_002
    assert len(page_of(json.loads(json.dumps(document)))) < 1_000_000


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("BATCHCTL_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "reports"
    folder.mkdir()
    return folder


def typed(*words: str) -> Result:
    return CliRunner().invoke(build_app(), ["report", *words], terminal_width=200)


def kept(folder: Path, run_id: str) -> Path:
    document: dict[str, Any] = {**a_run().document(), "run_id": run_id}
    file = folder / f"{run_id}.json"
    file.write_text(json.dumps(document))
    return file


def test_the_page_is_written_beside_the_report_file(reports: Path) -> None:
    kept(reports, "demo-20261124T035543.809Z")
    result = typed("demo-20261124T035543.809Z")
    assert (result.exit_code, result.stdout) == (0, "reports/demo-20261124T035543.809Z.html\n")
    written = (reports / "demo-20261124T035543.809Z.html").read_text(encoding="utf-8")
    assert "demo-20261124T035543.809Z</title>" in written


def test_a_report_file_elsewhere_is_taken_by_its_path(reports: Path, tmp_path: Path) -> None:
    kept(tmp_path, "acme-1")
    result = typed("acme-1.json")
    assert (result.exit_code, result.stdout) == (0, "acme-1.html\n")


def test_without_a_name_the_last_run_is_meant(reports: Path) -> None:
    import os

    for moment, run_id in enumerate(("late", "early")):
        os.utime(kept(reports, run_id), (1_000 - moment, 1_000 - moment))
    assert typed().stdout == "reports/late.html\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "There is no report in reports yet. Try: batchctl run"),
        (["demo-1"], "There is no report of demo-1 in reports."),
        (["torn.json"], "torn.json is not the report of a run."),
    ],
)
def test_what_is_not_there_is_named(
    reports: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "torn.json").write_text('{"run_')
    result = typed(*words)
    assert result.exit_code == 2
    assert said in result.stderr
