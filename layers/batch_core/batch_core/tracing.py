"""Traces: what X-Ray is told of an invocation. The only module that knows its SDK.

One subsegment per invocation hangs below the segment that Lambda makes, and what the invocation
waited for hangs below that one. They are made by hand and not by the SDK's recorder, whose context
is the thread's: fifty calls in one thread would become each other's children, and an error would
bring its text along. Nothing here may name a user: no id, no path with an id, no value of a
statement, no body, no error's text.

Why the SDK, and what is to replace it: docs/decisions/0014-traces.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Final, Self
from urllib.parse import urlsplit

# Of the API calls in one invocation, spread over all of them. A run is one trace of hundreds of
# invocations, and X-Ray keeps 100 KB of a trace for certain: enough to see how the API answers. How
# long all the calls took is in the log.
# https://docs.aws.amazon.com/general/latest/gr/xray.html
API_CALLS: Final = 3
# An invocation is sent in one datagram, of which X-Ray takes 64 KB; a part of it takes about 400
# bytes, and the writer sends hundreds of statements for a large batch. Those that failed may come
# on top, since they are what a trace is opened for.
# https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html
PARTS: Final = 30
FAILED_PARTS: Final = 30
# How many runs, and of each how many producers, the writer's trace names. X-Ray indexes 50
# annotations of a trace.
LINKS: Final = 20

_KIND: Final = re.compile(rb"\s*([A-Za-z]{1,12})\b")

# The subsegment of the invocation while its trace is recorded, else None. An environment serves one
# invocation at a time, so one per process is enough, and threads need not hand it on.
_invocation: Any = None


class Span:
    """Something the invocation waits for, while it lasts; nothing if the trace is not recorded."""

    __slots__ = ("_parent", "_subsegment")

    def __init__(self, subsegment: Any = None, parent: Any = None) -> None:
        self._subsegment = subsegment
        self._parent = parent

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._subsegment is None:
            return
        if kind is not None:
            self.failed(kind.__name__)
        self._subsegment.close()
        siblings = self._parent.subsegments
        failed = any(hasattr(self._subsegment, flag) for flag in ("fault", "error"))
        # A thread may outlive its invocation, which has been sent by then.
        if self._parent.in_progress and len(siblings) < PARTS + failed * FAILED_PARTS:
            self._parent.add_subsegment(self._subsegment)

    def failed(self, error: str) -> None:
        """Say that it went wrong, by the class of the error."""
        if self._subsegment is not None:
            self._subsegment.add_fault_flag()
            self._subsegment.put_annotation("error", error)

    def answered(self, status: int | None, error: str | None) -> None:
        """Say what an API call came to: a status that tells, or the class of what went wrong."""
        if self._subsegment is not None:
            self._subsegment.put_http_meta("status", status)
            if error is not None and (status is None or status < 400):
                self.failed(error)


_NOTHING: Final = Span()


def is_recorded() -> bool:
    """Whether X-Ray is told of this invocation."""
    return _invocation is not None


def trace_ids() -> tuple[str, str]:
    """The X-Ray trace and segment of this invocation, empty where there is no trace."""
    header = _header()
    return header.get("Root", ""), header.get("Parent", "")


@contextmanager
def invocation(name: str, **annotations: str | int) -> Iterator[None]:
    """Open the subsegment of the invocation, if its trace is recorded.

    Lambda's own segment takes no annotations; this one does.
    https://docs.aws.amazon.com/xray/latest/devguide/xray-sdk-python-configuration.html
    """
    global _invocation  # noqa: PLW0603
    if _header().get("Sampled") != "1":
        yield
        return
    subsegment, facade, send = _sdk()
    trace_id, segment_id = trace_ids()
    segment = facade("facade", segment_id, trace_id, True)
    _invocation = own = subsegment(name, "local", segment)
    segment.add_subsegment(own)
    annotate(**annotations)
    try:
        yield
    except BaseException as error:
        Span(own).failed(type(error).__name__)
        raise
    finally:
        _invocation = None
        own.close()
        send(own)


def annotate(**values: str | int) -> None:
    """Put searchable annotations on the invocation, if its trace is recorded."""
    if _invocation is not None:
        for name, value in values.items():
            _invocation.put_annotation(name, value)


def aws_call(service: str, operation: str) -> Span:
    """Trace a call to an AWS service."""
    if _invocation is None:
        return _NOTHING
    region = os.environ.get("AWS_REGION", "")
    return _part(service, "aws", aws={"operation": operation, "region": region})


def statement(sql: str | bytes) -> Span:
    """Trace a statement; of its text only the kind is told."""
    if _invocation is None:
        return _NOTHING
    found = _KIND.match(sql if isinstance(sql, bytes) else sql.encode())
    kind = found[1].decode().upper() if found else "OTHER"
    return _part("MySQL", "remote", sql={"database_type": "MySQL", "sanitized_query": kind})


def api_call(method: str, url: str, *, attempt: int) -> Span:
    """Trace an attempt at a call; the URL must be the same for every user."""
    if _invocation is None:
        return _NOTHING
    return _part(
        urlsplit(url).hostname or "API",
        "remote",
        http={"request": {"method": method, "url": url}},
        metadata={"default": {"attempt": attempt}},
    )


def run_records(run_id: str, **metadata: object) -> Span:
    """Trace that a batch holds records of a run: each has an annotation of its own to be found by.

    Of one subsegment a key has one value, and a batch may hold records of several runs.
    """
    if _invocation is None:
        return _NOTHING
    annotations: dict[str, object] = {"run_id": run_id}
    return _part("Run", "local", annotations=annotations, metadata={"default": metadata})


def _part(name: str, namespace: str, **fields: dict[str, Any]) -> Span:
    parent = _invocation
    made = _sdk()[0](name, namespace, parent.parent_segment)
    vars(made).update(fields)
    return Span(made, parent)


@cache
def _sdk() -> tuple[Any, Any, Any]:
    """Load the SDK, in environments that see a trace which is recorded."""
    from aws_xray_sdk.core.emitters.udp_emitter import UDPEmitter  # noqa: PLC0415
    from aws_xray_sdk.core.models.facade_segment import FacadeSegment  # noqa: PLC0415
    from aws_xray_sdk.core.models.subsegment import Subsegment  # noqa: PLC0415

    return Subsegment, FacadeSegment, UDPEmitter().send_entity


def _header() -> Mapping[str, str]:
    """What Lambda says of the invocation's trace.

    https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
    """
    header = os.environ.get("_X_AMZN_TRACE_ID", "")
    return dict(part.split("=", 1) for part in header.split(";") if "=" in part)
