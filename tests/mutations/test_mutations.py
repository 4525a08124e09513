"""The verdicts of the suite mean something: a broken implementation flips them.

Each test breaks a copy of the checkout in one place and lets the tests named for it fail.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from tests.mutations.forks import Forks
from tests.mutations.mutations import MUTATIONS, Mutation
from tests.support.checkout import ROOT
from tests.support.databases import FOLDER_VARIABLE
from tests.support.mutation_table import PROPERTY

PARTS: Final = (
    *(
        "batchctl",
        "examples",
        "functions",
        "layers",
        "sampleapi",
        "statemachine",
        "tenants",
        "tests",
    ),
)
_FAILED: Final = re.compile(r"^FAILED (\S+?::\w+(?:\[.*?\])?)(?: - .*)?$", re.MULTILINE)
_PASSED: Final = re.compile(r"^(\d+) passed in ", re.MULTILINE)
_FLIPPED: Final = re.compile(r"^ *(\d+) .* FAILED *$", re.MULTILINE)


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    # Making the files of a server takes longer than what is done with it here.
    with TemporaryDirectory() as kept, Forks({FOLDER_VARIABLE: kept}) as forks:
        yield forks


@pytest.fixture
def checkout() -> Iterator[Path]:
    """Copy what the tests need; the bytecode too, which saves compiling all of it each time."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for file in (ROOT / "pyproject.toml", *ROOT.glob("*.yaml")):
            shutil.copy2(file, folder)
        for part in PARTS:
            shutil.copytree(ROOT / part, folder / part)
        (folder / ".local").mkdir()
        for lent in ("mysql", "gates-venv"):
            (folder / ".local" / lent).symlink_to(ROOT / ".local" / lent)
        yield folder


def mutate(checkout: Path, mutation: Mutation) -> None:
    file = checkout / mutation.file
    text = file.read_text()
    assert text.count(mutation.old) == 1, f"{mutation.file} has changed: adapt the mutation"
    file.write_text(text.replace(mutation.old, mutation.new))


def failed(printed: str) -> set[str]:
    """The tests that failed, errors in what surrounds a test not included."""
    return set(_FAILED.findall(printed))


def flipped(printed: str) -> set[int]:
    """The faults whose verdict is FAILED in the table."""
    return {int(number) for number in _FLIPPED.findall(printed)}


def test_without_a_mutation_the_copy_passes(checkout: Path, forks: Forks) -> None:
    """One test of each file that is used; that they all pass, the suite itself shows."""
    tests = {test.partition("::")[0]: test for mutation in MUTATIONS for test in mutation.caught_by}

    _, printed = forks.pytest(checkout, *tests.values())

    # The exit code says nothing: the table of faults fails a session that leaves some untried.
    assert failed(printed) == set(), printed
    (passed,) = _PASSED.findall(printed)
    assert int(passed) >= len(tests), printed


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_broken_implementation_is_caught(
    mutation: Mutation,
    checkout: Path,
    forks: Forks,
    record_property: Callable[[str, object], None],
) -> None:
    record_property(PROPERTY, mutation)
    mutate(checkout, mutation)

    code, printed = forks.pytest(checkout, *mutation.caught_by)

    # Not one of the codes for tests that could not be found or run.
    assert code == pytest.ExitCode.TESTS_FAILED, printed
    # A test that is named without its parameters stands for each of them.
    noticed = {
        test if test in mutation.caught_by else test.partition("[")[0] for test in failed(printed)
    }
    assert noticed == set(mutation.caught_by), printed
    assert flipped(printed) == mutation.verdicts, printed


@pytest.mark.parametrize(
    "file",
    [
        "layers/batch_core/batch_core/write_rows.py",
        "layers/job/job.py",
        "functions/write_rows/app.py",
        "tests/support/stream_lab.py",
    ],
)
def test_the_code_that_is_tested_is_that_of_the_copy(
    file: str, checkout: Path, forks: Forks
) -> None:
    with (checkout / file).open("a") as module:
        module.write("raise ImportError(f'this is {__file__}')\n")

    code, printed = forks.pytest(checkout, "tests/faults/test_stream_poison.py")

    assert code not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}
    assert f"ImportError: this is {checkout / file}" in printed


def test_every_mutation_has_a_name_of_its_own() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
