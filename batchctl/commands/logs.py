"""batchctl logs."""

from __future__ import annotations

import datetime as dt
import heapq
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.text import Text

from batchctl import console
from batchctl.commands.options import DEFAULT_TENANT, Tenant
from batchctl.errors import BatchctlError, UsageError
from batchctl.local.cloud import LocalCloud
from batchctl.log_events import LogEvent, read_events
from batchctl.stacks import Stack, find_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

_POLL_S: Final = 1.0
# A line becomes readable some time after its timestamp: a poll looks back this far.
_LOOK_BACK_MS: Final = 10_000
# What the platform itself writes around each invocation.
_PLATFORM: Final = ("START RequestId:", "END RequestId:", "REPORT RequestId:", "INIT_START ")
# Where a line comes from, in the order a reader wants it; other fields follow the message.
_PLACE: Final = ("run_id", "chunk", "group")
_NOT_SHOWN: Final = frozenset(
    {"level", "message", "timestamp", "location", "service", "tenant", "state", "exception"}
    | {"function_name", "function_arn", "function_memory_size", "function_request_id"}
    | {"cold_start", "xray_trace_id", "sampling_rate", "exception_name", "stack_trace", *_PLACE}
)
_COLOURS: Final = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red", "DEBUG": "dim"}


@dataclass(frozen=True)
class Line:
    """One line of one function."""

    function: str
    event: LogEvent
    fields: dict[str, Any]


def logs(
    function: Annotated[
        str | None, typer.Argument(help="One function only, such as call_api or WriteRows.")
    ] = None,
    *,
    run: Annotated[str | None, typer.Option(metavar="ID", help="One run only.")] = None,
    since: Annotated[
        int, typer.Option(metavar="MINUTES", min=1, help="How far to look back.")
    ] = 60,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, with all fields.")
    ] = False,
    stack: Annotated[
        str | None, typer.Option(metavar="NAME", help="A stack deployed on AWS instead.")
    ] = None,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Print what the functions logged, merged by time."""
    if run is not None and '"' in run:
        raise UsageError("The id of a run contains no quotation mark.")
    client, found = _open(stack, tenant)
    groups = _chosen(found, function)
    since_ms = int((time.time() - since * 60) * 1000)
    try:
        for line in _lines(client, groups, run=run, since_ms=since_ms, follow=follow):
            _print(line, as_json=as_json)
    except (BotoCoreError, ClientError) as error:
        raise BatchctlError(f"The logs of {found.name} cannot be read: {error}") from error


def _open(stack: str | None, tenant: str) -> tuple[Any, Stack]:
    if stack is None:
        cloud = LocalCloud()
        return cloud.client("logs"), cloud.stack(tenant)
    try:
        session = boto3.Session()
        client = session.client("logs")
    except BotoCoreError as error:
        raise BatchctlError(f"AWS cannot be reached: {error}") from error
    found = find_stack(session, stack)
    if found is None:
        raise BatchctlError(
            f"There is no stack {stack} in region {session.region_name} of this account."
        )
    return client, found


def _chosen(stack: Stack, function: str | None) -> dict[str, str]:
    groups = stack.log_groups
    if function is None:
        return groups
    wanted = function.replace("_", "").replace("-", "").lower().removesuffix("function")
    chosen = {name: group for name, group in groups.items() if name.lower() == wanted}
    if not chosen:
        raise UsageError(f"There is no function {function}. There are: {', '.join(groups)}.")
    return chosen


def _lines(
    client: Any, groups: dict[str, str], *, run: str | None, since_ms: int, follow: bool
) -> Iterator[Line]:
    def read(name: str, group: str, since: int) -> Iterator[Line]:
        for event in read_events(client, group, since_ms=since, containing=run or ""):
            fields = _fields(event.text)
            if not event.text.startswith(_PLATFORM) and run in (None, fields.get("run_id")):
                yield Line(name, event, fields)

    newest = since_ms
    seen: dict[tuple[str, str], int] = {}
    while True:
        since = max(since_ms, newest - _LOOK_BACK_MS)
        streams = [read(name, group, since) for name, group in groups.items()]
        for line in heapq.merge(*streams, key=lambda each: each.event.timestamp_ms):
            key = (line.function, line.event.key)
            if key not in seen:
                seen[key] = line.event.timestamp_ms
                newest = max(newest, line.event.timestamp_ms)
                yield line
        if not follow:
            return
        seen = {key: at for key, at in seen.items() if at >= newest - _LOOK_BACK_MS}
        time.sleep(_POLL_S)


def _fields(text: str) -> dict[str, Any]:
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except ValueError:
            return {}
        if isinstance(found, dict):
            return found
    return {}


def _print(line: Line, *, as_json: bool) -> None:
    if as_json:
        fields = line.fields or {"message": line.event.text}
        line_of_json = json.dumps({"function": line.function, **fields}, ensure_ascii=False)
        console.out.print(line_of_json, markup=False)
    else:
        console.out.print(_render(line))


def _render(line: Line) -> Text:
    moment = dt.datetime.fromtimestamp(line.event.timestamp_ms / 1000, tz=dt.UTC)
    text = Text()
    text.append(f"{moment:%H:%M:%S}.{line.event.timestamp_ms % 1000:03} ", style="dim")
    text.append(f"{line.function:<13}", style="cyan")
    fields = line.fields
    if not fields:
        return text.append(line.event.text)
    level = str(fields.get("level", ""))
    text.append(f"{level:<8}", style=_COLOURS.get(level, "green"))
    place = [str(fields[name]) for name in _PLACE if fields.get(name) is not None]
    if place:
        text.append("/".join(place) + " ", style="dim")
    text.append(str(fields.get("message", "")), style="bold")
    for name, value in fields.items():
        if name not in _NOT_SHOWN:
            shown = (
                json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
            )
            text.append(f" {name}=", style="dim").append(str(shown))
    if fields.get("exception"):
        text.append(f"\n{fields['exception']}", style="red")
    return text
