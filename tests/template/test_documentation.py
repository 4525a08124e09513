"""What the documentation says of the template is what the template says."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from batchctl.run.costs import EXPRESS_LOG_BYTES_PER_GROUP
from batchctl.run.prices import Prices

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def template() -> Any:
    return yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))


def test_the_page_of_parameters_is_as_the_template_describes_them(template: Any) -> None:
    render = runpy.run_path(str(ROOT / "scripts" / "parameters.py"))["render"]

    page = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")

    assert page == render(template), "write it anew with: make docs"


def test_every_parameter_that_the_readme_names_exists(template: Any) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    named = set(re.findall(r"^  ([A-Z][A-Za-z]+)=", readme, re.MULTILINE))
    named |= set(re.findall(r"^\| `([A-Z][A-Za-z]+)` \|", readme, re.MULTILINE))

    assert named
    assert named <= set(template["Parameters"])


@pytest.mark.parametrize(
    "page", ["README.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
)
def test_every_link_inside_the_checkout_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")

    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)

    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []


def test_what_logging_more_costs_is_what_the_prices_say() -> None:
    prices = Prices.of_region("ap-northeast-1")
    events, debug = 500 * EXPRESS_LOG_BYTES_PER_GROUP, 50_000 * 50
    claims = 500 * 4 * 6_600

    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    for size in (events, events + claims, debug, debug / 100):
        usd = size / 1e9 * prices.logs_gb
        per_run = f"{usd:.4f}" if usd > 0.0001 else f"{usd:.5f}"
        assert f"| {per_run} | {usd * 30 * 24 * 6:.2f} |" in page
