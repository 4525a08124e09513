"""The command line as a person meets it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import typer
from typer.testing import CliRunner

from batchctl.__main__ import build_app, for_a_person
from batchctl.errors import BatchctlError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("BATCHCTL_HOME", str(tmp_path))
    return CliRunner()


@pytest.mark.parametrize(
    "arguments",
    [
        ["up", "--speed", "11"],
        ["seed"],
        ["seed", "--users", "-5"],
        ["seed", "--users", "many"],
        ["up", "--port-database", "70000"],
        ["up", "--tenant", "Not A Name"],
        ["dance"],
    ],
)
def test_what_cannot_be_asked_for_ends_with_status_two(
    runner: CliRunner, arguments: list[str]
) -> None:
    result = runner.invoke(build_app(), arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_every_command_takes_debug_and_says_what_it_does(runner: CliRunner) -> None:
    for command in ("up", "down", "status", "seed", "replay", "logs"):
        result = runner.invoke(build_app(), [command, "--help"], env={"COLUMNS": "200"})
        assert result.exit_code == 0
        assert "--debug" in result.output


def failing(error: BaseException) -> typer.Typer:
    def command() -> None:
        raise error

    app = typer.Typer()
    app.command()(for_a_person(command))
    return app


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (BatchctlError("The cup is empty. Fill it."), 1, "Error: The cup is empty. Fill it."),
        (UsageError("There is no such cup."), 2, "Error: There is no such cup."),
        (KeyError("cup"), 1, "Error: KeyError: 'cup'. Run it again with --debug"),
        (KeyboardInterrupt(), 130, "Interrupted"),
    ],
)
def test_an_error_is_a_paragraph_and_a_status(
    runner: CliRunner, error: BaseException, status: int, says: str
) -> None:
    result = runner.invoke(failing(error))
    assert result.exit_code == status
    assert says in result.output
    assert "Traceback" not in result.output


def test_debug_shows_the_traceback(runner: CliRunner) -> None:
    result = runner.invoke(failing(BatchctlError("The cup is empty.")), ["--debug"])
    assert result.exit_code == 1
    assert "Traceback" in result.output
    assert "Error: The cup is empty." in result.output


@pytest.mark.parametrize("arguments", [["logs"], ["seed", "--users", "1"]])
def test_a_command_that_needs_the_cloud_says_how_to_start_it(
    runner: CliRunner, arguments: list[str]
) -> None:
    result = runner.invoke(build_app(), arguments)
    assert result.exit_code == 1
    assert "Start it with: batchctl up" in result.output


def test_down_with_nothing_running_succeeds(runner: CliRunner) -> None:
    result = runner.invoke(build_app(), ["down"])
    assert (result.exit_code, result.output) == (0, "Nothing was running.\n")


def test_the_status_of_nothing_is_three_stopped_servers(runner: CliRunner) -> None:
    result = runner.invoke(build_app(), ["status"])
    assert result.exit_code == 0
    assert result.output.count("stopped") == 3
