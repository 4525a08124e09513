"""Adding and removing leave every other line as it was."""

from __future__ import annotations

import pytest

from batchctl.errors import BatchctlError
from batchctl.tenants import document, edit
from batchctl.tenants.project import Project

ENTRY = {"name": "globex", "wave": 2, "parameters": {"ApiBaseUrl": "https://x", "DatabasePort": 1}}


def test_a_tenant_is_added_behind_the_last_and_before_what_follows(project: Project) -> None:
    before = project.file.read_text()

    after = edit.with_tenant(project.read(), ENTRY)

    added = (
        "\n  - name: globex\n    wave: 2\n    parameters:\n"
        "      ApiBaseUrl: https://x\n      DatabasePort: 1\n"
    )
    assert after == before.replace("# The last comment.\n", f"{added}# The last comment.\n")


def test_a_tenant_is_removed_with_its_comments_and_nobody_elses(project: Project) -> None:
    before = project.file.read_text()
    start = before.index("\n  # Who pays.")

    after = edit.without_tenant(project.read(), 1)

    assert after == before[:start] + "# The last comment.\n"


def test_the_first_tenant_is_removed_and_the_next_keeps_its_comments(project: Project) -> None:
    before = project.file.read_text()

    after = edit.without_tenant(project.read(), 0)

    start, end = before.index("  # Who meets"), before.index("\n  # Who pays.")
    assert after == before[:start] + before[end:]


def test_what_was_added_can_be_removed_again(project: Project) -> None:
    before = project.file.read_text()
    grown = document.parse(project.file, edit.with_tenant(project.read(), ENTRY))

    assert edit.without_tenant(grown, 2) == before


def test_tenants_may_stand_before_the_defaults(project: Project) -> None:
    defaults, tenants = project.file.read_text().split("\ntenants:")
    turned = document.parse(project.file, f"tenants:{tenants}\n{defaults}\n")

    after = document.parse(project.file, edit.with_tenant(turned, ENTRY))

    assert [each["name"] for each in after.values["tenants"]] == ["canary", "acme", "globex"]
    assert after.values["defaults"] == turned.values["defaults"]


def test_a_list_on_one_line_is_not_edited(project: Project) -> None:
    flow = document.parse(project.file, "tenants: [{name: a}, {name: b}]\n")

    with pytest.raises(BatchctlError, match="line of its own"):
        edit.without_tenant(flow, 1)
