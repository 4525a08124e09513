"""What a rehearsal tells of each tenant and of itself."""

from __future__ import annotations

from typing import cast

import pytest
from rich.console import Console

from tests.rehearsal.display import document, summary
from tests.rehearsal.place import Place
from tests.rehearsal.play import Done, Push
from tests.rehearsal.story import Rehearsal, Row, Show, State, result

PUSH = Push(1, "c1", "the first")


def done(step: str, *, ok: bool = True, back: bool = False) -> Done:
    return Done(PUSH, "Wave1", f"acme-{step}", ok, 1.0, f"told by {step}", back)


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ([], "not reached"),
        ([done("prepare"), done("verify")], "told by verify"),
        ([done("prepare", ok=False)], "prepare failed: told by prepare"),
        (
            [done("verify", ok=False), done("prepare", back=True), done("verify", back=True)],
            "verify failed, rolled back: told by verify",
        ),
        (
            [done("verify", ok=False), done("prepare", back=True, ok=False)],
            "verify failed, and so did the way back: told by prepare",
        ),
    ],
)
def test_a_tenants_result_is_told_by_what_was_done_to_it(own: list[Done], told: str) -> None:
    assert result(own) == told


def rehearsal(*broken: str) -> Rehearsal:
    made = Rehearsal(cast("Place", None), cast("Show", Quiet()))
    made.rows = [Row("1. the first", "acme", State("aa", 1), State("bb", 2), "run SUCCEEDED", 3)]
    made.broken = list(broken)
    return made


class Quiet:
    """Shows nothing."""

    def done(self, done: Done) -> None:
        pass


def printed(made: Rehearsal) -> str:
    console = Console(width=150)
    with console.capture() as captured:
        console.print(summary(made, 60))
    return captured.get()


def test_the_table_shows_versions_and_packages_before_and_after() -> None:
    text = printed(rehearsal())

    assert "1 → 2" in text
    assert "aa → bb" in text
    assert "Everything went as expected" in text


def test_what_was_not_as_expected_is_said_to_a_person_and_to_a_program() -> None:
    made = rehearsal("nobody else was touched")

    assert "not as expected: nobody else was touched" in printed(made)
    said = document(made, 60)
    assert (said["as_expected"], said["broken"]) == (False, ["nobody else was touched"])
    assert said["rows"][0]["before"] == {"version": 1, "package": "aa"}
