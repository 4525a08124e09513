"""Assembles the command line."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.traceback import Traceback

from batchctl import console
from batchctl.commands import tenants
from batchctl.commands.bench import bench
from batchctl.commands.demo import demo
from batchctl.commands.doctor import doctor
from batchctl.commands.down import down
from batchctl.commands.logs import logs
from batchctl.commands.replay import replay
from batchctl.commands.report import report
from batchctl.commands.run import run
from batchctl.commands.seed import seed
from batchctl.commands.status import status
from batchctl.commands.trace import trace
from batchctl.commands.up import up
from batchctl.commands.verify import verify
from batchctl.errors import BatchctlError

if TYPE_CHECKING:
    from collections.abc import Callable

COMMANDS: tuple[Callable[..., None], ...] = (
    demo,
    up,
    down,
    status,
    seed,
    run,
    report,
    trace,
    replay,
    logs,
    doctor,
    verify,
    bench,
)

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def build_app() -> typer.Typer:
    """Return the command line with all its commands."""
    app = typer.Typer(
        name="batchctl",
        help="Run the batch on a local cloud, or look at one that is deployed.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for command in COMMANDS:
        app.command(command.__name__)(for_a_person(command))
    group = typer.Typer(help=tenants.HELP, no_args_is_help=True)
    for command in tenants.COMMANDS:
        group.command(command.__name__.removesuffix("_tenants"))(for_a_person(command))
    app.add_typer(group, name="tenants")
    return app


def for_a_person(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option --debug, and turn what it raises into a paragraph and a status."""
    signature = inspect.signature(command, eval_str=True)
    option = inspect.Parameter(
        "debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Debug
    )

    @wraps(command)
    def guarded(*args: Any, debug: bool, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except KeyboardInterrupt:
            console.err.print("\nInterrupted.")
            raise typer.Exit(130) from None
        except Exception as error:  # noqa: BLE001 - a person gets a sentence, whatever happened
            if debug:
                console.err.print(Traceback())
            if isinstance(error, BatchctlError):
                console.error(str(error))
                raise typer.Exit(error.exit_code) from None
            hint = "" if debug else " Run it again with --debug for the traceback."
            console.error(f"{type(error).__name__}: {error}.{hint}")
            raise typer.Exit(1) from None

    parameters = [*signature.parameters.values(), option]
    guarded.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return guarded


def main() -> None:
    """Run the command line."""
    console.print_on_any_terminal()
    build_app()()


if __name__ == "__main__":
    main()
